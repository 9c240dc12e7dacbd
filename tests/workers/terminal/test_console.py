"""Nothing that is printed steers the terminal but the console itself."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from workers import run
from workers.terminal.console import Console, visible

EVIL = "a\x1b]0;title\x07\x9bb"
SHOWN = r"a\x1b]0;title\x07\x9bb"


def printed(what: object) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=80, force_terminal=True, highlight=False).print(what)
    assert "\x1b" not in file.getvalue()
    return file.getvalue().splitlines()


def test_control_characters_are_spelled_out() -> None:
    assert printed(EVIL) == [SHOWN]
    assert printed(Text(EVIL)) == [SHOWN.replace(r"\x07", "")]  # rich leaves a text's bell out by itself


@pytest.mark.parametrize(
    ("sign", "spelled"),
    [
        ("\u202e", r"\u202e"),  # right-to-left override
        ("\u2066", r"\u2066"),  # isolate
        ("\u200f", r"\u200f"),  # mark
        ("\u200b", r"\u200b"),  # no width
        ("\u00ad", r"\xad"),  # soft hyphen
        ("\ufeff", r"\ufeff"),
        ("\u2028", r"\u2028"),  # line separator
        ("\u2029", r"\u2029"),
        ("\U000e0041", r"\U000e0041"),  # tag
        ("\udc80", r"\udc80"),  # half of a pair
        ("\x7f", r"\x7f"),
        ("\r", r"\x0d"),
    ],
)
def test_what_reorders_or_hides_text_is_spelled_out(sign: str, spelled: str) -> None:
    assert visible(f"a{sign}b\n\tä 日本 ψ−\N{NO-BREAK SPACE}😀") == f"a{spelled}b\n\tä 日本 ψ−\N{NO-BREAK SPACE}😀"
    assert printed(f"a{sign}b") == [f"a{spelled}b"]


def test_columns_stay_straight() -> None:
    table = Table.grid()
    table.add_row(EVIL, "after")
    table.add_row("short", "after")
    one, other = printed(table)
    assert one.startswith(SHOWN)
    assert one.index("after") == other.index("after")


def test_the_consoles_own_colours_lines_and_columns_stay() -> None:
    file = io.StringIO()
    Console(file=file, force_terminal=True, color_system="standard", markup=True).print("[red]one[/red]\ntwo")
    assert file.getvalue() == "\x1b[31mone\x1b[0m\ntwo\n"


def test_a_stage_that_is_run_alone_says_what_is_wrong_without_steering(tmp_path: Path) -> None:
    stage = tmp_path / "[bold]\x1b[2J[/oops].json"
    result = CliRunner().invoke(run.app, [str(stage), "--out", str(tmp_path / "out")], env={"COLUMNS": "500"})
    assert result.exit_code == 2
    assert r"[bold]\x1b[2J[/oops].json" in result.output
    assert result.output.count("\n") == 1
