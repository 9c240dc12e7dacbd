"""The fuzzer: a short seeded part passes, and its judge sees faults that are planted for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fuzz.command_lines import BASE, commands
from benchmarks.fuzz.judge import contents, problems_of, problems_of_files
from benchmarks.fuzz.mutations.fields import ESCAPE, MARKUP
from benchmarks.fuzz.warm import LIMIT_S, MOST_BYTES, Done
from benchmarks.fuzz.world import SECRET

pytestmark = pytest.mark.slow(seconds=40)

# in a process of its own: it forks, and this one has threads
SHORT = """
import json, sys
from pathlib import Path
from benchmarks.fuzz.command_lines import run_lines
from benchmarks.fuzz.trial import run_trial
from benchmarks.fuzz.world import World
from orchestrator.store.reading import StoreReader

folder = Path(sys.argv[1])
world = World.make(folder / "made")
sound = [run_trial(world, seed, folder / f"trial-{seed}") for seed in (3, 4, 8)]
failed_lines = run_lines(50, 0, folder)

def broken(self, *_):
    raise RuntimeError("planted")

StoreReader.plans = broken
planted = run_trial(world, 4, folder / "planted")
result = [[result.problems for result in sound], [result.finished for result in sound], failed_lines, planted.problems]
print(json.dumps(result))
"""


def test_a_short_part_passes_and_a_planted_fault_is_seen(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SHORT, str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    problems, finished, failed_lines, planted = json.loads(done.stdout.splitlines()[-1])
    assert problems == [[]] * 3
    assert set(finished) <= {"at once", "after verify"}
    assert failed_lines == 0, done.stdout
    assert any(line.startswith("status: traceback: ") and "planted" in line for line in planted), planted


def done_with(**changes: object) -> Done:
    """A command that ended well, but for these changes."""
    fields = {"label": "status", "code": 0, "text": "fine", "seconds": 0.1, "memory_bytes": 1 << 28, "acts": ()}
    return Done(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"code": None}, f"time: longer than {LIMIT_S:.0f} s"),
        ({"code": -9}, "exit code: -9"),
        ({"code": 130}, "exit code: 130"),
        ({"code": 2, "text": ""}, "silent"),
        ({"text": 'Traceback (most recent call last):\n  File "a.py", line 1, in x\n'}, "traceback"),
        ({"text": "RuntimeWarning: Mean of empty slice"}, "traceback"),
        ({"memory_bytes": MOST_BYTES + 1}, "memory: 1024 MiB"),
        ({"text": SECRET}, "outside: printed"),
        ({"text": ESCAPE}, "escape"),
        ({"acts": ("executed: os.system ('x',)",)}, "executed"),
    ],
    ids=str,
)
def test_the_judge_names_what_a_command_does_wrong(changes: dict[str, object], problem: str) -> None:
    assert list(problems_of(done_with())) == []
    assert any(said.startswith(problem) for said in problems_of(done_with(**changes)))


def test_the_judge_names_what_was_written_outside(tmp_path: Path) -> None:
    for name in ("outside", "store", "out", "home", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside" / "secret.txt").write_text(SECRET)
    before = contents(tmp_path)
    (tmp_path / "store" / "record.json").write_text("{}")
    assert list(problems_of_files(tmp_path, before)) == []
    (tmp_path / "outside" / "executed").touch()
    (tmp_path / "tmp" / "left").touch()
    (tmp_path / "out" / "compared.html").write_text(MARKUP)
    kinds = [said.partition(":")[0] for said in problems_of_files(tmp_path, before)]
    assert kinds == ["outside", "executed", "left behind", "markup"]


def test_every_command_and_its_options_are_mutated() -> None:
    options = commands()
    assert options.keys() == BASE.keys()
    assert ("--rounds",) in [option.names for option in options["sweep"]]
    assert {option.kind for option in options["sweep"]} == {str, int, float, Path, None}


def test_a_trap_tells_of_acts_outside(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "target")
    code = f"""
import pickle, sys
from pathlib import Path
from benchmarks.fuzz.trap import set_trap
set_trap(Path({str(tmp_path / "inside")!r}), lambda act: print(act.partition(":")[0]))
Path({str(tmp_path / "inside" / "fine")!r}).write_text("")
Path({str(tmp_path / "inside" / "link")!r}).write_text("")
Path({str(tmp_path / "file")!r}).write_text("")
pickle.loads(b"cos\\ngetpid\\n)R.")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["outside", "outside", "executed"]
