"""Measure the size of a report and how soon a browser shows it.

    python -m benchmarks.report [--stages 2000] [--repeats 5]

- size: of the self-contained HTML file. Goal: 8 MB.
- writing: seconds from the store's files to the HTML file.
- the first words, the first figure: seconds after opening the file in headless Chromium. Goal for both: 2 s.

The store is written without computing: a finished MNIST-1D sweep that transfers and probes every round.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from analysis.report import write_report
from benchmarks.finished_store import write_finished
from benchmarks.machine import describe_machine
from benchmarks.scale import finished_plan
from benchmarks.table import print_table

BROWSER = "chromium"
ARGUMENTS = ("--no-sandbox", "--disable-background-networking", "--no-first-run", "--disable-component-update")
FIRST_FIGURE = "figure .plot .main-svg"


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


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line's entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, default=2000, help="least number of stages in the store")
    parser.add_argument("--repeats", type=int, default=5, help="number of page loads")
    given = parser.parse_args(arguments)
    print(describe_machine(), end="\n\n")
    with tempfile.TemporaryDirectory() as folder:
        plan = finished_plan(given.stages, Path(folder) / "cache")
        write_finished(Path(folder) / "store", plan)
        began = time.perf_counter()
        page = Path(write_report(Path(folder) / "store"))
        wrote_s = time.perf_counter() - began
        times = opening_s(page, given.repeats)
        size_mb = page.stat().st_size / 1e6
    words_s, figure_s = (median(each) for each in zip(*times, strict=True))
    rows = [
        ["size", f"{size_mb:.1f} MB", "8 MB"],
        ["writing", f"{wrote_s:.1f} s", ""],
        ["the first words are seen", f"{words_s:.1f} s", "2 s"],
        ["the first figure is drawn", f"{figure_s:.1f} s", "2 s"],
    ]
    print_table([f"the report of {len(plan):,} stages", "", "goal"], rows)


if __name__ == "__main__":
    main()
