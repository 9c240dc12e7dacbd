"""README's pictures of a report: ``python -m tests.browser.pictures sweeps/report.html docs``; needs Chromium."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

LOOKS = {
    "report": {"viewport": {"width": 1280, "height": 1500}, "color_scheme": "light"},
    "report-dark": {"viewport": {"width": 1280, "height": 1500}, "color_scheme": "dark"},
    "report-phone": {"viewport": {"width": 360, "height": 1500}, "color_scheme": "light", "device_scale_factor": 2},
}


def take(report: Path, folder: Path) -> None:
    """Write a picture of the top of the page for each of ``LOOKS``."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        for name, looks in LOOKS.items():
            page = browser.new_page(**looks)
            page.goto(report.absolute().as_uri())
            page.wait_for_selector("figure .plot .main-svg")
            page.screenshot(path=folder / f"{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
