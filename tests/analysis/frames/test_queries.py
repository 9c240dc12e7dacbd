"""The queries of docs/queries.md run on a store, and agree with the frames."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from analysis import load
from analysis.comparisons.measures import numbers
from analysis.frames.sections import sections

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

duckdb = pytest.importorskip("duckdb")
DOCUMENT = Path(__file__).parents[3] / "docs" / "queries.md"


@pytest.fixture
def answers(sweep: SyntheticStore, monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    """The answers of the five queries that follow the view."""
    ticket = {"ticket.parquet": sweep.ticket({"conv": [1, 0, -1, 0]}, {"conv": [3]})}
    sweep.stage("round", {"method": "aws", "chain": 1, "round": 1}, {"density": 0.75}, files=ticket)
    monkeypatch.chdir(sweep.root.parent)
    view, *queries = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(), re.S)
    connection = duckdb.connect()
    connection.execute(view.replace("'sweeps/", f"'{sweep.root.name}/"))
    return [connection.sql(query.replace("'sweeps/", f"'{sweep.root.name}/")).df() for query in queries]


def test_means_are_those_of_the_report(answers: list[pd.DataFrame], sweep: SyntheticStore) -> None:
    [section] = sections(load(sweep.root))
    reported = numbers(section).dropna(subset="accuracy_mean").set_index(["transfer", "method", "round"])
    queried = answers[0].set_index(["transfer", "method", "round"])
    assert len(queried) == len(reported)
    row = ("signed", "aws", 10)
    assert queried.loc[row, "accuracy_percent"] == pytest.approx(reported.loc[row, "accuracy_mean"])
    assert queried.loc[row, "chains"] == reported.loc[row, "accuracy_chains"]


def test_signs_are_paired_with_masks(answers: list[pd.DataFrame]) -> None:
    assert answers[1].loc[answers[1]["method"] == "aws", "points"].tolist() == pytest.approx([9.0, 10.0, 11.0] * 2)


def test_paths_are_those_of_the_probes(answers: list[pd.DataFrame], sweep: SyntheticStore) -> None:
    probes = load(sweep.root).probes
    assert sorted(answers[2]["error_percent"]) == sorted(probes["error_percent"])


def test_survivors_of_a_layer_count_zeros_that_survive(answers: list[pd.DataFrame]) -> None:
    [row] = answers[3].to_dict("records")
    assert (row["layer"], row["surviving"], row["weights"], row["positive"]) == ("conv", 3, 4, 0.5)


def test_every_stage_is_counted(answers: list[pd.DataFrame], sweep: SyntheticStore) -> None:
    assert answers[4]["stages"].sum() == len(load(sweep.root).stages)
