"""``python -m benchmarks.faults``: sweeps survive faults without a changed bit, and its judge detects changes. Slow."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.faults import __main__ as command
from benchmarks.faults.judge import Reference, judge
from benchmarks.faults.processes import TrialError
from benchmarks.faults.registry import FAULTS, schedule
from benchmarks.faults.small_sweep import Place
from orchestrator.store.record import Record

SEED = 238  # one kill of a worker on Ray, whose processes start for seconds, and two of the driver
# the others act like one of these, or on what other tests try
TRIED = ["driver", "two drivers", "checkpoint", "live artifact", "disk", "worker", "node"]
ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.slow(seconds=180), pytest.mark.timeout(900)]  # all trials are one command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command keeps."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def output(folder: Path) -> str:
    """The command's output about one trial of each of these faults."""
    return tried(TRIED, folder)


def tried(faults: list[str], folder: Path) -> str:
    """Run one trial of each fault in a process of its own; return the output."""
    options = ["--trials", len(faults), "--faults", ",".join(faults), "--seed", SEED, "--jobs", 1, "--keep", folder]
    program = [sys.executable, "-m", "benchmarks.faults", *map(str, options)]
    done = subprocess.run(program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout


@pytest.mark.parametrize("fault", TRIED)
def test_a_fault_is_survived_without_a_changed_bit(fault: str, output: str) -> None:
    if left_out := re.search(rf"^left out, (.*): .*\b{fault}\b", output, re.MULTILINE):
        pytest.skip(left_out[1])
    assert re.search(rf"\] {fault}, seed \d+, [\d.]+ s: \d+ injected, \d+ batches again$", output, re.MULTILINE), output
    (row,) = re.findall(rf"^\| {fault}: .*$", output, re.MULTILINE)
    trials, injected, survived, _, _, changed, _ = (cell.strip() for cell in row.split("|")[2:-1])
    assert (trials, survived, changed) == ("1", "1", "0")
    assert int(injected) >= 1


@pytest.mark.long  # test_gang.py loses ranks as well, and what Ray says of a lost machine is tried above
@pytest.mark.skipif(" " in sys.executable, reason="docs/clusters.md: Ray starts no workers from such a folder")
@pytest.mark.parametrize("fault", ["gang", "network"])
def test_what_takes_a_minute_is_survived_without_a_changed_bit(fault: str, tmp_path: Path) -> None:
    test_a_fault_is_survived_without_a_changed_bit(fault, tried([fault], tmp_path))


@pytest.fixture
def place(output: str, folder: Path, tmp_path: Path) -> Place:
    """A copy of the undisturbed sweep."""
    return Place(Path(shutil.copytree(folder / "reference", tmp_path / "copy")), str(tmp_path / "copy" / "store"))


@pytest.fixture
def reference(output: str, folder: Path) -> Reference:
    return Reference.of(Place(folder / "reference", str(folder / "reference" / "store")))


def weights(place: Place) -> Path:
    return min(Path(place.store).glob("stages/train/*/attempts/1/out/weights.safetensors"))


def record(place: Place) -> Path:
    return min(Path(place.store).glob("stages/train/*/record.json"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def change_result(path: Path, *, sealed: bool) -> None:
    record = Record.model_validate_json(path.read_text())
    results = {**record.results, "test_accuracy_percent": record.results["test_accuracy_percent"] + 1}
    changed = record.model_copy(update={"results": results})
    path.write_text((changed.sealed() if sealed else changed).model_dump_json())


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (lambda place: flip(weights(place)), "weights.safetensors changed"),
        (lambda place: weights(place).unlink(), "differs from its record"),
        (lambda place: record(place).unlink(), "14 records; missing: patterns/"),
        (lambda place: change_result(record(place), sealed=True), "results is"),
        (lambda place: change_result(record(place), sealed=False), "(damaged)"),
    ],
)
def test_the_judge_sees_what_changed(
    harm: Callable[[Place], None], complaint: str, place: Place, reference: Reference
) -> None:
    assert judge(place, reference, kills=0).changed == []
    harm(place)
    assert any(complaint in line for line in judge(place, reference, kills=0).changed)


def test_the_judge_bounds_what_is_computed_again(place: Place, reference: Reference) -> None:
    with (place.folder / "batches").open("a") as file:
        lines = (place.folder / "batches").read_text().splitlines(keepends=True)
        file.writelines(lines[:3])
    assert judge(place, reference, kills=1).again == 3
    with pytest.raises(TrialError, match="3 batches were computed again, more than the bound of 0"):
        judge(place, reference, kills=0)


def test_a_lost_rank_costs_its_gang_the_interval(place: Place, reference: Reference) -> None:
    lines = (place.folder / "batches").read_text().splitlines(keepends=True)
    with (place.folder / "batches").open("a") as file:
        file.writelines(lines[:100])
    with pytest.raises(TrialError) as alone:
        judge(place, reference, kills=1)
    with pytest.raises(TrialError) as of_two:
        judge(place, replace(reference, ranks=2), kills=1)
    bounds = [int(re.findall(r"the bound of (\d+)", str(raised.value))[0]) for raised in (alone, of_two)]
    assert bounds[1] == 2 * bounds[0]


def test_trials_are_seeded_and_take_turns() -> None:
    drawn = schedule(["driver", "nan"], trials=5, seed=2)
    assert [(fault.name, seed) for fault, seed in drawn] == [
        ("driver", 2000),
        ("nan", 2000),
        ("driver", 2001),
        ("nan", 2001),
        ("driver", 2002),
    ]
    assert Counter(fault.name for fault, _ in schedule(list(FAULTS), trials=200, seed=0))["gang"] >= 8
    assert not {seed for _, seed in drawn} & {seed for _, seed in schedule(["driver"], trials=200, seed=1)}


def test_the_command_helps_and_names_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        command.main(["--help"])
    assert "python -m benchmarks.faults --trials 200" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        command.main(["--faults", "driver,locusts"])
    assert "no locusts here; choose from gang, driver, " in capsys.readouterr().err
