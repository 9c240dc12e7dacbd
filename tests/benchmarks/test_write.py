"""RESULTS.md holds what its commands print, and says when and at which commit."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.write import RESULTS, Block, blocks, measure

TEXT = """# Measurements

<!-- benchmarks.report --stages 100 -->

`python -m benchmarks.report --stages 100`, measured 2020-01-01 at commit abcdef1:

old

<!-- the end of what it printed -->

Prose about it.

<!-- benchmarks.claims -->
<!-- the end of what it printed -->
"""


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "RESULTS.md"
    path.write_text(TEXT)
    return path


def test_a_block_names_its_command_its_day_and_its_commit() -> None:
    assert blocks(TEXT) == [Block("report --stages 100", "2020-01-01", "abcdef1"), Block("claims", "", "")]


def test_what_a_command_prints_replaces_its_block_and_nothing_else(document: Path) -> None:
    asked: list[Sequence[str]] = []

    def run(words: Sequence[str]) -> str:
        asked.append(words)
        return "Some CPU, 2 cores\n\n| a |\n|---|\n| 1 |\n"

    assert measure(["report"], document, run) == 0
    assert asked == [["benchmarks.report", "--stages", "100"]]
    text = document.read_text()
    assert "old" not in text
    assert "Some CPU, 2 cores\n\n| a |\n|---|\n| 1 |\n\n<!-- the end of what it printed -->\n\nProse" in text
    [report, claims] = blocks(text)
    assert report.day >= "2026"
    assert report.commit
    assert claims == Block("claims", "", "")
    assert measure(["report"], document, run) == 0  # again: a block, not a second one
    assert len(blocks(document.read_text())) == 2


def test_a_command_that_fails_leaves_its_block(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(words: Sequence[str]) -> str:
        raise subprocess.CalledProcessError(3, list(words))

    assert measure(["claims"], document, run) == 1
    assert document.read_text() == TEXT
    assert "exit code 3" in capsys.readouterr().err


def test_a_name_without_a_block_is_refused(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert measure(["reprot"], document, lambda words: "") == 2
    assert capsys.readouterr().err == "Error: RESULTS.md has no block of reprot; it has claims, report\n"


def test_every_block_of_our_measurements_was_measured() -> None:
    for block in blocks(RESULTS.read_text()):
        assert block.commit, block.command
        assert (RESULTS.parent / f"{block.name}.py").exists() or (RESULTS.parent / block.name).is_dir()
