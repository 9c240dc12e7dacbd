"""Every command of every document runs: for real, as a plan, or in another test that is named here."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

from orchestrator.session.live_report import LiveReport
from tests.docs.calling import call, ray_reads, reads, within
from tests.docs.commands import DOCUMENTS, ROOT, Command, blocks, commands, inline_commands
from tests.docs.programs import ELSEWHERE, READ, REAL, SUB_COMMANDS, UNIX
from tests.support.command_lines import replacing
from tests.support.image_sets import encoded, write_image_folder, write_shards

pytestmark = pytest.mark.slow(seconds=35)

NAMED_FILE = re.compile(r"```(?:python|yaml)\n# (\w+\.\w+)\n(.*?)```", re.S)
QUICK_START = ROOT / "docs" / "quickstart.md"
ROOMS = ("tickets.", "workers.", "orchestrator.", "analysis.", "benchmarks.")
PROGRAMS = (*ELSEWHERE, *UNIX, "winning-sign", "python", "python3", "pip", "make", "ray")
# A small sweep: the documents' own command, with trainings of an epoch or two, in this process.
SMALL = ("--datasets", "mnist1d", "--chains", "1")
TINY = [
    *("--backend", "inline", "--set", "batch_size=512", "--set", "pretrain_epochs=1"),
    *("--set", "round_epochs=1", "--set", "final_epochs=1", "--set", "final_schedule.name=constant"),
    *("--set", "probe_points=3", "--set", "bn_images=256"),
]
# Options of every command that print something and end it.
ENDING = {"--help", "--version", "--install-completion"}
# The small store has three rounds.
SMALL_STORES_NAMES = {"lrr/chain1/round07": "lrr/chain1/round02"}


def name_of(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def commands_of(document: Path, folder: Path) -> list[Command]:
    return commands(blocks(document), folder, PROGRAMS)


def our_module(command: Command) -> tuple[str, list[str]] | None:
    """Our module that a command runs, directly or through another program, and the module's arguments."""
    if command[0] == "sbatch":
        return "orchestrator.sweep", list(command[2:])
    if command[0] == "winning-sign" and command[1:2] and not command[1].startswith("-"):
        assert command[1] in SUB_COMMANDS, f"{shlex.join(command)}: no such sub-command"
        return SUB_COMMANDS[command[1]], list(command[2:])
    if command[0] == "winning-sign":
        return "orchestrator", list(command[1:])
    for place, (flag, module) in enumerate(pairwise(command)):
        if flag == "-m" and (module.startswith(ROOMS) or f"{module}." in ROOMS or module == "venv"):
            return module, list(command[place + 2 :])
    return None


def is_small(arguments: Sequence[str]) -> bool:
    pairs = set(pairwise(arguments))
    return {SMALL[:2], SMALL[2:]} <= pairs and "--plan" not in arguments


def as_plan(arguments: Sequence[str], data_root: Path) -> list[str]:
    """The arguments that plan the sweep on the tests' data, in a store of this folder and without a cluster."""
    kept = [word for before, word in pairwise(["", *arguments]) if "--address" not in (before, word)]
    scaling = ["--address", "127.0.0.1:1"] if "--scale-to" in kept else []
    plan = [] if {"--plan", "--dry-run"} & {*kept} else ["--plan"]
    return [
        str(word) for word in replacing([*kept, *scaling], ["--store", "sweeps", "--data-root", str(data_root), *plan])
    ]


@pytest.fixture(scope="module", autouse=True)
def _no_report_of_a_sweep() -> Iterator[None]:
    """Let sweeps write no report, which takes longest; the commands of docs/report.md write one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LiveReport, "refresh", lambda self: None)
        patch.setattr(LiveReport, "write", lambda self, console: True)
        yield


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few images under CIFAR's names and in a folder of flowers."""
    root = tmp_path_factory.mktemp("data")
    stream = np.random.default_rng(0)
    for dataset, classes in (("cifar10", 10), ("cifar100", 100)):
        images = [
            encoded(Image.fromarray(stream.integers(0, 256, (32, 32, 3), dtype=np.uint8)), "png")
            for _ in range(classes)
        ]
        for split in ("train", "test"):
            write_shards(root / dataset, split, images, list(range(classes)), shards=1)
    write_image_folder(root / "flowers")
    return root


@pytest.fixture(scope="module")
def small_store(tmp_path_factory: pytest.TempPathFactory, data_cache: Path) -> Path:
    """The store of the quick start's first sweep."""
    folder = tmp_path_factory.mktemp("quick-start")
    calls = [our_module(command) for command in commands_of(QUICK_START, folder / "shell")]
    first = next(call_[1] for call_ in calls if call_ and call_[0] == "orchestrator.sweep")
    assert is_small(first)
    with within(folder):
        assert call("orchestrator.sweep", [*first, *TINY, "--data-cache", str(data_cache)]) == 0
    return folder / "sweeps"


@pytest.fixture
def folder(tmp_path: Path, small_store: Path) -> Path:
    """A folder with the files that the documents name: a store, plugins, experiments, a published series."""
    shutil.copytree(small_store, tmp_path / "here" / "sweeps")
    plugin = re.search(r"```python\n(import numpy.*?)```", (ROOT / "docs" / "own-data.md").read_text(), re.S)
    assert plugin
    (tmp_path / "here" / "stripes.py").write_text(plugin[1])
    for page in ("extending.md", "extending-training.md"):
        for name, text in NAMED_FILE.findall((ROOT / "docs" / page).read_text()):
            (tmp_path / "here" / name).write_text(text)
    published = "dataset,architecture,series,density,accuracy_percent\nmnist1d,resnet1d,Theirs,0.5,90\n"
    (tmp_path / "here" / "their.csv").write_text(published)
    return tmp_path / "here"


