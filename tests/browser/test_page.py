"""What a reader does with the page: filters, tables, details, downloads, theme, print."""

from __future__ import annotations

import csv
import re
import struct
from html import unescape
from io import StringIO
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from tests.browser.pages import METHODS, ROUNDS, Open, draw

T_PRIMARY = (
    7.810507810511715  # of three chains, at 5 % times 0.8 for planned looks, times 0.8 over 2 primary comparisons
)
T_OTHER = 31.599054576443613  # the same, times 0.2 over the 8 other comparisons
ACCURACY = "#s1-accuracy_by_density"
BARRIERS = "#s1-barrier_by_density"
PATHS = "#s1-path_to_the_solution"


def shown_traces(page: Any, figure: str) -> dict[str, int]:
    """Count the points of a figure's visible series."""
    traces: dict[str, int] = page.eval_on_selector(
        f"{figure} .plot",
        """plot => {
          const shown = plot.data.filter(trace => !(trace.meta || {}).band);
          const counts = {};
          for (const trace of shown) counts[trace.name] = (counts[trace.name] || 0) + trace.x.length;
          return counts;
        }""",
    )
    return traces


def choose(page: Any, name: str, value: str) -> None:
    page.locator(f"#filters input[name={name}][value={value}]").check(force=True)


def matches(page: Any) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", page.inner_text("#matches"))]


def test_the_verdict_at_the_top_follows_from_the_trainings(open_page: Open, report: Path) -> None:
    page = open_page(report)
    shown = 0
    for gains in METHODS.values():  # signed minus mask of the same chains, the same in each round
        for quantile in (T_PRIMARY, T_OTHER):  # at the sparsest density, and at the other
            shown += mean(gains) - quantile * stdev(gains) / sqrt(len(gains)) > 0
    unfinished, top = (
        " ".join(page.inner_text(f"#top article[data-dataset={name}][data-preset=sound]").split())
        for name in ("digits", "letters")
    )
    assert "Answer Preliminary: " in unfinished
    claim = re.search(r"[Ss]igns carry [^.]*?: shown in (\d+) of (\d+) comparisons[^.]*?(\d+\.\d)", top)
    assert claim
    assert [int(claim[1]), int(claim[2])] == [shown, len(METHODS) * len(ROUNDS)]
    dense = [71.0, 72.0, 73.0]
    assert f"{mean(dense):.1f}" in top


def test_figures_are_drawn_when_they_scroll_near(open_page: Open, report: Path) -> None:
    page = open_page(report)
    last = page.locator("figure.figure .plot").last
    assert last.evaluate("plot => plot.childElementCount") == 0
    draw(page)
    assert page.locator("figure.figure .main-svg").first.is_visible()
    assert page.eval_on_selector_all("figure.figure .plot", "plots => plots.every(plot => plot.childElementCount)")


def test_data_sets_and_presets_hide_their_sections(open_page: Open, report: Path) -> None:
    page = open_page(report)
    titles = page.locator(".part[data-part] > h2:visible")
    assert titles.count() == 3
    choose(page, "dataset", "letters")
    assert titles.all_inner_texts() == ["letters · tiny · sound"]
    assert page.locator("#top article:visible").count() == 1
    assert matches(page) == [63, 189]
    page.click("button[type=reset]")
    choose(page, "preset", "reference")
    assert titles.all_inner_texts() == ["digits · tiny · reference"]
    page.click("button[type=reset]")
    assert titles.count() == 3
    assert matches(page) == [189, 189]


def test_methods_hide_their_traces_panels_and_rows(open_page: Open, report: Path) -> None:
    page = open_page(report)
    draw(page, f"{ACCURACY}, {PATHS}")
    before = shown_traces(page, ACCURACY)
    choose(page, "method", "aws")
    after = shown_traces(page, ACCURACY)
    assert {name for name in before if "LRR" in name} == set(before) - set(after)
    assert after == {name: n for name, n in before.items() if "LRR" not in name}
    assert "dense" in after
    assert "LRR" not in page.inner_text("#s1-numbers tbody")
    curves = page.locator(f"{PATHS} .plot")
    titles = curves.evaluate("plot => plot.layout.annotations.map(note => note.text)")
    assert titles
    assert not any("LRR" in title for title in titles)
    axes = curves.evaluate("plot => Object.keys(plot.layout).filter(name => name.startsWith('xaxis')).length")
    assert axes == len(titles)
    assert curves.evaluate("plot => plot.querySelectorAll('.yaxislayer-above text').length") > 0
    assert matches(page) == [3 * (3 + 30), 189]


