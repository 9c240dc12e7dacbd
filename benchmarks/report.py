"""Measure how long a report takes to write, the memory for it, its size, and how soon a browser shows it.

    python -m benchmarks.report [--stages 2000,20000] [--repeats 5]

- writing: seconds of ``winning-sign report`` in a fresh process, from the store's files to the HTML file; its processor
  time, which other processes disturb less; and its peak memory. The store is as a sweep leaves it, with the index of
  records and copies of the tables, and nothing in the user's cache. Goals for 20,000 stages: 15 s, 1 GB; for 100,000:
  60 s, 1.5 GB.
- writing without copies: the same where every stage's tables are opened, as after copying a store without its times.
- size: of the self-contained HTML file. Goals: 8 MB for 2,000 stages, 15 MB for 20,000, 20 MB for 100,000.
- the first words, the first figure: seconds after opening the file in headless Chromium. Goal for 2,000 stages: 2 s.

The stores are written without computing: finished MNIST-1D sweeps that transfer and probe every round.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.finished_store import write_finished
from benchmarks.launched import Used, launch
from benchmarks.machine import describe_machine
from benchmarks.scale import finished_plan
from benchmarks.table import print_table

BROWSER = "chromium"
ARGUMENTS = ("--no-sandbox", "--disable-background-networking", "--no-first-run", "--disable-component-update")
FIRST_FIGURE = "figure .plot .main-svg"
GOALS = {
    0: {"size": "8 MB", "the first words are seen": "2 s", "the first figure is drawn": "2 s"},
    10_000: {"writing": "15 s", "writing, peak memory": "1,000 MB", "size": "15 MB"},
    90_000: {"writing": "60 s", "writing, peak memory": "1,500 MB", "size": "20 MB"},
}
"""By the number of stages from which they hold."""


def write(store: Path) -> Used:
    """Write a store's report in a fresh process, without the user's cache.

    Raises:
        RuntimeError: the command failed.
    """
    with tempfile.TemporaryDirectory() as empty:
        return launch(["analysis.report", str(store)], {"XDG_CACHE_HOME": empty})


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
        planned, store = _write_store(stages, Path(folder)), Path(folder) / "store"
        without, *written = (write(store) for _ in range(1 + repeats))  # the first leaves the copies
        page = store / "report.html"
        words_s, figure_s = (median(each) for each in zip(*opening_s(page, repeats), strict=True))
        size_bytes = page.stat().st_size
    goals = GOALS[max(least for least in GOALS if least <= stages)]
    values = {
        "writing": f"{median(each.wall_s for each in written):.1f} s",
        "writing, processor time": f"{median(each.processor_s for each in written):.1f} s",
        "writing without copies": f"{without.wall_s:.1f} s",
        "writing, peak memory": f"{max(each.peak_bytes for each in written) / 1e6:,.0f} MB",
        "size": f"{size_bytes / 1e6:.1f} MB",
        "the first words are seen": f"{words_s:.1f} s",
        "the first figure is drawn": f"{figure_s:.1f} s",
    }
    return planned, [[what, value, goals.get(what, "")] for what, value in values.items()]


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
