"""Which mutations fit which kind of file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.fuzz.mutations import tensors
from benchmarks.fuzz.mutations.contents import BYTES, bomb
from benchmarks.fuzz.mutations.fields import change_csv, change_fields, change_yaml
from benchmarks.fuzz.mutations.places import PLACES
from benchmarks.fuzz.mutations.seal import change_copy, change_position, seal
from benchmarks.fuzz.world import files_by_kind

Mutate = Callable[[Path, Random], str]
CONTENTS: dict[str, tuple[Mutate, ...]] = {
    ".json": (change_fields,),
    ".jsonl": (change_fields,),
    ".parquet": (
        *[tensors.change_columns] * 2,
        *[tensors.change_metadata] * 2,
        tensors.many_rows,
        tensors.change_footer,
    ),
    ".safetensors": (tensors.change_header, tensors.change_numbers),
    ".yaml": (change_yaml,),
    ".csv": (change_csv,),
    ".pt": (bomb,),
    ".pth": (bomb,),
    ".tar": (bomb,),
}
"""By the end of a file's name, mutations that keep its form."""
BY_KIND: dict[str, tuple[Mutate, ...]] = {"index": (change_copy, change_copy), "checkpoint": (change_position,) * 4}


@dataclass(frozen=True)
class Mutated:
    """What a trial changed.

    Attributes:
        kind: the kind of the first changed file.
        files: the changed files' first paths.
        said: what was done, in words.
        sealed: whether a digest was renewed, so that a stranger's values count.
    """

    kind: str
    files: tuple[Path, ...]
    said: tuple[str, ...]
    sealed: bool


def mutate(folder: Path, draw: Random) -> Mutated:
    """Mutate one to three files of a trial's folder; starts threads of pyarrow, so fork no process afterwards."""
    count = draw.choice([1, 1, 1, 1, 2, 3])
    kinds, files, said, sealed = list[str](), list[Path](), list[str](), False
    for _ in range(count):
        by_kind = {kind: paths for kind, paths in files_by_kind(folder).items() if paths}
        kind = draw.choice(sorted(by_kind))
        path = draw.choice(by_kind[kind])
        change = draw.choice(_fitting(kind, path, draw))
        try:
            what = change(path, draw)
        except Exception as error:  # an earlier mutation left nothing that this one could change
            what = f"not changed, {type(error).__name__}"
        renewed = (
            draw.random() < 0.5 and path.is_file() and not path.is_symlink() and change not in PLACES and seal(path)
        )
        sealed |= renewed or change in BY_KIND.get(kind, ())
        kinds.append(kind)
        files.append(path)
        said.append(f"{path.relative_to(folder)}: {change.__name__}: {what}{' (sealed)' if renewed else ''}")
    return Mutated(kinds[0], tuple(files), tuple(said), sealed)


def _fitting(kind: str, path: Path, draw: Random) -> Sequence[Mutate]:
    """Half of all mutations keep a file's form, if any do."""
    contents = [*CONTENTS.get(path.suffix, ()), *BY_KIND.get(kind, ())] if path.stat().st_size < 1 << 28 else []
    return contents if contents and draw.random() < 0.55 else draw.choice([BYTES, PLACES])
