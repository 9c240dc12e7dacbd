"""Calls a command as ``python -m`` does, in this process; or has it read its options and stop there."""

from __future__ import annotations

import argparse
import os
import runpy
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import pytest
import typer.core


class OptionsRead(BaseException):
    """A command has read its options, and would begin now."""


def call(module: str, arguments: Sequence[str]) -> int:
    """``python -m module arguments``; the exit code."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # runpy's, of a module that is imported already
        patch.setattr(sys, "argv", [module, *arguments])
        patch.setenv("COLUMNS", "200")
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def reads(module: str, arguments: Sequence[str]) -> bool:
    """Whether a command takes these arguments; what it says of others is printed."""
    with _stopping():
        try:
            call(module, arguments)
        except OptionsRead:
            return True
    return False


def ray_reads(arguments: Sequence[str]) -> None:
    """Ray's own command line reads these arguments.

    Raises:
        click.UsageError: it does not take them.
    """
    import click
    from ray.scripts.scripts import cli

    of_groups = click.Command.invoke

    def invoke(self: Any, context: Any) -> Any:
        return of_groups(self, context) if isinstance(self, click.Group) else _stop()

    with pytest.MonkeyPatch.context() as patch, suppress(OptionsRead):  # not with --help, which ends before
        patch.setattr(click.Command, "invoke", invoke)
        cli.main(list(arguments), standalone_mode=False)


@contextmanager
def _stopping() -> Iterator[None]:
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self: Any, *given: Any) -> NoReturn:
        parse(self, *given)
        _stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        patch.setattr(typer.core.TyperCommand, "invoke", lambda self, context: _stop())
        yield


def _stop() -> NoReturn:
    raise OptionsRead


@contextmanager
def within(folder: os.PathLike[str]) -> Iterator[None]:
    """The current folder is this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield
