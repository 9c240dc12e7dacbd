"""The example of docs/own-data.md runs; options, links and source files that documents name exist."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from analysis import judge, report
from orchestrator import search, sweep
from orchestrator.__main__ import SUB_COMMANDS
from orchestrator.recipes.recipe import Recipe

pytestmark = pytest.mark.slow(seconds=30)

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
OWN_DATA = (ROOT / "docs" / "own-data.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
PLUGINS_OF_READERS = {"stripes.py"}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def test_the_example_of_ones_own_data_set_and_architecture_runs(tmp_path: Path, data_cache: Path) -> None:
    (tmp_path / "stripes.py").write_text(blocks(OWN_DATA, "python")[0])
    (block,) = (block for block in blocks(OWN_DATA, "bash") if "orchestrator.sweep --plugin stripes.py" in block)
    command = shlex.split(block.replace("\\\n", " "))
    assert command[:3] == ["python", "-m", "orchestrator.sweep"]
    done = subprocess.run(
        [sys.executable, *command[1:], "--backend", "inline", "--data-cache", str(data_cache)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "sweeps" / "report.html").exists()
    records = [json.loads(path.read_text()) for path in tmp_path.glob("sweeps/stages/train/*/record.json")]
    accuracy = {record["labels"]["transfer"]: record["results"]["test_accuracy_percent"] for record in records}
    assert accuracy["retrain"] > 80


def test_every_option_in_the_docs_exists() -> None:
    def options(app: typer.Typer) -> set[str]:
        return set(re.findall(r"--[a-z][a-z-]*", CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output))

    def used(text: str) -> set[str]:
        return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))

    of_sweep, of_search, of_report = options(sweep.app), options(search.app), options(report.app)
    assert used(README) - of_sweep - of_search - of_report - {"--out", "--store"} == set()
    assert used((ROOT / "docs" / "report.md").read_text()) - of_report - options(judge.app) == set()
    assert used((ROOT / "docs" / "tuning.md").read_text()) - of_search - of_sweep == set()


def test_every_relative_link_leads_somewhere() -> None:
    links = [
        (document.relative_to(ROOT).as_posix(), target)
        for document in DOCUMENTS
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text())
        if "://" not in target and not (document.parent / target).exists()
    ]
    assert links == []


def test_every_source_file_that_a_document_names_exists() -> None:
    files = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py") if ".venv" not in path.parts]
    missing = [
        (document.relative_to(ROOT).as_posix(), name)
        for document in DOCUMENTS
        for name in re.findall(r"`([\w./]+\.py)`", document.read_text())
        if not any(f"/{file}".endswith(f"/{name}") for file in files)
        if name not in PLUGINS_OF_READERS
    ]
    assert missing == []


def test_the_page_of_commands_lists_every_sub_command() -> None:
    rows = re.findall(r"^\| `winning-sign ([\w-]+)` \| (.*) \|$", (ROOT / "docs" / "commands.md").read_text(), re.M)
    assert dict(rows) == {name: help_line for name, (_, _, help_line) in SUB_COMMANDS.items()}


def test_the_table_of_recipe_fields_lists_every_field() -> None:
    table = (ROOT / "docs" / "experiments.md").read_text().split("## Fields of a recipe\n")[1]
    first_cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    fields = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(fields) == sorted(Recipe.model_fields.keys() - {"dataset", "arch", "preset"})
