"""Options in groups: a dataclass in a command's signature stands for its fields."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from workers.terminal.command import add_command, new_app, one_sentence


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option(min=2, help="Columns.", rich_help_panel="Size")] = 8
    fast: Annotated[bool, typer.Option(help="Go fast.", rich_help_panel="Advanced")] = True


app = new_app()


@add_command(app, "winning-sign draw --width 3")
def draw(*, store: Annotated[str, typer.Argument(metavar="STORE")], size: Size, json_: bool = False) -> None:
    """Draw a picture.

    It has a size.
    """
    with one_sentence(ValueError):
        if size.width == 13:
            raise ValueError("[bold]13[/bold] brings bad luck; give another --width")
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
