"""``winning-sign``: one command for all sub-commands, quick to ask for help, and readable at 80 columns."""

from __future__ import annotations

import importlib
import inspect
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from orchestrator.__main__ import SUB_COMMANDS, app
from workers.terminal.console import Console
from workers.terminal.tables import UncutTable, print_table

HEAVY = ("torch", "ray", "pandas", "plotly", "torchvision")
NEED_NO_TORCH = ("status", "why", "logs", "cancel", "verify", "gc", "unlock", "spot-notice")
TAKE_A_STORE = ("status", "why", "logs", "cancel", "verify", "gc", "unlock", "landscape", "report", "serve", "checks")
NAMES = sorted(SUB_COMMANDS)


def winning_sign(*arguments: object) -> Result:
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(app, words, env={"COLUMNS": "80"}, prog_name="winning-sign")


def command_of(name: str) -> object:
    return typer.main.get_command(importlib.import_module(SUB_COMMANDS[name][0]).app)


@pytest.mark.parametrize("arguments", [["-h"], ["--version"], *([name, "-h"] for name in NEED_NO_TORCH)], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        f"import sys\nfrom orchestrator.__main__ import app\ntry:\n    app({arguments})\n"
        f"finally:\n    print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_module_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "orchestrator", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in NAMES)


def test_without_arguments_it_shows_its_help() -> None:
    assert all(f"\n  {name} " in winning_sign().output for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_sub_command_has_one_help_text(name: str) -> None:
    result = winning_sign(name, "--help")
    assert result.exit_code == 0, result.output
    assert winning_sign(name, "-h").output == result.output
    first_paragraph = result.output.split("\n\n")[1]
    assert " ".join(first_paragraph.split()) == SUB_COMMANDS[name][2]
    assert f"winning-sign {name}" in result.output
    module = SUB_COMMANDS[name][0].removesuffix(".__main__")
    assert f"python -m {module} is the same as winning-sign {name}." in result.output


@pytest.mark.parametrize("name", NAMES)
def test_help_cuts_no_option_at_80_columns(name: str) -> None:
    output = winning_sign(name, "--help").output
    page, _, _ = output.partition("\nExamples\n")
    assert max(map(len, page.splitlines())) <= 80
    for parameter in getattr(command_of(name), "params", []):
        for option in (*parameter.opts, *parameter.secondary_opts):
            if option.startswith("--"):
                assert re.search(rf"(^| ){option}([ ,\n]|$)", page), option


def test_the_help_of_sweep_is_in_groups_with_the_common_options_first() -> None:
    output = winning_sign("sweep", "--help").output
    headings = [line for line in output.splitlines() if re.fullmatch(r"[A-Z][a-z ]+", line)]
    groups = ["Arguments", "What to run", "How much", "Where", "Data", "Output", "Advanced", "Options", "Examples"]
    assert headings == groups
    assert output.index("--datasets") < output.index("--recipe") < output.index("--seeds") < output.index("--pack")


@pytest.mark.parametrize(("word", "meant"), [("stat", "status"), ("swep", "sweep"), ("spotnotice", "spot-notice")])
def test_an_unknown_sub_command_gets_the_nearest_names(word: str, meant: str) -> None:
    result = winning_sign(word)
    assert result.exit_code == 2
    assert f"'{meant}'" in result.output


def test_a_data_set_in_the_place_of_an_experiment_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = winning_sign("sweep", "mnist1d")
    assert result.exit_code == 2
    assert "give --datasets mnist1d" in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", TAKE_A_STORE)
def test_the_store_is_an_argument_or_an_option(name: str, tmp_path: Path) -> None:
    more = {"why": ["x"], "logs": ["x"], "unlock": ["--stale"], "landscape": ["a", "b", "c"]}.get(name, [])
    if name == "serve":  # a store that does not exist is served until it does
        more, refused = ["--published", tmp_path / "none.csv"], "none.csv"
    else:
        refused = "give the folder"
    store = tmp_path / "none"
    answers = [
        winning_sign(name, store, *more),
        winning_sign(name, "--store", store, *more),
        winning_sign(name, *more, f"--store={store}"),
    ]
    assert [answer.exit_code for answer in answers] == [2, 2, 2]
    assert len({answer.output for answer in answers}) == 1
    assert refused in answers[0].output.replace("\n", " ")
    usage = winning_sign(name, "--help").output
    assert usage.splitlines()[0].startswith(f"Usage: winning-sign {name} [OPTIONS] STORE")
    assert "--store STORE" in usage


@pytest.mark.parametrize("option", ["--plan", "--dry-run"])
@pytest.mark.parametrize("data_set", ["--datasets", "--dataset"])
def test_a_plan_has_two_names_and_so_have_data_sets(option: str, data_set: str, tmp_path: Path) -> None:
    result = winning_sign("sweep", data_set, "mnist1d", option, "--store", tmp_path / "none", "--backend", "inline")
    assert result.exit_code == 0, result.output
    assert "epochs to run" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"), [("winning-sign st", "status"), ("winning-sign gc --keep", "--keep-weights")]
)
def test_the_shell_completes_sub_commands_and_their_options(words: str, expected: str) -> None:
    environment = {
        **os.environ,
        "_WINNING_SIGN_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    program = "import sys; sys.argv = ['winning-sign']; from orchestrator.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [expected], done.stderr


@pytest.mark.parametrize("terminal", [True, False])
def test_a_table_cuts_no_name_and_wraps_prose(terminal: bool) -> None:
    file = io.StringIO()
    name, prose = "blocks.0.conv1.weight/" * 5, "several words of prose " * 10
    table = UncutTable(["name"], ["count"], ["detail"])
    table.add(name, "1,000,000", prose)
    table.add("[bold]short[/bold]\x1b[2J", "1", "little")
    print_table(Console(file=file, width=80, force_terminal=terminal, no_color=True), table)
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in file.getvalue().splitlines()]
    assert lines[1].startswith(name)
    assert "1,000,000" in lines[1]
    assert "…" not in file.getvalue()
    words = " ".join(" ".join(line[len(name) :].split()) for line in lines[1:-1])
    assert words == f"1,000,000 {prose.strip()}"
    assert lines[-1].startswith(r"[bold]short[/bold]\x1b[2J")


def test_every_line_of_the_main_help_is_the_first_sentence_of_a_docstring() -> None:
    for name, (module, _, sentence) in SUB_COMMANDS.items():
        function = {"checks": "check", "spot-notice": "watch"}.get(name, name)
        documentation = inspect.getdoc(getattr(importlib.import_module(module), function)) or ""
        assert documentation.partition("\n\n")[0].replace("\n", " ") == sentence
