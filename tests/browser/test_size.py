"""A store of two thousand stages: its page stays small, and everything on it works."""

from __future__ import annotations

import csv
import re
from io import StringIO
from pathlib import Path

from analysis.report import write_report
from benchmarks.finished_store import write_finished
from benchmarks.scale import finished_plan
from tests.browser.pages import Open, draw


def test_two_thousand_stages_are_a_small_page_that_works(open_page: Open, tmp_path: Path) -> None:
    plan = finished_plan(2000, tmp_path / "cache")
    assert len(plan) >= 2000
    write_finished(tmp_path / "store", plan)
    report = Path(write_report(tmp_path / "store"))
    assert report.stat().st_size < 8_000_000
    page = open_page(report)
    draw(page)
    page.click("#stages-fold summary")
    page.wait_for_selector("#stages-table tbody tr")
    assert page.locator("#stages-table tbody tr").count() == len(plan)
    with page.expect_download() as download:
        page.click("#stages-csv")
    rows = list(csv.DictReader(StringIO(Path(download.value.path()).read_text())))
    assert {row["key"]: (row["name"], row["inputs"]) for row in rows} == {
        node.key[:16]: (node.name, ",".join(key[:16] for key in node.inputs.values())) for node in plan
    }
    page.locator("#filters input[value=aws]").check(force=True)
    of_aws = sum(node.labels.method in ("aws", None) for node in plan)
    assert [int(n.replace(",", "")) for n in re.findall(r"[\d,]+", page.inner_text("#matches"))] == [of_aws, len(plan)]
    assert page.locator("#stages-table tbody tr").count() == of_aws
