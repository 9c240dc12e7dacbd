"""Measure how long a report takes to write, the memory for it, its size, and how soon a browser shows it.

    python -m benchmarks.report [--stages 2000,20000] [--repeats 5]

- writing: seconds of ``winning-sign report`` in a fresh process, from the store's files to the HTML file; its processor
  time, which other processes disturb less; and its peak memory. The store is as a sweep leaves it, with the index of
  records and copies of the tables, and nothing in the user's cache. Goals for 20,000 stages: 15 s, 1 GB.
- writing without copies: the same where every stage's tables are opened, as after copying a store without its times.
- size: of the self-contained HTML file. Goals: 8 MB for 2,000 stages, 15 MB for 20,000.
- the first words, the first figure: seconds after opening the file in headless Chromium. Goal for 2,000 stages: 2 s.

The stores are written without computing: finished MNIST-1D sweeps that transfer and probe every round.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.finished_store import write_finished
from benchmarks.machine import describe_machine
from benchmarks.scale import finished_plan
from benchmarks.table import print_table

BROWSER = "chromium"
ARGUMENTS = ("--no-sandbox", "--disable-background-networking", "--no-first-run", "--disable-component-update")
FIRST_FIGURE = "figure .plot .main-svg"
LARGE = 10_000
"""Stages from which the goals of a large store hold."""
# Linux counts the memory of the process that starts another to the other's peak: this one is small
_LAUNCHER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
command = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, used = os.wait4(command.pid, 0)
wall_s = time.perf_counter() - began
print(json.dumps([os.waitstatus_to_exitcode(status), wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


@dataclass(frozen=True)
class Written:
    """A report that was written.

    Attributes:
        wall_s, processor_s, peak_bytes: of the process that wrote it.
    """

    page: Path
    wall_s: float
    processor_s: float
    peak_bytes: int


def write(store: Path) -> Written:
    """Write a store's report in a fresh process.

    Raises:
        RuntimeError: the command failed.
    """
    with tempfile.TemporaryDirectory() as empty:
        launched = subprocess.run(
            [sys.executable, "-I", "-c", _LAUNCHER, sys.executable, "-m", "analysis.report", str(store)],
            stdout=subprocess.PIPE,
            env=os.environ | {"XDG_CACHE_HOME": empty},
            check=True,
        )
    exit_code, wall_s, processor_s, peak = json.loads(launched.stdout)
    if exit_code:
        raise RuntimeError(f"python -m analysis.report {store} ended with exit code {exit_code}")
    return Written(store / "report.html", wall_s, processor_s, peak * (1 if sys.platform == "darwin" else 1024))


def opening_s(page: Path, repeats: int) -> list[tuple[float, float]]:
    """Open the page in new contexts of one browser; return seconds to the first words and to the first figure.

    Raises:
        SystemExit: Chromium is missing.
    """
    from playwright.sync_api import sync_playwright  # imported late: only the test extra has it

    found = shutil.which(BROWSER)
    if found is None:
        raise SystemExit(f"there is no {BROWSER} here: apt-get install {BROWSER}")
    times = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=ARGUMENTS)
        for _ in range(repeats):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            tab = context.new_page()
            tab.goto(page.as_uri())
            tab.wait_for_selector(FIRST_FIGURE)
            figure_ms, words_ms = tab.evaluate(
                "[performance.now(), performance.getEntriesByName('first-contentful-paint')[0].startTime]"
            )
            times.append((words_ms / 1000, figure_ms / 1000))
            context.close()
        browser.close()
    return times


def _write_store(stages: int, folder: Path) -> int:
    """Write a finished sweep's store with at least so many stages; return their number."""
    plan = finished_plan(stages, folder / "cache")
    write_finished(folder / "store", plan)
    return len(plan)


def measure(stages: int, repeats: int) -> tuple[int, list[list[str]]]:
    """Return the number of stages of a store with at least so many, and rows of the table: what, value, goal."""
    with tempfile.TemporaryDirectory() as folder:
        planned = _write_store(stages, Path(folder))
        without, *written = (write(Path(folder) / "store") for _ in range(1 + repeats))  # the first leaves the copies
        words_s, figure_s = (median(each) for each in zip(*opening_s(without.page, repeats), strict=True))
        size_bytes = without.page.stat().st_size
    large = stages >= LARGE
    return planned, [
        ["writing", f"{median(each.wall_s for each in written):.1f} s", "15 s" if large else ""],
        ["writing, processor time", f"{median(each.processor_s for each in written):.1f} s", ""],
        ["writing without copies", f"{without.wall_s:.1f} s", ""],
        [
            "writing, peak memory",
            f"{max(each.peak_bytes for each in written) / 1e6:,.0f} MB",
            "1,000 MB" if large else "",
        ],
        ["size", f"{size_bytes / 1e6:.1f} MB", "15 MB" if large else "8 MB"],
        ["the first words are seen", f"{words_s:.1f} s", "" if large else "2 s"],
        ["the first figure is drawn", f"{figure_s:.1f} s", "" if large else "2 s"],
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line's entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", default="2000,20000", help="least numbers of stages of the stores, comma-separated")
    parser.add_argument("--repeats", type=int, default=5, help="number of page loads")
    given = parser.parse_args(arguments)
    print(describe_machine(), end="\n\n")
    measured = [measure(int(stages), given.repeats) for stages in given.stages.split(",")]
    header = ["the report", *(cell for stages, _ in measured for cell in (f"{stages:,} stages", "goal"))]
    lines = zip(*(rows for _, rows in measured), strict=True)
    print_table(header, [[line[0][0], *(cell for row in line for cell in row[1:])] for line in lines])


if __name__ == "__main__":
    main()
