"""The house: which room may import which, floor by floor, and how much a folder may hold (docs/design.md)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.import_graph import ROOMS, ROOT, circle, folder_edges, imports, module_edges, python_files

ROOM_MAY_IMPORT = {
    "tickets": set(),
    "workers": {"tickets"},
    "orchestrator": {"workers", "tickets"},
    "analysis": {"tickets", "orchestrator.store", "workers.storage.schemas", "workers.terminal"},
}
# Each room's floors, ground first: an entry imports from lower floors only, never from its own or a higher one.
FLOORS = {
    "tickets": "errors, registry < files < roles < signed < network < transfers < ticket < parquet < inspection"
    " < formats",
    "workers": "storage, stages, terminal < devices, plugins < models < data < pruning < training < probing < attempts"
    " < run",
    "orchestrator": "store < recipes, backends < operating, planning, sinks < imports, scheduling < terminal < driver"
    " < session, tuning",
    "analysis": "signs < frames < comparisons < figures < rules < page < reading < checks, judge, report, live < serve",
}
COMMANDS = {
    "__main__",
    "cancel",
    "export",
    "gc",
    "landscape",
    "logs",
    "search",
    "spot_notice",
    "status",
    "sweep",
    "unlock",
    "verify",
    "why",
}
"""The files of ``orchestrator/``: each is a command, above all floors; everything else there is a folder."""
MOST_ENTRIES = 12
MOST_LINES = 300
# nothing imports a command line, so it may stand above its room
COMMAND_LINES_MAY_IMPORT = {"tickets/__main__.py": {"analysis", "workers.terminal"}}
READS_OTHERS_FILES = "tickets/formats/source.py"
USES_RAY = ("orchestrator/backends/ray/", "orchestrator/tuning/tuner.py")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_its_row_allows(room: str) -> None:
    for path in python_files(room):
        name = path.relative_to(ROOT).as_posix()
        may_import = {room} | ROOM_MAY_IMPORT[room] | COMMAND_LINES_MAY_IMPORT.get(name, set())
        for imported in imports(path):
            if imported.module.split(".")[0] in ROOMS:
                full_name = imported.full_name
                allowed = any(full_name == may or full_name.startswith(f"{may}.") for may in may_import)
                assert allowed, f"{name} imports {full_name}"


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_run_to_lower_floors(room: str) -> None:
    floor_of = {name: i for i, floor in enumerate(FLOORS[room].split(" < ")) for name in floor.split(", ")}
    edges = folder_edges(module_edges(), ROOT / room)
    commands = COMMANDS if room == "orchestrator" else {"__main__"}
    entries = {path.stem for path in (ROOT / room).iterdir() if path.suffix == ".py" or any(path.rglob("*.py"))}
    assert entries - set(floor_of) - commands - {"__init__"} == set(), "give it a floor"
    for source, targets in edges.items():
        for target in targets:
            assert target not in commands, f"{room}/{source} imports the command {target}"
            if source not in commands:
                assert floor_of[target] < floor_of[source], f"{room}: {source} imports {target}"


def test_no_files_import_each_other_in_a_circle() -> None:
    assert [path.relative_to(ROOT).as_posix() for path in circle(module_edges())] == []


def test_no_folders_import_each_other_in_a_circle() -> None:
    edges = module_edges()
    for folder in {folder for path in edges for folder in path.parents if ROOT in folder.parents}:
        assert circle(folder_edges(edges, folder)) == [], folder.relative_to(ROOT)


@pytest.mark.parametrize("room", [*ROOMS, "tests"])
def test_no_folder_overflows(room: str) -> None:
    for folder in {path.parent for path in python_files(room)}:
        entries = {
            path.stem
            for path in folder.iterdir()
            if (path.suffix == ".py" or any(path.rglob("*.py"))) and path.stem != "__init__"
        }
        if folder == ROOT / "orchestrator":
            assert entries >= COMMANDS
            entries -= COMMANDS
        assert len(entries) <= MOST_ENTRIES, (folder.relative_to(ROOT), sorted(entries))


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_is_long(room: str) -> None:
    lines = {path.relative_to(ROOT).as_posix(): path.read_text().count("\n") for path in python_files(room)}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_ray_is_imported_by_its_backend_and_the_search_only() -> None:
    for room in ROOMS:
        for path in python_files(room):
            if any(imported.module.split(".")[0] == "ray" for imported in imports(path)):
                assert path.relative_to(ROOT).as_posix().startswith(USES_RAY), path


def test_nothing_is_ever_unpickled() -> None:
    for room in ROOMS:
        for path in python_files(room):
            assert not {imported.module.split(".")[0] for imported in imports(path)} & {
                "pickle",
                "cloudpickle",
                "joblib",
            }, path
            text = path.read_text()
            if path.relative_to(ROOT).as_posix() == READS_OTHERS_FILES:
                assert text.count("torch.load") == text.count("weights_only=True)") == 1
            else:
                assert "torch.load" not in text, path


def test_a_tickets_room_alone_loads_nothing_of_the_others() -> None:
    code = "import sys, tickets, tickets.formats; print([n for n in ('pandas', 'plotly', 'ray') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
