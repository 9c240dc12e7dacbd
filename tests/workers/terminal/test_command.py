"""Options in groups: a dataclass in a command's signature stands for its fields."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from workers.terminal.command import add_command, new_app, one_sentence


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option(min=2, help="Columns.", rich_help_panel="Size")] = 8
    fast: Annotated[bool, typer.Option(help="Go fast.", rich_help_panel="Advanced")] = True


app = new_app()


@add_command(app, "winning-sign draw --width 3")
def draw(
    *,
    store: Annotated[str, typer.Argument(metavar="STORE")],
    size: Size,
    files: Annotated[list[Path] | None, typer.Option("--file")] = None,
    json_: bool = False,
) -> None:
    """Draw a picture.

    It has a size.
    """
    with one_sentence(ValueError, OSError):
        if size.width == 13:
            raise ValueError("[bold]13[/bold] brings bad luck; give another --width")
        if size.width == 28:
            raise OSError(28, "No space left on device", "picture\\[/x]")
        for file in files or ():
            print(file)
    print(json.dumps([store, asdict(size)]))


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, words, env={"COLUMNS": "60"})
    return result.exit_code, result.output


def test_the_fields_of_a_dataclass_are_options() -> None:
    assert run("s", "--width", "3", "--no-fast") == (0, '["s", {"width": 3, "fast": false}]\n')
    assert run("--store", "s") == (0, '["s", {"width": 8, "fast": true}]\n')
    assert run("s", "--width", "1")[0] == 2


def test_an_expected_error_is_one_sentence_without_markup() -> None:
    assert run("s", "--width", "13") == (2, "Error: [bold]13[/bold] brings bad luck; give another --width\n")


def test_help_shows_groups_limits_and_examples() -> None:
    code, page = run("-h")
    assert code == 0
    assert page.index("Arguments\n") < page.index("Advanced\n") < page.index("Size\n") < page.index("Options\n")
    assert "Columns. [default: 8; at least 2]" in page
    assert "  --fast / --no-fast" in page
    assert "winning-sign draw --width 3" in page


def test_a_full_disk_is_no_bad_input() -> None:
    assert run("s", "--width", "28") == (1, "Error: picture\\[/x]: no space left on device\n")


def test_paths_begin_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/user")
    code, output = run("s", "--file=~/a", "--file", "~/b/~", "--file", "c~")
    assert (code, output.splitlines()[:3]) == (0, ["/home/user/a", "/home/user/b/~", "c~"])
    assert run("s", "--file", "~nobody-of-this-name/a") == (
        2,
        "Error: ~nobody-of-this-name/a: there is no such home folder; give the whole path\n",
    )


def test_a_word_that_is_not_utf_8_is_refused() -> None:
    for words in (["s\udce9"], ["s", "--file", "\udce9"]):
        code, output = run(*words)
        assert code == 2
        assert "this word is not UTF-8" in output
