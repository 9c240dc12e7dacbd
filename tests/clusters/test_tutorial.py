"""The tutorial's commands run in their order, at the rehearsal's size: on this machine, then on a local cluster."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.recipes.experiment_file import ExperimentRequest, read_experiment
from orchestrator.scheduling.estimate import Estimates
from orchestrator.scheduling.forecast import forecast
from tests.clusters.heads import PLAIN_PATH, environment, head
from tests.clusters.stand_ins import free_port
from tests.docs.calling import call, within
from tests.docs.commands import ROOT, Command, blocks, commands
from tests.docs.test_commands import PROGRAMS, our_module
from tests.orchestrator.recipes.test_experiment_files import planned
from tests.support.sweep_processes import no_report, record_times, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow(seconds=40)]

PAGE = ROOT / "docs" / "tutorial.md"
REHEARSAL = 21  # stages


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Command], list[Command]]:
    """The commands of both parts of the page."""
    calls = commands(blocks(PAGE), tmp_path_factory.mktemp("tutorial") / "shell", PROGRAMS)
    first = next(place for place, command in enumerate(calls) if command[:2] == ("ray", "up"))
    return calls[:first], calls[first:]


def rehearsed(arguments: Sequence[str], *more: str) -> list[str]:
    """A sweep's arguments at the rehearsal's size, without the data and the machines of the page."""
    kept = [word for before, word in zip(["", *arguments], arguments, strict=False) if not elsewhere(before, word)]
    return [*kept, *([] if "--smoke" in kept else ["--smoke"]), *more]


def elsewhere(before: str, word: str) -> bool:
    names = ("--data-root", "--scale-to", "--datasets", "--archs", "--epoch-seconds")
    return before in names or word in names


def test_the_part_on_one_machine_runs(
    parts: tuple[list[Command], list[Command]], tmp_path: Path, data_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ("--backend", "inline", "--data-cache", str(data_cache))
    with within(tmp_path), no_report():  # the page's last command writes one
        for command in parts[0]:
            if command[0] == "mkdir":  # of the data, which are not read here
                continue
            ours = our_module(command)
            assert ours, command
            module, arguments = ours
            if module == "orchestrator.sweep":
                if "--store" not in arguments and not Path("sweeps").exists():
                    shutil.copytree("rehearsal", "sweeps")  # the small study has the rehearsal's stages, and one more
                arguments = rehearsed(arguments, *here)
            assert call(module, arguments) == 0, shlex.join(command)
    assert len(record_times(tmp_path / "rehearsal")) == REHEARSAL
    assert len(record_times(tmp_path / "sweeps")) == REHEARSAL + 1
    assert (tmp_path / "sweeps" / "report.html").stat().st_size > 100_000
    assert "signs carry accuracy" in capsys.readouterr().out.lower()


@PLAIN_PATH
def test_the_part_on_a_cluster_runs(parts: tuple[list[Command], list[Command]], tmp_path: Path) -> None:
    ours, port = environment(tmp_path / "home"), free_port()
    store = tmp_path / "bucket" / "rehearsal"
    submissions = [command for command in parts[1] if command[:3] == ("ray", "job", "submit")]
    assert [command[:2] for command in parts[1] if command[0] == "ray"][-1] == ("ray", "down")
    assert len(submissions) == 2
    options, sweep = split(submissions[0])
    assert (sweep[:3], "--smoke" in sweep) == (("python", "-m", "orchestrator.sweep"), True)
    arguments, panel = rehearsed(sweep[3:]), rehearsed(split(submissions[1])[1][3:])
    for words in (arguments, panel):
        words[words.index("--store") + 1] = str(store)
    assert sorted(panel) == sorted(arguments)  # so that one rehearsal is both

    start = ["--num-cpus=2", f"--port={free_port()}", f"--dashboard-port={port}"]
    with head(ours, tmp_path / "head.txt", *start):  # as `ray up` does
        options[options.index("--address") + 1] = f"http://127.0.0.1:{port}"
        cache = ["--data-cache", str(tmp_path / "cache")]
        done = submit([*options, "--", sys.executable, "-m", "orchestrator.sweep", *arguments, *cache], ours)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{REHEARSAL} of {REHEARSAL} stages finished" in done.stdout
    assert len(record_times(store)) == REHEARSAL
    assert (store / "report.html").stat().st_size > 100_000


def split(command: Command) -> tuple[list[str], Command]:
    """The words before and after ``--``: the client's, and the job's."""
    place = command.index("--")
    return list(command[1:place]), command[place + 1 :]


def submit(words: Sequence[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Submit a job, again while the head's agent, which starts after the head, cannot take it."""
    done: list[subprocess.CompletedProcess[str]] = []

    def taken() -> bool:
        command = [sys.executable, "-m", "ray.scripts.scripts", *words]
        done.append(subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True))
        return "No available agent" not in done[-1].stderr

    wait_for(taken)
    return done[-1]


def hours(request: ExperimentRequest, epoch_s: str, devices: int) -> float:
    (dataset,), (network,) = request.datasets, request.archs or ()
    estimates = Estimates([], stated={f"{dataset}/{network}": float(epoch_s)})
    makespan_s = forecast(planned(request), (), estimates, devices).makespan_s
    assert makespan_s is not None
    return makespan_s / 3600


def test_the_pages_hours_are_those_that_its_plans_foresee() -> None:
    text = PAGE.read_text()
    small, panel = re.findall(r"winning-sign sweep (figure3.*--plan.*--epoch-seconds \d+)", text)
    (small_s, panel_s) = (plan.rpartition(" ")[2] for plan in (small, panel))
    written = {step: (int(time), rest) for step, time, rest in re.findall(r"\| (\d)\. .* \| (\d+) h \| (.*) \|", text)}

    at_16_pixels = hours(read_experiment(Path("figure3_small")), small_s, 2)
    assert written["4"] == (round(at_16_pixels), f"computed: {small_s} s an epoch on a core, 2 cores")

    dataset, network = (panel.split()[panel.split().index(name) + 1] for name in ("--datasets", "--archs"))
    one = replace(read_experiment(Path("figure3")), datasets=[dataset], archs=[network])
    assert written["8"] == (round(hours(one, panel_s, 8)), f"computed: {panel_s} s an epoch, **stated**, 8 GPUs")
    assert f"{hours(one, panel_s, 1):.0f} GPU-hours if an epoch takes {panel_s} s" in text
    table = (ROOT / "orchestrator" / "experiments" / "README.md").read_text()
    (whole,) = re.findall(r"all\s+of\s+them\s+\[([\d,]+)\]", text)
    assert f"| [figure3.yaml](figure3.yaml) | {whole} |" in table


def test_every_step_of_the_table_is_a_step_of_the_page() -> None:
    text = PAGE.read_text()
    listed = re.findall(r"^\| (\d+)\. ([\w ]+)", text, re.M)
    steps = re.findall(r"^\*\*(\d+)\. ([\w ]+)", text, re.M)
    assert [number for number, _ in listed] == [number for number, _ in steps] == [str(step) for step in range(1, 10)]
    assert [name.split()[0] for _, name in listed] == [name.split()[0] for _, name in steps]
