"""The page's list of stages shortens fractions, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis import load
from analysis.page.stages import stage_data

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore


def test_fractions_have_eight_digits_and_whole_numbers_all(store: SyntheticStore) -> None:
    labels = {"method": "aws", "chain": 1, "round": 10}
    store.train("signed", 61.23456789123, seed=987_654_321, **labels)
    store.train("mask", 100 / 3, seed=2, **labels)
    store.probe("lmc", "signed", (30.0, 36.0, 30.0), seed=2, **labels)  # no accuracy
    frames = load(store.root)
    assert frames.stages["test_accuracy_percent"].max() == 61.23456789123
    columns = stage_data(frames, str)["columns"]
    assert {*columns["test_accuracy_percent"]} == {61.234568, 33.333333, None}
    seeds = columns["seed"]
    assert 987_654_321 in (seeds["values"] if isinstance(seeds, dict) else seeds)
