"""Figures draw the numbers that the frames hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pytest

from analysis import load
from analysis.figures import accuracy_by_density, barrier_by_density, barrier_curves, learning_curves, style
from analysis.figures.panel import Axis, Panel, compose
from analysis.frames.sections import Section, sections

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore


@pytest.fixture
def section(sweep: SyntheticStore) -> Section:
    [found] = sections(load(sweep.root))
    return found


def traces(figure: go.Figure, name: str) -> list[go.Scatter]:
    return [trace for trace in figure.data if trace.name == name]


def test_accuracy_is_the_mean_over_seeds_without_twins(section: Section) -> None:
    figure = accuracy_by_density(section.frames)
    [line] = traces(figure, "AWS signed transfer")
    assert np.asarray(line.x) == pytest.approx([0.8**5, 0.8**10])
    assert np.asarray(line.y) == pytest.approx([62.0, 62.0])  # 51 + 9, 52 + 10, 53 + 11
    assert np.asarray(line.error_y.array) == pytest.approx([2.0, 2.0])
    assert "n = 3 trainings in 1 chain" in line.customdata[0][0]


def test_dense_is_a_line_across_with_its_band(section: Section) -> None:
    figure = accuracy_by_density(section.frames)
    [dense] = traces(figure, "dense")
    assert list(dense.y) == [72.0, 72.0]
    [band] = [trace for trace in figure.data if trace.legendgroup == "dense" and trace.fill]
    assert list(band.y) == [73.0, 73.0, 71.0, 71.0]
    assert figure.layout.xaxis.type == "log"
    assert max(dense.x) > 0.8**5 > 0.8**10 > min(dense.x)


def test_barriers_against_density(section: Section) -> None:
    figure = barrier_by_density(section.frames)
    to_solution, stability = traces(figure, "AWS signed transfer")
    assert np.asarray(to_solution.y) == pytest.approx([2.0, 2.0])  # 31, 32, 33 over ends of 30
    assert np.asarray(to_solution.error_y.array) == pytest.approx([1.0, 1.0])
    assert np.asarray(stability.y) == pytest.approx([2.0, 2.0])
    assert np.asarray(stability.error_y.array) == pytest.approx([0.0, 0.0])
    titles = [title.text for title in figure.layout.annotations]
    assert titles == ["barrier to the solution", "barrier between two SGD seeds"]


def test_barrier_curves_put_lrr_beside_aws_in_a_panel_per_density(section: Section) -> None:
    figure = barrier_curves(section.frames, "lmc")
    titles = [title.text for title in figure.layout.annotations]
    assert titles == ["LRR, density 0.107", "AWS, density 0.107", "LRR, density 0.328", "AWS, density 0.328"]
    sparse, _ = traces(figure, "LRR signed transfer")
    assert list(sparse.x) == [0.0, 0.5, 1.0]
    assert np.asarray(sparse.y) == pytest.approx([30.0, 62.0, 30.0])
    band = next(trace for trace in figure.data if trace.fill and trace.legendgroup == "LRR signed transfer")
    assert np.asarray(band.y) == pytest.approx([30.0, 63.0, 30.0, 30.0, 61.0, 30.0])
    assert [trace.showlegend for trace in traces(figure, "LRR signed transfer")] == [True, False]


def test_learning_curves_put_the_rounds_of_a_chain_in_a_row(store: SyntheticStore) -> None:
    for chain in (1, 2):
        before: dict[str, str] = {}
        for round_, kind in enumerate(("pretrain", "round", "round")):
            labels = {"method": "aws", "chain": chain, "round": round_}
            metrics = {"metrics.parquet": store.metrics(50.0 + 10 * round_ + chain)[:2]}
            before = {"previous": store.stage(kind, labels, {}, files=metrics, inputs=before)}
    store.train("signed", 70.0, method="aws", chain=1, round=1, seed=1)
    store.train("signed", 80.0, method="aws", chain=1, round=2, seed=1)
    store.train("dense", 90.0, seed=1)
    figure = learning_curves(load(store.root))
    rounds, *trainings = figure.data  # the test set is read at one epoch, so it has no panel
    assert (rounds.name, list(rounds.x)) == ("AWS rounds", [1, 2, 3, 4, 5, 6])
    assert list(rounds.y) == [41.5, 52.5, 51.5, 62.5, 61.5, 72.5]
    assert "n = 2 trainings in 2 chains" in rounds.customdata[0][0]
    assert {trace.name: list(trace.y) for trace in trainings} == {
        "AWS signed transfer": [70.0, 81.0],
        "dense": [80.0, 91.0],
    }


def test_a_rewound_round_counts_its_own_epochs_and_a_one_shot_round_begins_at_round_0(store: SyntheticStore) -> None:
    def stage(method: str, round_: int, epochs: list[int], inputs: dict[str, str]) -> str:
        labels = {"method": method, "chain": 1, "round": round_}
        metrics = store.metrics(60.0)[:2].set_column(0, "epoch", pa.array(epochs))
        return store.stage(
            "round" if round_ else "pretrain", labels, {}, files={"metrics.parquet": metrics}, inputs=inputs
        )

    dense = {method: stage(method, 0, [1, 2], {}) for method in ("imp", "erk_at_init")}
    first = stage("imp", 1, [8, 9], {"previous": dense["imp"]})  # rewound to the end of epoch 7
    stage("imp", 2, [8, 9], {"previous": first})
    for round_ in (1, 2):
        stage("erk_at_init", round_, [1, 2], {"dense": dense["erk_at_init"]})
    lines = {trace.name: list(trace.x) for trace in learning_curves(load(store.root)).data}
    assert lines == {"IMP rounds": [1, 2, 3, 4, 5, 6], "ERK at init rounds": [1, 2, 3, 4]}


def test_nothing_probed_gives_no_traces(store: SyntheticStore) -> None:
    store.train("dense", 70.0, seed=1)
    [section] = sections(load(store.root))
    assert not barrier_curves(section.frames, "lmc").data
    assert not barrier_by_density(section.frames).data


def test_transfers_differ_in_dash_and_marker_and_methods_in_colour() -> None:
    transfers = ("signed", "mask", "retrain", "shuffled")
    looks = [style.line("aws", transfer) for transfer in transfers]
    assert len({look["line"]["dash"] for look in looks}) == len({look["marker"]["symbol"] for look in looks}) == 4
    of_aws, of_lrr = ({style.line(method, t)["line"]["color"] for t in transfers} for method in ("aws", "lrr"))
    assert len(of_aws) == len(of_lrr) == 1
    assert not of_aws & of_lrr


def test_nothing_but_a_method_has_a_methods_colour() -> None:
    others = {*style.COLOURS_OF_OTHERS, *style.KIND_COLOURS.values(), style.RED}
    assert not others & set(style.METHOD_COLOURS.values())


def test_presets_datasets_and_architectures_never_share_a_section(store: SyntheticStore) -> None:
    for labels in ({}, {"preset": "reference"}, {"dataset": "letters"}, {"architecture": "wide"}):
        store.train("dense", 70.0, seed=1, **labels)
    parts = sections(load(store.root))
    assert [part.title for part in parts] == [
        "digits · tiny · sound",
        "digits · tiny · reference",
        "digits · wide · sound",
        "letters · tiny · sound",
    ]
    assert [len(part.frames.stages) for part in parts] == [1] * 4


@pytest.mark.parametrize("densities", [[0.64], [1.0, 0.64, 0.03]])
def test_a_density_axis_has_a_tick_at_each_measured_density(densities: list[float]) -> None:
    drawn = go.Scatter(x=densities * 2, y=[1.0] * 2 * len(densities), mode="lines+markers")
    dense = go.Scatter(x=[1.1, 0.02], y=[1.0, 1.0], mode="lines")
    figure = compose([Panel("", [dense, drawn], Axis("density", "density"), Axis("accuracy"))], "")
    assert list(figure.layout.xaxis.tickvals) == densities
    assert list(figure.layout.xaxis.ticktext) == [f"{density:g}" for density in densities]
