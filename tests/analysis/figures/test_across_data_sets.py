"""The matrix of tickets across data sets draws the numbers of the frames, names what is missing, and pairs rightly."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import load
from analysis.comparisons.labels import method_name, rank
from analysis.figures import across_data_sets
from tests.analysis.conftest import SyntheticStore

FINAL = {"transfer": {"mask": "ticket"}, "training": {"epochs": 3}}


@pytest.fixture
def matrix(tmp_path: Path) -> SyntheticStore:
    """Two data sets with two chains each; the tickets of letters were trained on digits, but not the other way."""
    store = SyntheticStore(tmp_path / "store")
    rounds = {
        (name, chain): store.stage(
            "round", {"dataset": name, "method": "aws", "chain": chain, "round": 5}, {"density": 0.33}
        )
        for name in ("digits", "letters")
        for chain in (1, 2)
    }

    def train(dataset: str, source: str, chain: int, accuracy: float, round_: int = 5) -> None:
        method = "aws" if source == dataset else f"aws@{source}"
        labels = {
            "dataset": dataset,
            "method": method,
            "chain": chain,
            "round": round_,
            "transfer": "signed",
            "seed": 1,
        }
        results = {"density": 0.33, "test_accuracy_percent": accuracy}
        store.stage("train", labels, results, inputs={"ticket": rounds[source, chain]}, science=FINAL)

    for chain, accuracy in ((1, 80.0), (2, 84.0)):
        train("digits", "digits", chain, accuracy)
        train("digits", "letters", chain, accuracy - chain)
        train("letters", "letters", chain, 50.0)
    for name, accuracy in (("digits", 90.0), ("letters", 60.0)):
        dense = {"dataset": name, "transfer": "dense", "seed": 1}
        store.stage("train", dense, {"density": 1.0, "test_accuracy_percent": accuracy}, science=FINAL)
    return store


def test_the_frames_know_the_data_set_of_every_ticket(matrix: SyntheticStore) -> None:
    stages = load(matrix.root, tickets=False).stages
    of_start = stages[stages["kind"] == "train"].set_index(["dataset", "method"])["ticket_dataset"].to_dict()
    assert of_start["digits", "aws@letters"] == "letters"
    assert of_start["digits", "aws"] == "digits"
    assert stages.loc[stages["kind"] == "round", "ticket_dataset"].isna().all()
    assert stages.loc[stages["transfer"] == "dense", "ticket_dataset"].isna().all()


def test_a_cell_is_the_mean_over_chains_against_the_dense_networks_of_its_column(matrix: SyntheticStore) -> None:
    figure = across_data_sets(load(matrix.root, tickets=False))
    colours, coloured, uncoloured = figure.data
    assert (list(colours.x), list(colours.y)) == (["digits", "letters"], ["digits", "letters"])
    # rows are sources, columns targets: digits 82 - 90; letters on digits 80.5 - 90, on themselves 50 - 60
    assert [list(row) for row in colours.z] == [[-8.0, None], [-9.5, -10.0]]
    assert "80.5 ± 19.1<br>2 chains" in coloured.text  # chains 79 and 82: 12.706 · 2.1213 / √2
    assert list(uncoloured.text) == ["not computed"]
    assert [list(uncoloured.x), list(uncoloured.y)] == [["letters"], ["digits"]]


def test_differences_to_the_own_tickets_are_paired_by_chain(matrix: SyntheticStore) -> None:
    figure = across_data_sets(load(matrix.root, tickets=False))
    hover = figure.data[0].customdata[1][0][0]
    assert "− own tickets: −1.50 points, 95 % interval −7.85 to +4.85" in hover
    assert "− own tickets" not in figure.data[0].customdata[1][1][0]
    summary = figure.layout.meta["summary"]
    assert "tickets of digits on letters not computed" in summary
    assert "tickets of letters on digits 80.50 % (n = 2 trainings in 2 chains)" in summary


def test_tickets_of_another_density_are_no_difference_to_the_own_ones(matrix: SyntheticStore) -> None:
    for name, round_density in (("theirs", 0.34), ("others", 0.33)):
        labels = {"method": f"aws@{name}", "chain": 1, "round": 5, "transfer": "signed", "seed": 1}
        results = {"density": round_density, "test_accuracy_percent": 70.0}
        ticket = matrix.stage("imported", {**labels, "transfer": None, "seed": None}, {"density": round_density})
        matrix.stage("train", labels, results, inputs={"ticket": ticket}, science=FINAL)
    figure = across_data_sets(load(matrix.root, tickets=False))
    hovers = {source: row[0][0] for source, row in zip(figure.data[0].y, figure.data[0].customdata, strict=True)}
    assert "− own tickets: −10.00 points" in hovers["others"]
    assert "− dense" in hovers["theirs"]
    assert "− own tickets" not in hovers["theirs"]


def test_a_single_chain_has_no_interval(tmp_path: Path) -> None:
    store = SyntheticStore(tmp_path / "store")
    ticket = store.stage("round", {"dataset": "letters", "method": "lrr", "chain": 1, "round": 5}, {"density": 0.33})
    for seed, accuracy in ((1, 70.0), (2, 74.0)):
        labels = {"method": "lrr@letters", "chain": 1, "round": 5, "transfer": "mask", "seed": seed}
        results = {"density": 0.33, "test_accuracy_percent": accuracy}
        store.stage("train", labels, results, inputs={"ticket": ticket}, science=FINAL)
    figure = across_data_sets(load(store.root, tickets=False))
    texts = [text for trace in figure.data for text in (trace.text if trace.type == "scatter" else ())]
    assert texts == ["72.0<br>1 chain"]  # no dense network either, so no colour
    assert "interval" not in figure.layout.meta["summary"]


def test_without_a_ticket_of_another_data_set_nothing_is_drawn(sweep: SyntheticStore) -> None:
    assert not across_data_sets(load(sweep.root, tickets=False)).data


def test_tickets_from_elsewhere_have_a_name_of_their_own() -> None:
    assert method_name("aws@cifar10") == "AWS from cifar10"
    assert method_name("own_rule@theirs") == "own rule from theirs"
    assert sorted(["aws@b", "aws", "lrr", "lrr@a", "aws@a"], key=rank) == ["lrr", "lrr@a", "aws", "aws@a", "aws@b"]
