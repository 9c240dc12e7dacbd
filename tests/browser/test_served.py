"""The live page as `analysis.serve` gives it: updates appear without a reload, and the reader's choices stay."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.store import Store
from orchestrator.store.leases import HeldLease
from tests.analysis.conftest import SyntheticStore
from tests.browser.pages import Open, write_section
from tests.support.serving import PATIENCE_S, Served, serving


@pytest.fixture
def swept(tmp_path: Path) -> SyntheticStore:
    """A sweep with one data set done, and a training of it to come."""
    store = SyntheticStore(tmp_path / "runs")
    write_section(store, {})
    late = SyntheticStore(tmp_path / "elsewhere").train("dense", 78.0, seed=9)
    store.plan(("late", late))
    event = {"time_unix_s": 1_700_000_100.0, "event": "started", "key": late, "name": "digits/<b>late</b>"}
    (store.root / "events").mkdir()
    (store.root / "events" / "driver.jsonl").write_text(json.dumps(event) + "\n")
    return store


@pytest.fixture
def lease(swept: SyntheticStore) -> Iterator[HeldLease]:
    """A driver at work in the sweep's store."""
    held = HeldLease(Store(swept.root).storage, ["sweep"])
    yield held
    held.release()


@pytest.fixture
def server(swept: SyntheticStore, lease: HeldLease, tmp_path: Path) -> Iterator[Served]:
    """The sweep's server. A test asks for it before ``open_page``, so that it outlives the pages, which ask it on."""
    with serving(swept.root, tmp_path / "cache") as running:
        running.settled()
        yield running


def test_a_stages_files_open_and_a_new_stage_appears_without_a_reload(
    server: Served, swept: SyntheticStore, lease: HeldLease, open_page: Open
) -> None:
    page = open_page(server.url)
    page.evaluate("document.getElementById('stages-fold').open = true")
    link = page.wait_for_selector("#stages-table a").get_attribute("href")
    assert link.startswith("store/stages/")
    record = page.evaluate("async (address) => (await fetch(address)).json()", link)
    assert record["labels"]["dataset"] == "digits"
    page.evaluate("document.getElementById('stages-fold').open = false")
    page.wait_for_selector("#live:not([hidden])")
    states = "() => document.querySelector('#top .states').innerText.replace(/\\s+/g, ' ')"
    assert "63 of 64 planned stages done" in page.evaluate(states)
    assert "63" not in page.inner_text("#live b")  # one count of stages
    assert re.fullmatch(
        "About .+ left, if the other stages end at the pace of the last 20.", page.inner_text("#live b")
    )
    assert page.evaluate("document.getElementById('done').value") == 63
    assert "2023-11-14 22:15:00 UTC started digits/<b>late</b>" in " ".join(page.inner_text("#live").split())
    page.evaluate("window.unloaded = false")  # lost by a reload
    page.locator("#filters input[value=lrr]").check(force=True)
    page.click("#theme")
    theme, address = page.get_attribute("html", "data-theme"), page.url
    page.focus("#filters input[value=lrr]")
    said = "words => document.querySelector('#live b')?.textContent.includes(words)"
    assert page.is_visible("#top .states .running")
    lease.release()
    page.wait_for_function(said, arg="Nothing runs, and 1 stage is left. Repeat the sweep's command to go on.")
    assert page.is_hidden("#top .states .running")
    swept.train("dense", 78.0, seed=9)
    page.wait_for_function(said, arg="All done: 0 stages are left.")
    assert page.evaluate("document.getElementById('done').value") == 64
    assert "64 of 64 planned stages done" in page.evaluate(states)
    new_mean = "() => document.getElementById('top').textContent.includes('73.5')"  # of 71, 72, 73, 78
    page.wait_for_function(new_mean, timeout=3000 * PATIENCE_S)  # it rests for three renderings
    assert page.evaluate("window.unloaded") is False
    assert page.is_checked("#filters input[value=lrr]")
    assert page.evaluate("document.activeElement.value") == "lrr"
    assert page.url == address
    assert page.get_attribute("html", "data-theme") == theme
    assert "AWS" not in page.inner_text("#s1-numbers tbody")


@pytest.mark.long
def test_the_scroll_position_stays_when_findings_appear_above(
    server: Served, swept: SyntheticStore, open_page: Open
) -> None:
    page = open_page(server.url)
    page.wait_for_selector("#live:not([hidden])")
    page.locator("#s1-numbers").evaluate("numbers => numbers.scrollIntoView()")
    place = "document.getElementById('s1-numbers').getBoundingClientRect().top"
    before = page.evaluate(place)
    write_section(swept, {"dataset": "letters"})
    page.wait_for_selector("#s2")
    assert page.evaluate(place) == pytest.approx(before, abs=40)


@pytest.mark.long
def test_a_damaged_store_shows_a_notice_above_the_last_results(
    server: Served, swept: SyntheticStore, open_page: Open
) -> None:
    page = open_page(server.url)
    record = next(swept.root.glob("stages/train/*/record.json"))
    whole = record.read_text()
    record.write_text(whole[:100])
    page.wait_for_function("() => document.getElementById('live').textContent.includes('no valid record')")
    assert page.is_visible("#s1-numbers")
    record.write_text(whole)
    page.wait_for_function("() => !document.getElementById('live').textContent.includes('no valid record')")


@pytest.mark.long
def test_the_page_says_that_its_server_ended(browser: Any, swept: SyntheticStore, tmp_path: Path) -> None:
    with serving(swept.root, tmp_path / "cache") as server:
        server.settled()
        page = browser.new_page()
        page.goto(server.url)
        page.wait_for_selector("#live:not([hidden])")
        assert server.interrupt() == (0, "")
        page.wait_for_function("() => document.getElementById('live').textContent.includes('does not answer')")
        assert page.is_visible("#s1-numbers")
        page.close()


@pytest.mark.long
def test_a_page_that_waits_for_its_store_becomes_the_report(
    browser: Any, swept: SyntheticStore, tmp_path: Path
) -> None:
    elsewhere = swept.root.rename(tmp_path / "not yet")
    with serving(swept.root, tmp_path / "cache") as server:
        server.until(lambda state: "does not exist" in state["problem"])
        page = browser.new_page()
        page.goto(server.url)
        assert "does not exist" in page.inner_text("main")
        elsewhere.rename(swept.root)
        page.wait_for_selector("#s1-numbers")
        page.close()