@pytest.mark.parametrize("document", list(filter(blocks, DOCUMENTS)), ids=name_of)
def test_every_command_of_a_block_runs(
    document: Path, tmp_path: Path, folder: Path, data_root: Path, data_cache: Path
) -> None:
    with within(folder):
        for command in commands_of(document, tmp_path / "shell"):
            print("$", shlex.join(command))
            run(command, data_root, data_cache)


def run(command: Command, data_root: Path, data_cache: Path) -> None:
    """Run a command in its known way, or fail if it has none."""
    program, *arguments = command
    match program:
        case "make":
            assert run_dry_make(arguments) == 0
        case "pip":
            check_pip(arguments)
        case "ray":
            ray_reads(arguments)
        case "python" | "python3" | "winning-sign":
            assert our_module(command), f"{shlex.join(command)}: which module of ours is this?"
        case _:
            assert program in ELSEWHERE or program in UNIX, f"{program}: say in tests/docs/programs.py who runs it"
    if ours := our_module(command):
        run_ours(*ours, data_root, data_cache)


def run_ours(module: str, arguments: list[str], data_root: Path, data_cache: Path) -> None:
    arguments = [SMALL_STORES_NAMES.get(word, word) for word in arguments]
    if module == "orchestrator":
        assert call(module, arguments) == 0
    elif module == "orchestrator.sweep":
        cache = ["--data-cache", str(data_cache)]
        if "--help" in arguments:
            assert call(module, arguments) == 0
        elif is_small(arguments):
            assert call(module, [*arguments, *TINY, *cache]) == 0
        else:
            assert call(module, [*as_plan(arguments, data_root), *cache]) == 0
    elif (module in REAL or arguments[:1] == ["publish"]) and "sweeps" in arguments:
        assert call(module, arguments) == 0
    else:
        assert module in READ or module in REAL, f"{module}: say in tests/docs/programs.py who runs it"
        assert reads(module, arguments), f"{module} does not take {shlex.join(arguments)}"


def run_dry_make(arguments: Sequence[str]) -> int:
    return subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL).returncode


def check_pip(arguments: Sequence[str]) -> None:
    """Check that pip installs requirements, existing files, or this project with extras that it has."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert arguments[0] == "install"
    for before, word in pairwise(arguments):
        if before == "--constraint":
            assert (ROOT / word).is_file()
        elif word.startswith("."):
            assert set(re.findall(r"[\w-]+", word)) <= extras.keys(), word
        elif not word.startswith("-"):
            Requirement(word)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_in_a_sentence_is_one(document: Path) -> None:
    for text in inline_commands(document):
        command = tuple("1" if word == "N" else word for word in shlex.split(text) if not abbreviates(word))
        ours = our_module(command)
        if ours:
            module, arguments = ours[0], [word for word in ours[1] if word not in ENDING]
            assert module in READ or module in REAL or module in ("orchestrator", "orchestrator.sweep"), text
            assert importlib.util.find_spec(module), text
            assert not arguments or reads(module, [*arguments, *missing(text)]), text
        elif command[0] == "make":
            assert run_dry_make(command[1:]) == 0, text
        else:
            assert command[0] == "ray", text
            ray_reads([*command[1:], "--help"])


def abbreviates(word: str) -> bool:
    """Whether a word stands for others, such as ``KEY|NAME``, ``…`` or ``[OPTIONS]``; not ``FIELD=[2, 3]``."""
    return bool(re.search(r"[…|]", word) or (re.search(r"[\[\]]", word) and not re.match(r"[\w.]+=", word)))


def missing(text: str) -> list[str]:
    """Arguments in the place of those that a sentence abbreviates as ``KEY|NAME`` or ``…``."""
    return ["stage"] * (" KEY|NAME" in text or "…/stage.json" in text)


def test_what_another_test_runs_stands_in_that_test() -> None:
    for program, (file, words) in ELSEWHERE.items():
        assert words in (ROOT / file).read_text(), program
    for module, file_ in READ.items():
        assert file_ is None or module.rpartition(".")[2] in (ROOT / file_).read_text(), module


def test_the_table_of_programs_holds_no_more_than_the_documents_need(tmp_path: Path) -> None:
    called: set[str] = set()
    for number, document in enumerate(DOCUMENTS):
        for command in commands_of(document, tmp_path / str(number)):
            called |= {command[0], (our_module(command) or ("", []))[0]}
        called |= {(our_module(tuple(shlex.split(text))) or ("", []))[0] for text in inline_commands(document)}
    assert set(ELSEWHERE) - called == set()
    assert UNIX - called == set()
    assert (REAL | READ.keys()) - called == set()


def test_the_quick_starts_python_runs_after_its_commands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = "\n".join(re.findall(r"```python\n(.*?)```", QUICK_START.read_text(), re.S))
    with within(folder):
        exec(compile(script, str(QUICK_START), "exec"), {"__name__": "quick_start"})
    output = capsys.readouterr().out
    assert "0.512 of the prunable weights are left; aws, round 3" in output
    assert "signed" in output
    assert "test_accuracy_percent" in output
