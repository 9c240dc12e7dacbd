"""README's pictures of a report: ``python -m tests.browser.pictures sweeps/report.html docs``; needs Chromium."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

LOOKS = {
    "report": {"viewport": {"width": 1280, "height": 1500}, "color_scheme": "light"},
    "report-dark": {"viewport": {"width": 1280, "height": 1500}, "color_scheme": "dark"},
    "report-phone": {"viewport": {"width": 360, "height": 1500}, "color_scheme": "light", "device_scale_factor": 2},
}


@contextmanager
def _chromium() -> Iterator[Any]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


def take(report: Path, folder: Path) -> None:
    """Write a picture of the top of the page for each of ``LOOKS``."""
    with _chromium() as browser:
        for name, looks in LOOKS.items():
            page = browser.new_page(**looks)
            page.goto(report.absolute().as_uri())
            page.wait_for_selector("figure .plot .main-svg")
            page.screenshot(path=folder / f"{name}.png")
            page.close()


def take_figure(report: Path, figure: str, file: Path, scheme: str) -> None:
    """Write a picture of the page's first figure of a name, such as "accuracy_by_density"; scheme: light or dark."""
    with _chromium() as browser:
        page = browser.new_page(viewport={"width": 1000, "height": 1000}, color_scheme=scheme)
        page.goto(report.absolute().as_uri())
        plot = page.locator(f"[id$='-{figure}'] .plot").first
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()
        plot.screenshot(path=file)


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
