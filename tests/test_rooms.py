"""The house: which room may import which (README, "How the code is laid out")."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "tickets": {"tickets"},
    "workers": {"workers", "tickets"},
    "orchestrator": {"orchestrator", "workers", "tickets"},
    "analysis": {
        "analysis",
        "orchestrator.store",
        "orchestrator.record",
        "orchestrator.events",
        "workers.schemas",
        "workers.console",
        "tickets",
    },
}
PROJECT = set(MAY_IMPORT)
# a command line that nothing imports stands above its room
MAY_IMPORT_TOO = {"tickets/__main__.py": {"analysis", "orchestrator.command", "workers.console"}}
# what others save is read as tensors only
READS_OTHERS_FILES = "tickets/formats/source.py"


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_arrows_point_down(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        may_import = MAY_IMPORT[room] | MAY_IMPORT_TOO.get(path.relative_to(ROOT).as_posix(), set())
        for name in imports(path):
            if name.split(".")[0] in PROJECT:
                allowed = any(name == may or name.startswith(f"{may}.") for may in may_import)
                assert allowed, f"{path.relative_to(ROOT)} imports {name}"


def test_ray_is_imported_by_its_backends_and_the_search_only() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for room in MAY_IMPORT
        for path in (ROOT / room).rglob("*.py")
        if any(name.split(".")[0] == "ray" for name in imports(path))
    }
    assert users == {
        "orchestrator/backends/ray_cluster.py",
        "orchestrator/backends/ray_demand.py",
        "orchestrator/backends/ray_gang.py",
        "orchestrator/backends/ray_gpus.py",
        "orchestrator/backends/ray_lost.py",
        "orchestrator/backends/ray_tasks.py",
        "orchestrator/tuning/tuner.py",
    }


def test_nothing_is_ever_unpickled() -> None:
    for room in MAY_IMPORT:
        for path in (ROOT / room).rglob("*.py"):
            assert not {name.split(".")[0] for name in imports(path)} & {"pickle", "cloudpickle", "joblib"}, path
            text = path.read_text()
            if path.relative_to(ROOT).as_posix() == READS_OTHERS_FILES:
                assert text.count("torch.load") == text.count("weights_only=True)") == 1
            else:
                assert "torch.load" not in text, path


def test_a_tickets_room_alone_loads_nothing_of_the_others() -> None:
    code = "import sys, tickets, tickets.formats; print([n for n in ('pandas', 'plotly', 'ray') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
