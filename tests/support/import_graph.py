"""The project's imports as a graph of modules; imports for type checking and inside functions count."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parents[2]
T = TypeVar("T")
ROOMS = ("tickets", "workers", "orchestrator", "analysis")


@dataclass(frozen=True)
class Import:
    """``path`` imports ``name``, or all of ``module`` if ``name`` is empty."""

    path: Path
    module: str
    name: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


def python_files(room: str, root: Path = ROOT) -> list[Path]:
    return sorted((root / room).rglob("*.py"))


def imports(path: Path) -> Iterator[Import]:
    """Every import of a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (Import(path, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (Import(path, node.module, alias.name) for alias in node.names)


def module_edges(root: Path = ROOT) -> dict[Path, set[Path]]:
    """The files that each file imports; a name that a package's ``__init__`` re-exports leads to its definition."""
    modules = {_module_name(path, root): path for room in ROOMS for path in python_files(room, root)}
    edges: dict[Path, set[Path]] = {path: set() for path in modules.values()}
    for path in modules.values():
        for imported in imports(path):
            target = _definition(imported, modules)
            if target is not None and target != path:
                edges[path].add(target)
    return edges


def folder_edges(edges: Mapping[Path, Collection[Path]], folder: Path) -> dict[str, set[str]]:
    """The imports between the entries of a folder, by their names; ``__init__`` is no entry."""
    between: dict[str, set[str]] = defaultdict(set)
    for source, targets in edges.items():
        for target in targets:
            if folder in source.parents and folder in target.parents:
                a, b = source.relative_to(folder).parts[0], target.relative_to(folder).parts[0]
                if a != b and "__init__.py" not in (a, b):
                    between[a.removesuffix(".py")].add(b.removesuffix(".py"))
    return between


def circle(edges: Mapping[T, Collection[T]]) -> list[T]:
    """A closed path of imports, or nothing."""
    finished: set[T] = set()

    def visit(node: T, trail: list[T]) -> list[T]:
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node in finished:
            return []
        for target in edges.get(node, ()):
            if closed := visit(target, [*trail, node]):
                return closed
        finished.add(node)
        return []

    return next((closed for node in edges if (closed := visit(node, []))), [])


def _module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _definition(imported: Import, modules: Mapping[str, Path]) -> Path | None:
    """The file that an import reads; None if it is not of this project."""
    if imported.full_name in modules:
        return modules[imported.full_name]
    path = modules.get(imported.module)
    if path is not None and path.name == "__init__.py":
        for passed_on in imports(path):
            if passed_on.name == imported.name and passed_on.module in modules:
                return _definition(passed_on, modules)
    return path
