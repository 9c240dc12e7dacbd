"""The forest plot and the results table show the comparisons' and the trainings' numbers, and link to their stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from analysis import load
from analysis.figures import differences, results_table

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

HOSTILE = "<b>x</b>"


def test_each_comparison_is_a_point_with_its_interval(sweep: SyntheticStore) -> None:
    figure = differences(load(sweep.root))
    points = {
        (trace.xaxis, y): (x, half, trace.name, custom)
        for trace in figure.data
        for x, y, half, custom in zip(trace.x, trace.y, trace.error_x.array, trace.customdata, strict=True)
    }
    assert len(points) == 10
    x, half, outcome, (said, density, keys) = points["x", "signs − mask alone, AWS, density 0.107"]
    assert (x, half) == (10.0, pytest.approx(4.3027 / np.sqrt(3), rel=1e-4))  # differences 9, 10, 11
    assert outcome == "AWS, not judged yet"  # one chain
    assert "+10.0 points [7.5, 12.5]" in said.replace("<br>", " ")
    assert density == pytest.approx(0.8**10)
    assert len(keys.split(",")) == 6
    assert points["x2", "AWS − LRR, density 0.107"][0] == pytest.approx(-30.0)


def test_outcomes_differ_in_marker_and_methods_in_colour_and_traces_tell_their_method(store: SyntheticStore) -> None:
    gains = {("aws", 10): 20.0, ("lrr", 10): -20.0, ("aws", 5): 0.0, ("lrr", 5): 0.0}
    for (method, round_), gain in gains.items():
        for chain in (1, 2, 3):
            labels = {"method": method, "chain": chain, "round": round_, "seed": 1}
            store.train("signed", 50.0 + gain + 0.1 * chain, **labels)
            store.train("mask", 50.2, **labels)
    figure = differences(load(store.root))
    marks = {trace.meta["outcome"]: trace.marker.symbol for trace in figure.data}
    assert len(marks) == len(set(marks.values())) == 3
    colours = {trace.meta.get("method"): trace.marker.color for trace in figure.data}
    assert len(colours) == len(set(colours.values())) == 3
    assert {"LRR, the reverse is shown", "AWS, shown"} <= {trace.name for trace in figure.data}
    for trace in figure.data:
        compares_methods = all(y.startswith("AWS − LRR") for y in trace.y)
        assert ("method" in trace.meta) != compares_methods
        assert compares_methods or all(trace.meta["method"].upper() in y for y in trace.y)


def test_lines_stand_under_their_question_sparsest_first(sweep: SyntheticStore) -> None:
    figure = differences(load(sweep.root))
    order = list(figure.layout.yaxis.categoryarray)
    assert order[:5] == [
        "signs − mask alone:",
        "signs − mask alone, LRR, density 0.107",
        "signs − mask alone, AWS, density 0.107",
        "signs − mask alone, LRR, density 0.328",
        "signs − mask alone, AWS, density 0.328",
    ]
    assert list(figure.layout.yaxis.ticktext)[:2] == ["0.107 LRR", "0.107 AWS"]
    titles = [note.text for note in figure.layout.annotations]
    assert titles[:3] == ["test accuracy", "barrier to the solution", "barrier between SGD seeds"]
    assert all(axis.zeroline for axis in figure.select_xaxes())
    assert figure.layout.meta["summary"] == (
        "digits · tiny · sound: 10 comparisons; shown 0, the reverse is shown 0, negligible 0, not shown 0, not judged "
        "yet 10."
    )


def test_one_pair_is_a_point_without_an_interval(store: SyntheticStore) -> None:
    for transfer, accuracy in (("signed", 60.0), ("mask", 40.0)):
        store.train(transfer, accuracy, method="aws", chain=1, round=10, seed=1)
    [trace] = differences(load(store.root)).data
    assert list(trace.x) == [20.0]
    assert np.isnan(trace.error_x.array[0])


def test_the_table_has_what_the_sparsest_round_reaches(sweep: SyntheticStore) -> None:
    [table] = results_table(load(sweep.root)).data
    assert list(table.header.values) == ["start", "density", "accuracy (%)", "n"]
    rows = [
        tuple(str(cell).replace("\N{NO-BREAK SPACE}", " ") for cell in row)
        for row in zip(*table.cells.values, strict=True)
    ]
    assert rows == [
        ("dense", "1", "72.0 ± 1.0", "3"),
        ("LRR retrain", "0.107", "68.0 ± 1.0", "3 (1)"),
        ("AWS retrain", "0.107", "68.0 ± 1.0", "3 (1)"),
        ("LRR signed transfer", "0.107", "52.0 ± 2.0", "3 (1)"),
        ("AWS signed transfer", "0.107", "62.0 ± 2.0", "3 (1)"),
        ("LRR mask transfer", "0.107", "52.0 ± 1.0", "3 (1)"),
        ("AWS mask transfer", "0.107", "52.0 ± 1.0", "3 (1)"),
    ]
    assert [len(keys.split(",")) for _, _, keys in table.customdata] == [3] * 7


def test_a_store_has_one_table_and_a_panel_per_section(sweep: SyntheticStore) -> None:
    for seed in (1, 2):
        for transfer, accuracy in (("signed", 60.0 + seed), ("mask", 40.0)):
            labels = {"method": "aws", "chain": 1, "round": 3, "seed": seed, "dataset": HOSTILE}
            sweep.train(transfer, accuracy, **labels)
    frames = load(sweep.root)
    [table] = results_table(frames).data
    assert table.header.values[0] == "data set, architecture, preset"
    assert set(table.cells.values[0]) == {"digits · tiny · sound", "&lt;b&gt;x&lt;/b&gt; · tiny · sound"}
    assert "0.512" in table.cells.values[2]
    titles = [note.text for note in differences(frames).layout.annotations]
    assert "&lt;b&gt;x&lt;/b&gt; · tiny · sound: test accuracy" in titles
    assert "digits · tiny · sound: test accuracy" in titles


def test_nothing_trained_draws_nothing(store: SyntheticStore) -> None:
    store.probe("lmc", "signed", (30.0, 31.0, 30.0), method="aws", chain=1, round=10, seed=1)
    frames = load(store.root)
    assert not results_table(frames).data
    assert not differences(frames).data
    assert "nothing can be compared yet" in differences(frames).layout.meta["summary"]
