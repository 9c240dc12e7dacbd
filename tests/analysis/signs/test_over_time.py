"""Signs over time: few files are read, and what the figures show of them, against numbers counted by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from analysis import Frames, load
from analysis.figures import psi_drift, sign_flips_over_time, sign_lock_in, signs_by_density, signs_over_time
from analysis.signs.over_time import MOST_ROUNDS
from orchestrator.store import StoreError
from workers.storage.schemas import SIGNS, SIGNS_SCHEMA

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

FIGURES = (psi_drift, sign_flips_over_time, sign_lock_in, signs_by_density, signs_over_time)
# two layers at the start, the middle and the end of a training from epoch 5 to 9; numbers in the order of ``table``
COURSE = {
    "a.weight": [(100, 0, 0, 20, 25), (100, 20, 20, 4, 4), (100, 4, 20, 0, 0)],
    "b.weight": [(300, 0, 0, 3, 3), (300, 3, 3, 0, 0), (300, 0, 3, 0, 0)],
}


def table(drift: float, course: dict[str, list[tuple[int, ...]]] = COURSE) -> pa.Table:
    rows: list[dict[str, Any]] = []
    names = ("elements", "flips", "flips_from_start", "flips_to_end", "flip_later")
    for number, epoch in enumerate((5.0, 7.0, 9.0)):
        at = {"step": 20 * number, "epoch": epoch}
        rows += [
            {**at, "parameter": name, **dict(zip(names, each[number], strict=True))} for name, each in course.items()
        ]
        for leaf, far in (("weight", drift), ("bias", 0.0)):
            drifts = {"elements": 8, "drift_rms": far * number / 2, "drift_max": far}
            rows.append({**at, "parameter": f"norm.{leaf}", **drifts})
    return pa.Table.from_pylist(rows, SIGNS_SCHEMA)


def add(store: SyntheticStore, method: str, round_: int, drift: float, chain: int = 1, **more: Any) -> str:
    results = {"density": 0.8**round_, "sign_flips_percent": 5.75, "sign_lock_in_epochs": 2.0, "psi_drift_rms": drift}
    labels = {"method": method, "chain": chain, "round": round_}
    return store.stage("round" if round_ else "pretrain", labels, results, files={SIGNS: table(drift)}, **more)


@pytest.fixture
def frames(store: SyntheticStore) -> Frames:
    """AWS and LRR, rounds 0 to 3, psi drifting by a hundredth of the round under AWS and a tenth under LRR."""
    for round_ in range(4):
        add(store, "aws", round_, round_ / 100)
        add(store, "lrr", round_, round_ / 10)
        add(store, "lrr", round_, 100.0, chain=2)  # its results count, its file is not read
    return load(store.root)


def test_a_layer_locks_in_after_the_last_record_from_which_more_than_one_in_a_hundred_flips(frames: Frames) -> None:
    rows = frames.signs_by_layer
    last = rows[(rows["method"] == "aws") & (rows["round"] == 3)].set_index("parameter")
    assert last.loc["a.weight", "lock_in_epochs"] == 4  # 4 of 100 still flip in the middle
    assert last.loc["b.weight", "lock_in_epochs"] == 0  # 3 of 300 are one in a hundred
    assert last.loc["a.weight", "flips_percent"] == 20
    assert last.loc["norm.weight", "drift_rms"] == pytest.approx(0.03)
    assert np.isnan(last.loc["norm.weight", "lock_in_epochs"])


def test_heat_maps_have_rounds_or_epochs_across_and_layers_down(frames: Frames) -> None:
    lrr, aws = psi_drift(frames).data
    assert (list(aws.x), list(aws.y)) == (["0", "1", "2", "3"], ["norm"])
    assert lrr.z[0] == pytest.approx([0, 0.1 / 2**0.5, 0.2 / 2**0.5, 0.3 / 2**0.5], abs=1e-4)  # of scale and shift
    assert [list(row) for row in sign_lock_in(frames).data[0].z] == [[4.0] * 4, [0.0] * 4]
    flips = sign_flips_over_time(frames).data[0]
    assert list(flips.x) == ["2", "4"]
    assert [list(row) for row in flips.z] == [[10.0, 2.0], [0.5, 0.0]]


def test_agreement_with_the_ticket_is_of_all_layers_in_rounds_0_1_and_the_last(frames: Frames) -> None:
    figure = signs_over_time(frames)
    assert [title.text for title in figure.layout.annotations] == ["round 0", "round 1", "round 3"]
    assert list(figure.data[0].x) == [0, 2, 4]
    assert list(figure.data[0].y) == [94.25, 99.0, 100.0]  # 23, 4 and 0 of 400 differ


def test_means_by_density_are_of_every_chain(frames: Frames) -> None:
    figure = signs_by_density(frames)
    drifts = [line for line in figure.data if line.name == "LRR"][-1]
    assert list(drifts.y) == pytest.approx([(100 + drift) / 2 for drift in (0, 0.1, 0.2, 0.3)])
    assert "under LRR 50.00 at density 1" in figure.layout.meta["summary"]


def test_the_figure_of_drift_says_when_aws_and_lrr_cannot_differ(frames: Frames) -> None:
    summary = psi_drift(frames).layout.meta["summary"]
    assert "under AWS in round 3 by 0.02 in norm" in summary
    assert "Where ψ stays near its initialisation, AWS changes little" in summary


def test_stages_of_an_earlier_version_have_no_signs_over_time(sweep: SyntheticStore) -> None:
    frames = load(sweep.root)
    for draw in FIGURES:
        assert not draw(frames).data
        assert "stages of earlier versions have none" in draw(frames).layout.meta["summary"]


def test_of_a_long_chain_few_rounds_are_read(store: SyntheticStore) -> None:
    for round_ in range(40):
        add(store, "aws", round_, 0.1)
    frames = load(store.root)
    rounds = sorted(frames.signs_by_layer["round"].unique())
    assert {0, 1, 39} <= {*rounds}
    assert 10 < len(rounds) <= MOST_ROUNDS + 1
    assert sorted(frames.signs_over_time["round"].unique()) == [0, 1, 39]


def test_a_damaged_file_is_named(store: SyntheticStore) -> None:
    add(store, "aws", 0, 0.1)
    [path] = store.root.glob(f"stages/*/*/out/{SIGNS}")
    path.write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=SIGNS):
        load(store.root)
    frames = load(store.root, leave_out=True)
    assert [*frames.left_out] == [str(path)]
    assert frames.signs_by_layer.empty