def test_densities_keep_the_points_between_them(open_page: Open, report: Path) -> None:
    page = open_page(report)
    draw(page, f"{ACCURACY}, {BARRIERS}")
    assert shown_traces(page, ACCURACY)["AWS signed transfer"] == 2
    page.select_option("select[name=from]", label="0.107")
    after = shown_traces(page, ACCURACY)
    assert after["AWS signed transfer"] == 1
    assert after["dense"] == 2
    x = page.eval_on_selector(
        f"{ACCURACY} .plot", "plot => plot.data.find(trace => trace.name === 'AWS signed transfer').x"
    )
    assert x == pytest.approx([0.8**10])
    rows = page.locator("#s1-numbers tbody tr:visible")
    assert {row.split("\t")[0] for row in rows.all_inner_texts()} == {"0.107"}
    page.select_option("select[name=from]", value="")
    page.select_option("select[name=to]", label="0.328")
    assert shown_traces(page, ACCURACY)["AWS signed transfer"] == 1
    assert shown_traces(page, BARRIERS)["AWS signed transfer"] == 2  # one in each panel


def test_a_link_keeps_filters_and_place(open_page: Open, report: Path) -> None:
    page = open_page(report)
    choose(page, "method", "lrr")
    page.select_option("select[name=from]", label="0.107")
    page.click("#contents a[href='#trust']")
    again = open_page(page.url)
    again.wait_for_timeout(500)
    assert 0 <= again.locator("#trust").bounding_box()["y"] < 300
    assert again.is_checked("#filters input[value=lrr]")
    assert matches(again) == matches(page)
    draw(again, ACCURACY)
    assert set(shown_traces(again, ACCURACY)) == {"dense", "LRR retrain", "LRR signed transfer", "LRR mask transfer"}
    again.click("button[type=reset]")
    assert matches(again) == [189, 189]
    assert "lrr" not in again.url


def test_a_filter_that_leaves_nothing_says_so(open_page: Open, report: Path) -> None:
    page = open_page(f"{report.as_uri()}#method=none")
    draw(page, BARRIERS)
    assert page.locator(f"{BARRIERS} .nothing").is_visible()
    page.click("button[type=reset]")
    assert not page.locator(f"{BARRIERS} .nothing").is_visible()


def saved(page: Any, button: str) -> Path:
    with page.expect_download() as download:
        page.click(button)
    return Path(download.value.path())


def test_csv_holds_the_numbers_drawn(open_page: Open, report: Path) -> None:
    page = open_page(report)
    rows = list(csv.DictReader(StringIO(saved(page, f"{ACCURACY} [data-save=csv]").read_text())))
    aws = [row for row in rows if row["series"] == "AWS signed transfer"]
    assert [float(row["test accuracy (%)"]) for row in aws] == pytest.approx([62.0, 62.0])  # 60, 62, 64
    assert [float(row["± test accuracy (%)"]) for row in aws] == pytest.approx([2.0, 2.0])
    assert sorted(float(row["density"]) for row in aws) == pytest.approx([0.8**10, 0.8**5])
    assert {row["n"] for row in aws} == {"3 trainings in 3 chains"}
    assert all(len(row["stages"].split()) == 3 for row in aws)
    [dense] = [row for row in rows if row["series"] == "dense"]
    assert (dense["test accuracy (%)"], dense["density"]) == ("72", "")
    choose(page, "method", "lrr")
    filtered = saved(page, f"{ACCURACY} [data-save=csv]").read_text()
    assert "AWS" not in filtered
    assert "LRR signed transfer" in filtered


def test_all_stages_as_csv(open_page: Open, report: Path) -> None:
    page = open_page(report)
    choose(page, "dataset", "digits")
    rows = list(csv.DictReader(StringIO(saved(page, "#stages-csv").read_text())))
    assert len(rows) == 126
    chosen = [
        row
        for row in rows
        if (row["transfer"], row["method"], row["kind"], row["preset"]) == ("signed", "aws", "train", "sound")
    ]
    assert sorted(float(row["test_accuracy_percent"]) for row in chosen) == [60.0, 60.0, 62.0, 62.0, 64.0, 64.0]
    assert {row["git_commit"] for row in rows} == {"abc123"}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pictures_have_dark_ink_on_white(open_page: Open, report: Path, theme: str) -> None:
    page = open_page(report, color_scheme=theme)
    svg = saved(page, f"{ACCURACY} [data-save=svg]").read_text()
    assert "AWS signed transfer" in unescape(svg)
    assert "Accuracy against density" in svg
    assert re.search(r'<rect[^>]*style="fill: (rgb\(255, 255, 255\)|#ffffff|white)', svg)
    inks = {tuple(map(int, ink)) for ink in re.findall(r"<text[^>]*fill: rgb\((\d+), (\d+), (\d+)\)", svg)}
    assert inks
    assert all(max(ink) < 100 for ink in inks)
    png = saved(page, f"{ACCURACY} [data-save=png]").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert struct.unpack(">I", png[16:20])[0] == 1800


