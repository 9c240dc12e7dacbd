"""Run benchmarks again, and write what they print into RESULTS.md: the command, the date, the commit and the machine.

    python -m benchmarks.write                   # the blocks, when each was measured, and what has changed since
    python -m benchmarks.write report training   # run the commands of these blocks, and replace what the blocks hold
    python -m benchmarks.write "scale --only barriers"  # one of several blocks of a benchmark, by its command

A block of RESULTS.md lies between two comments. The first is the command line without "python -m", which is edited by
hand; everything between them is what that command printed. A command that fails leaves its block as it was.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.table import print_table

RESULTS = Path(__file__).with_name("RESULTS.md")
_ROOT = RESULTS.parents[1]
BEGIN, END = "<!-- benchmarks.{command} -->\n", "<!-- the end of what it printed -->\n"
_BLOCK = re.compile(r"<!-- benchmarks\.(?P<command>[^\n]+) -->\n(?P<content>.*?)" + re.escape(END), re.S)
_MEASURED = re.compile(r", measured (?P<day>[0-9-]+) at commit (?P<commit>[0-9a-f]{7,40})")

Run = Callable[[Sequence[str]], str]
"""Runs a module with arguments and returns what it printed."""


@dataclass(frozen=True)
class Block:
    """A block of RESULTS.md.

    Attributes:
        command: after "benchmarks.", with its options.
        day, commit: of the measurement; empty if the block holds none.
    """

    command: str
    day: str
    commit: str

    @property
    def name(self) -> str:
        """The benchmark's module, without its package."""
        return self.command.split()[0]


def blocks(text: str) -> list[Block]:
    """Find the blocks of a document."""
    measured = [(match["command"], _MEASURED.search(match["content"])) for match in _BLOCK.finditer(text)]
    return [Block(command, *(when.groups() if when else ("", ""))) for command, when in measured]


def written(text: str, block: Block, printed: str, day: str, commit: str) -> str:
    """Return the document with what a block's command printed."""
    content = f"\n`python -m benchmarks.{block.command}`, measured {day} at commit {commit}:\n\n{printed.strip()}\n\n"
    begin = BEGIN.format(command=block.command)
    before, rest = text.split(begin, 1)
    return f"{before}{begin}{content}{END}{rest.split(END, 1)[1]}"


def run_module(words: Sequence[str]) -> str:
    """Run a module in a fresh process; its progress goes to stderr.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def measure(names: Sequence[str], document: Path, run: Run) -> int:
    """Run the commands of the named blocks, and write each block when its command has ended; return the exit code."""
    text = document.read_text(encoding="utf-8")
    chosen = [block for block in blocks(text) if not {block.name, block.command}.isdisjoint(names)]
    if unknown := set(names) - {name for block in chosen for name in (block.name, block.command)}:
        known = ", ".join(sorted({block.name for block in blocks(text)}))
        print(f"Error: {document.name} has no block of {', '.join(sorted(unknown))}; it has {known}", file=sys.stderr)
        return 2
    for block in chosen:
        print(f"python -m benchmarks.{block.command}", file=sys.stderr)
        commit = _commit()
        try:
            printed = run(shlex.split(f"benchmarks.{block.command}"))
        except subprocess.CalledProcessError as error:
            print(f"Error: it ended with exit code {error.returncode}; its block is as it was", file=sys.stderr)
            return 1
        day = datetime.now(UTC).date().isoformat()
        # read again: the command may have run for hours
        text = written(document.read_text(encoding="utf-8"), block, printed, day, commit)
        document.write_text(text, encoding="utf-8")
    return 0


def list_blocks(document: Path) -> None:
    """Print when each block was measured, and how many commits have changed its benchmark, or anything, since."""
    rows = []
    for block in blocks(document.read_text(encoding="utf-8")):
        own = _commits_since(block.commit, f"benchmarks/{block.name}*")
        rows.append([block.command, block.day or "never", block.commit[:7], own, _commits_since(block.commit, ".")])
    print_table(["command", "measured", "commit", "commits to it since", "to all since"], rows)


def _commits_since(commit: str, path: str) -> str:
    """Count the commits that changed a path; "?" where git does not know the commit."""
    return (_git("rev-list", "--count", f"{commit}..HEAD", "--", path) if commit else "") or "?"


def _commit() -> str:
    """Name the commit of the code, and whether anything but the measurements was changed since."""
    changed = _git("status", "--porcelain", "--", ".", f":!{RESULTS.relative_to(_ROOT)}")
    return (_git("rev-parse", "--short", "HEAD") or "unknown") + (" with uncommitted changes" if changed else "")


def _git(*arguments: str) -> str:
    """What git prints; nothing where there is no repository."""
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True).stdout.strip()
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a command failed, 2 if there is no such block."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a benchmark with a block, or a block's command")
    names = parser.parse_args(arguments).names
    if names:
        return measure(names, RESULTS, run_module)
    list_blocks(RESULTS)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
