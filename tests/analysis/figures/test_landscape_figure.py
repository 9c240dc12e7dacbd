"""The landscape's frame and figure, on a plane drawn by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pytest

from analysis import load
from analysis.figures import landscape
from analysis.frames.load import Frames

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

XS, YS = (-1.0, 1.0, 5.0), (-1.0, 2.0, 4.0)
LABELS = {"method": "aws", "chain": 1, "round": 5}


def add(store: SyntheticStore, solutions: dict[str, str], *, points: int = 3, high: float = 61.0) -> str:
    """A landscape whose error is 20 % at the solutions, and 41 % and more on the grid."""
    places = [*zip("abc", ((0.0, 0.0), (4.0, 0.0), (1.0, 3.0)), strict=True)]
    places += [(None, (x, y)) for y in YS for x in XS]  # type: ignore[misc]
    table = pa.table(
        {
            "solution": [name for name, _ in places],
            "x": [x for _, (x, _) in places],
            "y": [y for _, (_, y) in places],
            "error_percent": [20.0, 21.0, 22.0, *np.linspace(41.0, high, 9)],
            "error_standard_error_points": [0.5] * 12,
            "loss_nats": [1.0] * 12,
            "loss_standard_error_nats": [0.1] * 12,
        }
    )
    science, name = {"points": points}, f"landscape/{'+'.join(solutions.values())}"
    files = {"landscape.parquet": table}
    return store.stage("landscape", LABELS, {}, files=files, inputs=solutions, science=science, name=name)


@pytest.fixture
def solutions(store: SyntheticStore) -> dict[str, str]:
    keys = {
        slot: store.train(start, 80.0, **LABELS, seed=1)
        for slot, start in zip("ab", ("retrain", "signed"), strict=True)
    }
    return keys | {"c": store.train("dense", 70.0, seed=2)}


def marks(figure: go.Figure) -> list[go.Scatter]:
    return [trace for trace in figure.data if trace.type == "scatter"]


def test_the_frame_has_the_solutions_by_their_keys_and_the_grid(
    store: SyntheticStore, solutions: dict[str, str]
) -> None:
    key = add(store, solutions)
    rows = load(store.root).landscapes
    assert (rows["key"] == key).all()
    assert rows["solution"].dropna().tolist() == list(solutions.values())
    assert rows.loc[rows["solution"].isna(), "x"].tolist() == [*XS] * 3
    assert rows.loc[rows["solution"] == solutions["b"], ["x", "y", "error_percent"]].values.tolist() == [
        [4.0, 0.0, 21.0]
    ]
    assert rows["density"].isna().all()  # that of two of them is not the dense one's


def test_the_figure_draws_the_grid_and_names_the_solutions(store: SyntheticStore, solutions: dict[str, str]) -> None:
    key = add(store, solutions)
    figure = landscape(load(store.root))
    error, *three = figure.data
    assert list(error.z) == pytest.approx(list(np.linspace(41, 61, 9)))
    assert list(error.x) == [*XS] * 3
    assert list(error.y) == [y for y in YS for _ in XS]
    assert [trace.name for trace in three] == [
        "A: AWS retrain, density 0.328, chain 1, seed 1",
        "B: AWS signed transfer, density 0.328, chain 1, seed 1",
        "C: dense, seed 2",
    ]
    assert [(trace.x[0], trace.y[0]) for trace in three] == [(0, 0), (4, 0), (1, 3)]
    assert len({trace.marker.symbol for trace in three}) == 3
    assert three[1].customdata[0][2] == f"{key[:16]},{solutions['b'][:16]}"
    assert figure.layout.yaxis.scaleanchor == "x"
    assert "B: AWS signed transfer, density 0.328, chain 1, seed 1, 21.00 %" in figure.layout.meta["summary"]
    assert "in the plane through them 41.00 to 61.00 %" in figure.layout.meta["summary"]


def test_the_levels_are_round_numbers_around_all_errors(store: SyntheticStore, solutions: dict[str, str]) -> None:
    add(store, solutions)
    error = landscape(load(store.root)).data[0]
    assert (error.contours.start, error.contours.end, error.contours.size) == (20, 65, 5)  # 41 points in about 12 steps
    assert (error.zmin, error.zmax) == (20, 65)


def test_landscapes_of_other_solutions_stand_beside_each_other_on_one_scale(
    store: SyntheticStore, solutions: dict[str, str]
) -> None:
    add(store, solutions)
    add(store, solutions | {"c": store.train("mask", 60.0, **LABELS, seed=1)}, high=81.0)
    figure = landscape(load(store.root))
    errors = [trace for trace in figure.data if trace.type == "contour"]
    assert [trace.zmax for trace in errors] == [90, 90]
    assert [trace.showscale for trace in errors] == [True, False]
    assert figure.layout.yaxis2.scaleanchor == "x2"
    assert [title.text for title in figure.layout.annotations] == ["1", "2: density 0.328, chain 1, seed 1"]
    assert [trace.name for trace in marks(figure)][3:] == [
        "2A: AWS retrain",
        "2B: AWS signed transfer",
        "2C: AWS mask transfer",
    ]


def superseded(frames: Frames) -> list[bool]:
    return frames.stages.loc[frames.stages["kind"] == "landscape", "superseded"].tolist()


def test_only_a_newer_one_through_the_same_solutions_supersedes(
    store: SyntheticStore, solutions: dict[str, str]
) -> None:
    add(store, solutions)
    add(store, solutions | {"c": store.train("mask", 60.0, **LABELS, seed=1)}, points=4)
    assert superseded(load(store.root)) == [False, False]
    add(store, {"a": solutions["b"], "b": solutions["a"], "c": solutions["c"]}, points=5)
    assert superseded(load(store.root)) == [True, False, False]


def test_what_goes_through_a_superseded_solution_is_left_out(store: SyntheticStore, solutions: dict[str, str]) -> None:
    add(store, solutions)
    store.stage("train", {"transfer": "dense", "seed": 2}, {}, science={"epochs": 9})
    frames = load(store.root)
    assert superseded(frames) == [True]
    assert not landscape(frames).data


def test_a_store_without_landscapes_has_none(sweep: SyntheticStore) -> None:
    frames = load(sweep.root)
    assert frames.landscapes.empty
    assert {"solution", "x", "y", "error_percent"} <= set(frames.landscapes.columns)
    figure = landscape(frames)
    assert not figure.data
    assert figure.layout.meta["summary"] == "No landscape was computed."


def test_hostile_labels_are_text(store: SyntheticStore) -> None:
    evil = "<b>evil</b>"
    three = {
        slot: store.train(evil, 50.0, method=evil, chain=1, round=5, seed=seed) for seed, slot in enumerate("abc", 1)
    }
    add(store, three)
    names = [trace.name for trace in marks(landscape(load(store.root)))]
    assert len(names) == 3
    assert not any("<" in name for name in names)
