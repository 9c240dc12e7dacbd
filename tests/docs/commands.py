"""Read the shell commands of the documents as bash reads them, with variables, loops, quotes and here-documents.

Bash runs each block in an empty folder where every program is a stand-in that records its call. So we parse nothing of
a document, and a program without a stand-in is recorded as well.
"""

from __future__ import annotations

import re
import subprocess
import textwrap
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/RESULTS.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^ *```(?P<language>bash|console|sh|shell|shell-session|zsh) *\n(?P<text>.*?)^ *```", re.M | re.S)
INLINE = re.compile(r"(?<!`)`((?:python -m|winning-sign|make|ray) [^`\n]+)`(?!`)")
END, NEXT = "\x1e", "\x1f"
STAND_IN = '#!/bin/bash\nprintf -v call "%s\\x1f" "${0##*/}" "$@"\nprintf "%s\\x1e" "$call" >> "$CALLS"\n'
# `exit` leaves the machine that `ssh` went to, not the block; `git clone URL` leaves a folder to enter; a program that
# has no stand-in is written down all the same
PRELUDE = """
exit() { :; }
git() { command git "$@"; last="${@: -1}"; /bin/mkdir -p "${last##*/}"; }
command_not_found_handle() { printf -v call "%s\\x1f" "$@"; printf "%s\\x1e" "$call" >> "$CALLS"; }
"""

Command = tuple[str, ...]


def blocks(document: Path) -> list[str]:
    """The blocks that a reader pastes into a shell."""
    return [_typed(match) for match in BLOCK.finditer(document.read_text())]


def _typed(match: re.Match[str]) -> str:
    text = textwrap.dedent(match["text"])
    if match["language"] in ("console", "shell-session"):
        return "\n".join(line[2:] for line in text.splitlines() if line.startswith(("$ ", "> ")))
    return text


def inline_commands(document: Path) -> list[str]:
    """The commands within sentences and tables."""
    text = BLOCK.sub("", document.read_text())
    return [command.replace("\\|", "|") for command in INLINE.findall(text)]


def commands(texts: Iterable[str], folder: Path, programs: Iterable[str]) -> list[Command]:
    """Run blocks in an empty folder; return the calls of programs in their order.

    Args:
        programs: names of the stand-ins. Bash reports calls of all other programs as not found; these are returned too.
    """
    folder.mkdir(parents=True)
    (folder / "bin").mkdir()
    calls = folder / "calls"
    for name in programs:
        (folder / "bin" / name).write_text(STAND_IN)
        (folder / "bin" / name).chmod(0o755)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").touch()
    for number, text in enumerate(texts):
        script = folder / f"{number}.sh"
        script.write_text(f"{PRELUDE}{text}\nwait\n")
        done = subprocess.run(
            ["/bin/bash", str(script)],
            cwd=folder,
            env={"PATH": str(folder / "bin"), "HOME": str(folder), "CALLS": str(calls), "USER": "nobody"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        assert done.stderr == "", f"{text}\n{done.stderr}"
    recorded = calls.read_text() if calls.exists() else ""
    return [tuple(call.split(NEXT)[:-1]) for call in recorded.split(END)[:-1]]
