"""The live page on loopback: it shows news, and a new version of it keeps the reader's place."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from analysis import load
from analysis.figures import CATALOGUE
from analysis.page.rendering import render
from tests.analysis.conftest import SyntheticStore
from tests.browser.pages import Open, write_section

FIGURES = [entry for entry in CATALOGUE if entry.name in ("accuracy_by_density", "barrier_by_density")]


class LiveStore:
    """A store's live page and its state, as a server would give them."""

    def __init__(self, store: SyntheticStore) -> None:
        self.store = store
        self.version = 1
        self.address = ""

    def page(self) -> str:
        return render(load(self.store.root), "runs", str, live=True, catalogue=FIGURES)

    def answer(self, path: str) -> tuple[str, bytes]:
        """Content type and content."""
        if path == "/state.json":
            event = {"time": "12:00", "event": "done", "name": f"digits/news{self.version}"}
            state = {"version": self.version, "progress": {"done": self.version}, "events": [event]}
            return "application/json", json.dumps(state).encode()
        return "text/html; charset=utf-8", self.page().encode()


@pytest.fixture
def live(store_of_one: SyntheticStore) -> Iterator[LiveStore]:
    served = LiveStore(store_of_one)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, content = served.answer(self.path)
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    served.address = f"http://127.0.0.1:{server.server_address[1]}/report.html"
    yield served
    server.shutdown()


@pytest.fixture
def store_of_one(tmp_path: Any) -> SyntheticStore:
    store = SyntheticStore(tmp_path / "runs")
    write_section(store, {})
    return store


def test_updates_appear_and_keep_the_scroll_position(open_page: Open, live: LiveStore) -> None:
    page = open_page(live.address)
    page.wait_for_selector("#live:not([hidden])")
    assert "digits/news1" in page.inner_text("#live")
    assert page.locator(".part[data-part]").count() == 1
    page.locator("#filters input[value=lrr]").check(force=True)
    page.click("#theme")
    page.click("#s1-comparisons summary")
    page.click("#s1-barrier_by_density [data-table]")
    page.locator("#s1-numbers").evaluate("numbers => numbers.scrollIntoView()")
    place = "document.getElementById('s1-numbers').getBoundingClientRect().top"
    theme, before = page.get_attribute("html", "data-theme"), page.evaluate(place)
    write_section(live.store, {"dataset": "letters"})
    live.version = 2
    page.wait_for_selector("#s2")
    assert page.is_checked("#filters input[value=lrr]")
    assert "AWS" not in page.inner_text("#s1-barrier_by_density tbody")
    assert page.get_attribute("#s1-comparisons", "open") is not None
    assert page.get_attribute("html", "data-theme") == theme
    assert page.evaluate(place) == pytest.approx(before, abs=40)  # the second section's findings are above
    page.wait_for_function("() => document.getElementById('live').textContent.includes('digits/news2')")
