"""Help pages as plain text: options in groups, and no name cut however narrow the terminal is."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from workers.terminal.numbers import real, whole

WHAT, HOW_MUCH, WHERE, DATA = "What to run", "How much", "Where", "Data"
OUTPUT, ADVANCED = "Output", "Advanced"
HEADINGS = ("Arguments", WHAT, HOW_MUCH, WHERE, DATA, OUTPUT, ADVANCED)
"""Headings of options in their order; other headings follow."""
GLOSSARY_URL = "https://github.com/winning-sign/winning-sign/blob/main/docs/concepts.md"
GLOSSARY = f"Terms: {GLOSSARY_URL}"
"""Last line of help pages."""
NAMES_WIDTH = 28
"""Columns for an option's names. Help for longer names begins on the next line."""


class Page:
    """Prints the help of a command or a group; mixed in before typer's own class."""

    params: list[Any]
    help: str | None
    epilog: str | None

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        context = settings.get("context_settings") or {}
        settings["context_settings"] = {"help_option_names": ["-h", "--help"], **context}
        super().__init__(*arguments, **settings)

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Write the line that names the arguments; errors show it as well."""
        pieces = ["[OPTIONS]", *(_argument(p) for p in self.params if p.param_type_name == "argument")]
        if isinstance(self, TyperGroup):
            pieces.append("COMMAND …")
        formatter.write(f"Usage: {ctx.command_path} {' '.join(pieces)}\n")

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the whole page."""
        self.format_usage(ctx, formatter)
        for paragraph in (self.help or "").partition("\f")[0].split("\n\n"):
            formatter.write(f"\n{_wrapped(paragraph, formatter.width)}\n")
        sections = self._sections(ctx)
        column = 4 + min(NAMES_WIDTH, max(len(names) for rows in sections.values() for names, _ in rows))
        for heading, rows in sections.items():
            formatter.write(f"\n{typer.style(heading, bold=True)}\n")
            formatter.write("".join(_rows(rows, column, formatter.width)))
        if self.epilog:
            formatter.write(f"\n{self.epilog.strip()}\n")

    def _sections(self, ctx: Any) -> dict[str, list[tuple[str, str]]]:
        """(names, help) of every parameter and sub-command, by heading."""
        sections: dict[str, list[tuple[str, str]]] = {}
        if isinstance(self, TyperGroup):
            for name in self.list_commands(ctx):
                command: Any = self.get_command(ctx, name)
                heading = command.rich_help_panel or "Commands"
                first = (command.help or "").partition("\n\n")[0]
                sections.setdefault(str(heading), []).append((name, first.replace("\n", " ")))
        for parameter in self.get_params(ctx):  # type: ignore[attr-defined]
            record = parameter.get_help_record(ctx)
            if record is not None:
                argument = parameter.param_type_name == "argument"
                heading = getattr(parameter, "rich_help_panel", None) or ("Arguments" if argument else "Options")
                names = _argument(parameter) if argument else _option(parameter)
                sections.setdefault(heading, []).append((names, _plain_ranges(record[1])))
        places = {heading: place for place, heading in enumerate(HEADINGS)}
        return dict(sorted(sections.items(), key=lambda item: places.get(item[0], len(HEADINGS))))


