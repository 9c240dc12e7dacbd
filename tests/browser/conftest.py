"""Headless Chromium, once per test file; no page may write to the console or request anything from the network."""

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
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> SyntheticStore:
    """Two data sets, two presets of one, two methods, two rounds, three seeds; one stage runs and one failed."""
    store = SyntheticStore(tmp_path_factory.mktemp("browser") / "runs")
    for setting in ({}, {"dataset": "letters"}, {"preset": "reference"}):
        write_section(store, setting)
    store.plan(("digits/late", "a" * 32), ("digits/bad", "b" * 32))
    store.failure("digits/bad", "b" * 32, "loss is not finite at epoch 3")
    return store


@pytest.fixture(scope="session")
def report(store: SyntheticStore) -> Path:
    """The store's page, with ten published series in one panel."""
    theirs = store.root.parent / "theirs.csv"
    series = [f"soft reparameterization, iterative, variant {number} (Author 2025)" for number in range(10)]
    rows = [
        f'digits,tiny,"{name}",{density},{60 - 2 * place - 3 * step},mask'
        for place, name in enumerate(series)
        for step, density in enumerate((0.8, 0.328, 0.107374))
    ]
    theirs.write_text("\n".join(["dataset,architecture,series,density,accuracy_percent,kind", *rows]) + "\n")
    return Path(write_report(store.root, published=theirs))


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Open an address or a file in a fresh context; at the end, no console message and no foreign request may exist."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def opened(place: Path | str, **looks: Any) -> Any:
        address = place.as_uri() if isinstance(place, Path) else place
        context = browser.new_context(**{"viewport": WIDE, "accept_downloads": True, **looks})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("request", lambda request: complaints.append(request.url) if _strange(request.url, address) else None)
        page.goto(address)
        page.wait_for_selector("#top .plot .main-svg, #top .verdict")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def _strange(url: str, address: str) -> bool:
    """Whether a request leaves the page, its server and its embedded data."""
    origin = "/".join(address.split("/")[:3])
    expected = url.split("#")[0] == address.split("#")[0] or (origin != "file://" and url.startswith(origin))
    return not expected and not url.startswith(("data:", "blob:"))
