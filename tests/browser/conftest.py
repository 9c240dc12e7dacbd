"""Debian's Chromium, headless, once for a file of tests; every page must stay quiet and ask no network for anything."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.report import write_report
from tests.analysis.conftest import SyntheticStore
from tests.browser.pages import WIDE, Open, write_section

ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--no-first-run", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for a file of tests: while it is open, an event loop runs in which no other test can run its own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="there is no playwright: pip install '.[test]'")
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("there is no chromium here: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> SyntheticStore:
    """Two data sets, two presets of one, two methods, two rounds, three seeds; one stage runs and one failed."""
    made = SyntheticStore(tmp_path_factory.mktemp("browser") / "runs")
    for setting in ({}, {"dataset": "letters"}, {"preset": "reference"}):
        write_section(made, setting)
    made.plan(("digits/late", "a" * 32), ("digits/bad", "b" * 32))
    made.failure("digits/bad", "b" * 32, "loss is not finite at epoch 3")
    return made


@pytest.fixture(scope="session")
def report(store: SyntheticStore) -> Path:
    """The store's page."""
    return Path(write_report(store.root))


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens an address, or a file, in a context of its own; at the end nothing may have been said or asked for."""
    contexts: list[Any] = []
    said: list[str] = []

    def opened(place: Path | str, **looks: Any) -> Any:
        address = place.as_uri() if isinstance(place, Path) else place
        context = browser.new_context(**{"viewport": WIDE, "accept_downloads": True, **looks})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.on("request", lambda request: said.append(request.url) if _strange(request.url, address) else None)
        page.goto(address)
        page.wait_for_selector("#top .plot .main-svg, #top .verdict")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


def _strange(url: str, address: str) -> bool:
    """Whether a request goes elsewhere than to the page, to its server, or to what the page holds itself."""
    origin = "/".join(address.split("/")[:3])
    own = url.split("#")[0] == address.split("#")[0] or (origin != "file://" and url.startswith(origin))
    return not own and not url.startswith(("data:", "blob:"))