class Command(Page, TyperCommand):
    """A command with such a help page, whose argument STORE may be given as ``--store STORE`` too."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        if self._takes_store():
            self.params.append(_store_option())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = _store_first(args) if self._takes_store() else args
        if not ctx.resilient_parsing and not any(word in ctx.help_option_names for word in words):
            self._check_words(ctx, words)
        return super().parse_args(ctx, words)

    def _check_words(self, ctx: Any, words: list[str]) -> None:
        """Refuse what typer alone accepts: a repeated option, an empty path, and odd numbers (1_0, ٣, nan, inf)."""
        given, _, order = self.make_parser(ctx).parse_args(list(words))
        kinds = getattr(self.callback, "__annotations__", {})
        for parameter in self.params:
            try:
                _check_once(parameter, order.count(parameter) + (parameter.name == "store_option"))
                _check_value(given.get(parameter.name), kinds.get(parameter.name, str))
            except ValueError as error:
                raise typer.BadParameter(str(error), ctx=ctx, param=parameter) from error

    def _takes_store(self) -> bool:
        return any(p.name in ("store", "stores") and p.param_type_name == "argument" for p in self.params)


def _check_once(parameter: Any, times: int) -> None:
    if times > 1 and parameter.param_type_name == "option" and not parameter.multiple:
        raise ValueError("it stands twice; give it once")


def _check_value(value: Any, kind: Any) -> None:
    """Raise ValueError unless a word is a value of an annotated type, such as ``Annotated[int | None, …]``."""
    annotated = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    types = {annotated, *get_args(annotated)}
    if Path in types and "" in (value if isinstance(value, list | tuple) else [value]):
        raise ValueError("it is empty; give a path")
    for type_, read in ((int, whole), (float, real)):
        if isinstance(value, str) and type_ in types:
            read(value)


class Group(Page, TyperGroup):
    """A command of sub-commands with such a help page."""


def _argument(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    many = "" if parameter.nargs == 1 or name.endswith("…") else "…"
    return f"{name}{many}" if parameter.required else f"[{name}{many}]"


def _option(parameter: Any) -> str:
    names = ", ".join(sorted(parameter.opts, key=lambda name: (name.startswith("--"), parameter.opts.index(name))))
    if parameter.secondary_opts:
        names = f"{names} / {', '.join(parameter.secondary_opts)}"
    if parameter.is_flag or parameter.count:
        return names
    return f"{names} {parameter.metavar or parameter.name.strip('_').upper()}"


def _plain_ranges(text: str) -> str:
    """The help with click's ``[x>=2]`` in words, and without limits that are plain from the option."""
    text = re.sub(r"(; |(?<=\[))x>=[01](\.0)?(?=[;\]])", "", text).replace("  []", "")
    text = re.sub(r"([\d.]+)<=x<=([\d.]+)(?=[;\]])", r"\1 to \2", text)
    return re.sub(r"x>=([\d.]+)(?=[;\]])", r"at least \1", text)


def _wrapped(text: str, width: int, indent: str = "") -> str:
    """One paragraph; a name such as ``--data-root`` stays in one piece."""
    return textwrap.fill(
        " ".join(text.split()),
        width=width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _rows(rows: list[tuple[str, str]], column: int, width: int) -> Iterable[str]:
    """Names on the left, help from a column on."""
    for names, help_text in rows:
        lines = _wrapped(help_text, max(width - column, 20)).splitlines()
        shown = typer.style(names, fg=typer.colors.CYAN)
        if len(names) + 4 > column or not lines:
            yield f"  {shown}\n"
        else:
            yield f"  {shown}{' ' * (column - 2 - len(names))}{lines.pop(0)}\n"
        yield from (f"{' ' * column}{line}\n" for line in lines)


def _store_option() -> Any:
    """Declare ``--store`` for help and completion; ``_store_first`` gives its value to the argument."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def declared(
        store: Annotated[str, typer.Option(metavar="STORE", help="Another way to give the argument STORE.")] = "",
    ) -> None: ...

    option: Any = typer.main.get_command(app).params[0]
    option.name, option.expose_value = "store_option", False
    return option


def _store_first(args: list[str]) -> list[str]:
    """Move the value of ``--store`` to the front, where the argument STORE stands."""
    for place, word in enumerate(args):
        if word == "--":
            break
        if word == "--store" and place + 1 < len(args):
            return [args[place + 1], *args[:place], *args[place + 2 :]]
        if word.startswith("--store="):
            return [word.removeprefix("--store="), *args[:place], *args[place + 1 :]]
    return args
