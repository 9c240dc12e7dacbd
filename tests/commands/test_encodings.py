"""Text in terminals and locales that lack its characters."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "settings",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=str,
)
def test_help_is_printed_in_any_encoding(settings: dict[str, str]) -> None:
    command = [sys.executable, "-m", "orchestrator", "--help"]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"COMMAND ?" in done.stdout or "COMMAND …".encode() in done.stdout
