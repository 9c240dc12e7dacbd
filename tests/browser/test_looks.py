"""Nothing is clipped, nothing overlaps, and nobody scrolls sideways: light, dark, on a phone and in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.report import write_compared
from tests.analysis.conftest import SyntheticStore
from tests.browser.pages import WIDE, Open, draw

ONE_PART = "figure[id^=s1-]"  # the other parts have the same figures
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": WIDE, "color_scheme": "light"},
    "dark": {"viewport": WIDE, "color_scheme": "dark"},
    "tablet": {"viewport": {"width": 800, "height": 1000}},
    "phone": PHONE,
}

OVERLAPS = """() => {
  const faults = [];
  for (const plot of document.querySelectorAll("figure.figure .plot")) {
    const boxes = [...plot.querySelectorAll("svg text")].filter(text => text.textContent.trim())
      .map(text => [text.textContent, text.getBoundingClientRect()]).filter(([, box]) => box.width);
    boxes.forEach(([one, a], i) => boxes.slice(i + 1).forEach(([other, b]) => {
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const tall = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 1 && tall > 2) faults.push(`${plot.closest("figure").id}: "${one}" and "${other}"`);
    }));
  }
  return faults;
}"""

CLIPPED = """() => {
  const faults = [];
  const outside = (box, frame) => box.width &&
    (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1);
  for (const plot of document.querySelectorAll("figure.figure .plot")) {
    const frame = plot.getBoundingClientRect();
    const cut = [...plot.querySelectorAll("svg text")].filter(text => outside(text.getBoundingClientRect(), frame));
    faults.push(...cut.map(text => `${plot.closest("figure").id}: "${text.textContent}"`));
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.textContent.trim() || node.parentElement.closest(".scroll, .unseen, .skip, script, style, svg")) continue;
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (box.width && (box.left < 0 || box.right > innerWidth + 0.5)) faults.push(node.textContent.trim());
    }
  }
  return faults;
}"""


SCROLLING = """() => [...document.querySelectorAll(".legend .scrollbar")]
  .filter(bar => bar.getBoundingClientRect().height > 0).map(bar => bar.closest("figure").id)"""


@pytest.mark.parametrize(
    "look", ["light", "phone", *(pytest.param(look, marks=pytest.mark.long) for look in ("dark", "tablet"))]
)
def test_no_text_is_clipped_or_overlaps(open_page: Open, report: Path, look: str, tmp_path: Path) -> None:
    page = open_page(report, **LOOKS[look])
    draw(page, ONE_PART)
    page.screenshot(path=tmp_path / f"{look}.png", full_page=True)
    assert page.locator("#s1-against_published .legend .traces").count() >= 10
    assert page.evaluate(SCROLLING) == []
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(CLIPPED) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= LOOKS[look]["viewport"]["width"]


def test_a_narrower_window_draws_anew(open_page: Open, report: Path) -> None:
    page = open_page(report)
    draw(page, ONE_PART)
    page.set_viewport_size({"width": 420, "height": 800})
    page.wait_for_function("() => document.querySelector('.plot .main-svg').getBoundingClientRect().width < 420")
    page.wait_for_timeout(300)
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(CLIPPED) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 420


def test_the_contents_stay_in_sight_on_a_wide_screen(open_page: Open, report: Path) -> None:
    page = open_page(report)
    draw(page, ONE_PART)
    page.locator("#trust").evaluate("trust => trust.scrollIntoView()")
    page.wait_for_selector("#contents a[href='#trust'][aria-current]")
    assert page.locator("#contents a[href='#trust']").bounding_box()["y"] > 0


def test_a_phone_begins_with_the_verdict(open_page: Open, report: Path) -> None:
    page = open_page(report, **PHONE)
    verdict = page.locator(".verdict").first.bounding_box()
    assert verdict["y"] + verdict["height"] < PHONE["viewport"]["height"]
    page.locator("#contents-list summary").click()
    page.locator("#contents a", has_text="Trust").click()
    assert page.locator("#trust").bounding_box()["y"] < 300


@pytest.mark.parametrize("look", ["dark", "phone"])
def test_two_stores_compared_read_well(open_page: Open, store: SyntheticStore, tmp_path: Path, look: str) -> None:
    theirs = SyntheticStore(tmp_path / "theirs")
    for chain, accuracy in enumerate((71.0, 72.0, 74.0), start=1):
        for transfer, gain in (("signed", 5.0), ("mask", 0.0)):
            labels = {"method": "aws", "chain": chain, "round": 10, "seed": 1}
            theirs.train(transfer, accuracy + gain, science={"epochs": 9}, **labels)
    [page_file] = write_compared([store.root, theirs.root], tmp_path / "page.html", None)
    page = open_page(Path(page_file), **LOOKS[look])
    draw(page)
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(CLIPPED) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= LOOKS[look]["viewport"]["width"]
    page.locator("#s1-stores_compared [data-table]").click()
    page.locator("#s1-stores_compared-table tbody tr").first.click()  # the stages of both stores
    assert page.locator("#point article.stage").count() == 6
