"""Run commands as forks of this process, which has imported everything and has one thread."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import orchestrator.driver.failures
import orchestrator.session.run
import orchestrator.sweep
from benchmarks.faults.processes import NoReport
from benchmarks.fuzz.trap import set_trap
from orchestrator.__main__ import SUB_COMMANDS, app
from orchestrator.store.record import Cause

LIMIT_S = 60.0
MOST_BYTES = 1 << 30
BEYOND_BYTES = 6 << 30
"""Address space and file size that a command may take before the machine itself is at risk."""
PAUSES_S = (0.1, 0.1)
CRASHED = 70
POLL_S = 0.003


@dataclass(frozen=True)
class Done:
    """A command that has ended.

    Attributes:
        code: exit code; negative for a signal; None if it was killed after ``LIMIT_S``.
        memory_bytes: largest resident set, with all imports.
        acts: forbidden acts, as sentences.
    """

    label: str
    code: int | None
    text: str
    seconds: float
    memory_bytes: int
    acts: tuple[str, ...] = ()


def import_commands() -> None:
    """Import all commands."""
    for module, *_ in SUB_COMMANDS.values():
        import_module(module)


def import_listed(names: Path) -> None:
    """Import the modules that a command had imported in the end; plugins and what fails are left out."""
    for name in names.read_text().split():
        if name not in sys.modules and not name.startswith("winning_sign_plugin"):
            with suppress(Exception):
                import_module(name)


def run(
    label: str,
    words: Sequence[str],
    cwd: Path,
    until: Callable[[Path], None] | None = None,
    learn: Path | None = None,
) -> Done:
    """Run ``winning-sign`` with these words in a fork of this process, and wait for its end.

    Args:
        cwd: its current folder, and the only one that it may change.
        until: called with the file of the output while the command runs; afterwards SIGINT ends it.
        learn: a file for the names of all modules that the command has imported in the end.
    """
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        output, acts = Path(folder) / "output.txt", Path(folder) / "acts.txt"
        output.touch()
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            _be_the_command(words, cwd, output, acts, learn)
        try:
            if until is not None:
                until(output)
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGINT)
            code, usage = _wait(child, began)
        except KeyboardInterrupt:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        told = acts.read_text().splitlines() if acts.exists() else []
        return Done(
            label,
            code,
            output.read_text(errors="replace"),
            time.monotonic() - began,
            usage.ru_maxrss * 1024,
            tuple(dict.fromkeys(told)),
        )


def _wait(child: int, began: float) -> tuple[int | None, resource.struct_rusage]:
    """Wait for a child; kill it, and all processes of its session, after ``LIMIT_S``."""
    while True:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status), usage
        if time.monotonic() - began > LIMIT_S:
            os.kill(child, signal.SIGKILL)
            _, _, usage = os.wait4(child, 0)
            return None, usage
        time.sleep(POLL_S)


def _be_the_command(words: Sequence[str], cwd: Path, output: Path, acts: Path, learn: Path | None) -> None:
    """Become ``winning-sign`` with these words; never returns."""
    code = CRASHED
    try:
        os.setsid()
        os.chdir(cwd)
        written = os.open(output, os.O_WRONLY | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(written, 1)
        os.dup2(written, 2)
        for limit in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE):
            resource.setrlimit(limit, (_address_space() + BEYOND_BYTES,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        places = {"HOME": cwd / "home", "TMPDIR": cwd / "tmp", "XDG_CACHE_HOME": cwd / "home" / ".cache"}
        os.environ |= {name: str(place) for name, place in places.items()} | {"COLUMNS": "500", "NO_COLOR": "1"}
        tempfile.tempdir = None
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        log = os.open(acts, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

        def tell(act: str) -> None:
            os.write(log, f"{' '.join(act.split())[:300]}\n".encode(errors="replace"))

        set_trap(cwd, tell)
        code = _call(list(words))
        if learn is not None:
            learn.write_text("\n".join(sorted(sys.modules)))
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code)


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _call(words: list[str]) -> int:
    """Call the program's entry, with short pauses between attempts and no report of its own after a sweep."""
    sys.argv = ["winning-sign", *words]
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", errors="replace") for number in (1, 2))
    orchestrator.driver.failures.PAUSE_S[Cause.TRANSIENT] = PAUSES_S
    orchestrator.session.run.LiveReport = NoReport  # type: ignore[misc,assignment]
    orchestrator.sweep.judge_store = lambda store: {}  # judge runs as a command of its own
    try:
        app(words, prog_name="winning-sign")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0