def test_the_theme_is_remembered(open_page: Open, report: Path) -> None:
    page = open_page(report, color_scheme="light")
    background = "() => getComputedStyle(document.body).backgroundColor"
    ink = f"() => getComputedStyle(document.querySelector('{ACCURACY} .xtick text')).fill"
    light = page.evaluate(background), page.evaluate(ink)
    page.click("#theme")
    dark = page.evaluate(background), page.evaluate(ink)
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    assert page.inner_text("#theme") == "Light"
    page.reload()
    page.wait_for_selector(f"{ACCURACY} .xtick text")
    assert (page.evaluate(background), page.evaluate(ink)) == dark


def test_the_keyboard_leads_to_a_points_stages(open_page: Open, report: Path) -> None:
    page = open_page(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('[data-table]')"):
            break
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('tr')"):
            break
    page.keyboard.press("ArrowDown")
    row = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    dialog = page.locator("#point")
    assert dialog.is_visible()
    assert page.inner_text("#point-title") in row
    text = dialog.inner_text()
    for fact in ("seed", "preset", "sound", "abc123", "cpu", "2.5", "record.json", "metrics.parquet"):
        assert fact in text
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.textContent") == row


def test_a_click_on_a_point_lists_its_stages_and_their_files(open_page: Open, report: Path) -> None:
    page = open_page(report)
    place = page.eval_on_selector(
        f"{ACCURACY} .plot",
        """plot => {
          plot.scrollIntoView({ block: "center" });
          const at = plot.data.findIndex(trace => trace.name === "LRR signed transfer");
          const trace = plot.querySelectorAll(".scatterlayer .trace")[at];
          const box = trace.querySelector(".points path").getBoundingClientRect();
          return [box.x + box.width / 2, box.y + box.height / 2];
        }""",
    )
    page.mouse.move(*place)
    page.mouse.click(*place)
    page.wait_for_selector("#point[open]")
    assert page.locator("#point .stage").count() == 3
    links = page.eval_on_selector_all("#point a", "links => links.map(link => link.href)")
    assert len([link for link in links if link.endswith("record.json")]) == 3
    assert all(Path(link.removeprefix("file://")).is_file() for link in links)
    page.click("[data-close]")
    assert not page.locator("#point").is_visible()


def test_tables_are_sorted_by_their_heads(open_page: Open, report: Path) -> None:
    page = open_page(report)
    page.click("#stages-fold summary")
    page.wait_for_selector("#stages-table tbody tr")
    assert page.locator("#stages-table tbody tr").count() == 189
    head = page.locator("#stages-table th", has_text="test_accuracy_percent")
    column = page.locator("#stages-table th").all_inner_texts().index("test_accuracy_percent")
    for order in (sorted, lambda cells: sorted(cells, reverse=True)):
        head.locator("button").click()
        cells = page.locator(f"#stages-table tbody tr td:nth-child({column + 1})").all_inner_texts()
        numbers = [float(cell) for cell in cells if cell]
        assert numbers == order(numbers)
        assert not any(cells[len(numbers) :])


def test_every_figure_is_described_and_has_its_table(open_page: Open, report: Path) -> None:
    page = open_page(report)
    draw(page)  # a figure that is drawn under the pointer moves the button away
    for figure in page.locator("figure.figure").all():
        described = figure.locator(".plot").get_attribute("aria-describedby")
        assert re.search(r"\d", page.locator(f"#{described}").text_content())
        figure.locator("[data-table]").click()
        assert figure.locator("tbody tr").count() > 1
        assert figure.locator("th[scope=col]").count() > 2


def test_print_opens_everything_in_light_and_uses_the_width_of_a4(open_page: Open, report: Path) -> None:
    a4 = 680  # pixels between margins of 15 mm
    page = open_page(report, color_scheme="dark", viewport={"width": a4, "height": 1000})
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    widths = page.eval_on_selector_all(
        "figure .plot .main-svg:first-child", "plots => plots.map(plot => plot.getBoundingClientRect().width)"
    )
    assert min(widths) >= 0.9 * a4
    too_wide = f"all => all.filter(one => one.getBoundingClientRect().right > {a4 + 1}).map(one => one.outerHTML)"
    assert page.eval_on_selector_all("table, figure, p, li, dl, code, .main-svg", too_wide) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= a4
    assert page.locator("details:not([open])").count() == 0
    assert page.locator(".control:visible, select:visible").count() == 0
    assert page.eval_on_selector_all("figure.figure .plot", "plots => plots.every(plot => plot.childElementCount)")
    ink = page.evaluate(f"getComputedStyle(document.querySelector('{ACCURACY} .xtick text')).fill")
    assert max(map(int, re.findall(r"\d+", ink)[:3])) < 100
    assert page.eval_on_selector("figure", "figure => getComputedStyle(figure).breakInside") == "avoid"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 0


def test_missing_and_failed_are_shown_at_the_top(open_page: Open, report: Path) -> None:
    page = open_page(report)
    states = " ".join(page.inner_text(".states").split())
    assert "189 of 191 planned stages done" in states
    assert "1 failed" in states
    assert "1 waiting" in states
    page.click(".states .failed a")
    assert "loss is not finite" in page.inner_text("#trust")
