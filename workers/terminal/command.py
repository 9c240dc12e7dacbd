"""What every command line is made of: its application, options in groups, errors in one sentence, and output."""

from __future__ import annotations

import errno
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer
from rich.text import Text
from typer.core import TyperCommand

import winning_sign
from tickets.files.home import NoHomeError, expanded
from workers.terminal.console import Console, visible
from workers.terminal.help import GLOSSARY, Command, Group

Function = TypeVar("Function", bound=Callable[..., None])
FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ENOMEM}
"""Errors of the operating system that no other input would avoid."""
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def new_app() -> typer.Typer:
    """Return an application without commands; ``add_command`` adds them."""
    return typer.Typer(cls=Group, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def add_command(app: typer.Typer, examples: str, cls: type[TyperCommand] = Command) -> Callable[[Function], Function]:
    """Make a function a command of an application.

    A parameter whose type is a dataclass stands for a group of options: the dataclass's fields, which several commands
    share and which are declared once.

    Args:
        examples: command lines for the end of the help, one a line, of ``winning-sign``.
    """

    def register(function: Function) -> Function:
        module = function.__globals__["__spec__"].name.removesuffix(".__main__")
        module = "tickets" if module.startswith("tickets.") else module  # whose commands are those of one program
        app.command(cls=cls, epilog=_examples(examples, module))(_with_groups(function))
        return function

    return register


def _examples(examples: str, module: str) -> str:
    lines = "\n".join(f"  {line}" if line else "" for line in examples.strip().splitlines())
    command = "winning-sign tickets" if module == "tickets" else f"winning-sign {module.rpartition('.')[2]}"
    return f"Examples\n{lines}\n\npython -m {module} is the same as {command.replace('_', '-')}.\n{GLOSSARY}"


def _with_groups(function: Callable[..., None]) -> Callable[..., None]:
    """Return the function with the fields of its dataclasses in place of the dataclasses."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    hints = get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        annotation = hints[parameter.name]
        if not is_dataclass(annotation):
            parameters.append(parameter.replace(annotation=annotation, kind=parameter.KEYWORD_ONLY))
            continue
        groups[parameter.name] = annotation
        field_hints = get_type_hints(annotation, include_extras=True)
        for field in fields(annotation):
            default = parameter.empty if field.default is MISSING else field.default
            option = inspect.Parameter(field.name, parameter.KEYWORD_ONLY, default=default)
            parameters.append(option.replace(annotation=field_hints[field.name]))

    @wraps(function)
    def command(**values: Any) -> None:
        winning_sign.begin_work()
        with one_sentence(WordError, NoHomeError):
            values = {name: _usable(value) for name, value in values.items()}
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        function(**values)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _usable(value: Any) -> Any:
    """Return an argument or option with the home folder for ``~`` in paths; WordError if it is not UTF-8."""
    if isinstance(value, list | tuple):
        return type(value)(map(_usable, value))
    if isinstance(value, str | Path) and any("\ud800" <= sign <= "\udfff" for sign in str(value)):
        raise WordError(f"{value}: this word is not UTF-8, as plans and records must be; rename the file or folder")
    return expanded(value) if isinstance(value, Path) else value


class WordError(ValueError):
    """A word of the command line that no file of a store could hold."""


@contextmanager
def one_sentence(*expected: type[Exception]) -> Iterator[None]:
    """Print these errors as one sentence and exit: with 1 if the machine failed, such as a full disk, else with 2."""
    try:
        yield
    except expected as error:
        print_error(_sentence(error))
        numbers = {each.errno for each in (error, error.__cause__) if isinstance(each, OSError)}
        raise typer.Exit(1 if numbers & FAILURES else 2) from None


def _sentence(error: Exception) -> str:
    """An error of the operating system as "FILE: reason", without its number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error)


def print_error(message: str) -> None:
    """Print a sentence to stderr."""
    Console(stderr=True, soft_wrap=True).print(Text.assemble(("Error:", "red"), " ", visible(message)))


def console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Return the console a command prints to. Text from a store is never taken for markup."""
    return Console(stderr=stderr, quiet=quiet, soft_wrap=True)


def print_json(document: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(document, indent=1, ensure_ascii=True))


def tell_left_out(sentences: Mapping[str, str], store: object) -> None:
    """Print on stderr, in one sentence, what a command leaves out of a store.

    Args:
        sentences: what is wrong with each file, by its path or key.
    """
    if sentences:
        console(stderr=True).print(left_out(sentences, store))


def left_out(sentences: Mapping[str, str], store: object) -> str:
    """Say in one sentence how many files are left out, why the first is, and what helps."""
    example = next(iter(sentences.values())).partition("; ")[0]  # without a remedy of its own
    if len(sentences) == 1:
        return f"1 file is left out ({example}); winning-sign verify {store} sets it aside"
    return f"{len(sentences):,} files are left out (such as: {example}); winning-sign verify {store} sets them aside"
