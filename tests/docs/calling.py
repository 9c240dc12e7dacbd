"""Call a command in this process as ``python -m`` does, or only let it read its options."""

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
    """Raised where a command has read its options and would begin."""


def call(module: str, arguments: Sequence[str]) -> int:
    """Run ``python -m module arguments``; return the exit code."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of runpy, where the module is imported already
        patch.setattr(sys, "argv", [module, *arguments])
        patch.setenv("COLUMNS", "200")
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def reads(module: str, arguments: Sequence[str]) -> bool:
    """Whether a command accepts these arguments; it prints why not."""
    with _stopping():
        try:
            call(module, arguments)
        except OptionsRead:
            return True
    return False


def ray_reads(arguments: Sequence[str]) -> None:
    """Let Ray's command line read these arguments.

    Raises:
        click.UsageError: Ray does not accept them.
    """
    import click
    from ray.scripts.scripts import cli

    invoke_group = click.Command.invoke

    def invoke(self: Any, context: Any) -> Any:
        return invoke_group(self, context) if isinstance(self, click.Group) else _stop()

    with pytest.MonkeyPatch.context() as patch, suppress(OptionsRead):  # --help ends before that
        patch.setattr(click.Command, "invoke", invoke)
        cli.main(list(arguments), standalone_mode=False)


@contextmanager
def _stopping() -> Iterator[None]:
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self: Any, *arguments: Any) -> NoReturn:
        parse(self, *arguments)
        _stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        patch.setattr(typer.core.TyperCommand, "invoke", lambda self, context: _stop())
        yield


def _stop() -> NoReturn:
    raise OptionsRead


@contextmanager
def within(folder: os.PathLike[str]) -> Iterator[None]:
    """Make a folder the current one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield
