"""Numbers of any probe of pairs are drawn under their own names, and change no figure of barriers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from analysis import load
from analysis.figures import barrier_by_density, pair_probes
from analysis.frames.device_time import cost_of_results, device_time
from analysis.frames.sections import sections
from analysis.rules.checklist import checks
from orchestrator.store import Store

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

AT = {"method": "aws", "chain": 1, "round": 10, "transfer": "signed"}


def measure(store: SyntheticStore, name: str, numbers: dict[str, float], version: int = 1, **labels: Any) -> str:
    science = {"probe": name, "probe_version": version}
    results = {"density": 0.8**10, **{f"{name}_{word}": value for word, value in numbers.items()}}
    return store.stage("pair_probe", {**AT, **labels}, results, science=science)


@pytest.fixture
def probed(sweep: SyntheticStore) -> SyntheticStore:
    """Two probes that share the beginning of their names, of pairs to the solution and of pairs for stability."""
    for seed in (1, 2, 3):
        measure(sweep, "weight", {"l2": 1.0 + seed, "cosine": 0.5}, seed=seed, probe="lmc")
        measure(sweep, "weight_signs", {"percent": 90.0}, seed=seed, probe="lmc")
        measure(sweep, "weight_signs", {"percent": 95.0}, seed=seed, probe="stability")
    return sweep


def test_a_panel_for_each_number_and_kind_of_pair(probed: SyntheticStore) -> None:
    figure = pair_probes(load(probed.root))
    assert [title.text for title in figure.layout.annotations] == [
        "weight_cosine, to the solution",
        "weight_l2, to the solution",
        "weight_signs_percent, to the solution",
        "weight_signs_percent, between two SGD seeds",
    ]
    length = figure.data[1]
    assert length.name == "AWS signed transfer"
    assert np.asarray(length.x) == pytest.approx([0.8**10])
    assert np.asarray(length.y) == pytest.approx([3.0])  # of 2, 3 and 4
    assert "n = 3 probes in 1 chain" in length.customdata[0][0]
    assert "weight_l2 to the solution of AWS signed transfer 3.00 at density 0.107" in figure.layout.meta["summary"]


def test_a_barrier_after_alignment_stands_beside_the_barrier_as_trained(sweep: SyntheticStore) -> None:
    for seed in (1, 2, 3):
        measure(sweep, "aligned_barrier", {"points": 0.5, "l2_after": 3.0}, seed=seed, probe="lmc")
    figure = pair_probes(load(sweep.root))
    values = {line.name: list(line.y) for line in figure.data}
    assert values["AWS signed transfer"] == [0.5]
    assert set(values["AWS signed transfer, as trained"]) == {2.0}
    lengths = [line.name for line in figure.data if list(line.y) == [3.0]]
    assert lengths == ["AWS signed transfer"]  # a distance has no barrier beside it


def test_a_store_without_any_has_no_traces(sweep: SyntheticStore) -> None:
    assert not pair_probes(load(sweep.root)).data


def test_probes_of_one_pair_stand_beside_each_other_and_a_newer_version_in_place_of_the_older(
    probed: SyntheticStore,
) -> None:
    newer = measure(probed, "weight", {"l2": 7.0}, version=2, seed=1, probe="lmc")
    stages = load(probed.root).stages
    pairs = stages[stages["kind"] == "pair_probe"]
    assert set(pairs.loc[~pairs["superseded"], "pair_probe"]) == {"weight", "weight_signs"}
    assert pairs.loc[~pairs["superseded"] & (pairs["pair_probe"] == "weight"), "key"].tolist() == [newer]
    assert not stages.loc[stages["kind"] == "probe", "superseded"].any()


def test_barriers_and_their_costs_are_of_barrier_probes_alone(probed: SyntheticStore) -> None:
    [section] = sections(load(probed.root))
    lmc, stability = (line for line in barrier_by_density(section.frames).data if line.name == "AWS signed transfer")
    assert (list(lmc.y), list(stability.y)) == ([2.0, 2.0], [2.0, 2.0])
    costs = cost_of_results(device_time(section), "cpu", "lmc")
    assert set(costs.loc[costs["kind"].str.contains("probe"), "kind"]) == {"probe"}


def test_barriers_to_the_round_before_have_the_density_of_the_later_round(sweep: SyntheticStore) -> None:
    ends = {
        round_: sweep.stage("round", {"method": "lrr", "chain": 1, "round": round_}, {"density": 0.8**round_})
        for round_ in (1, 2)
    }
    sweep.stage(
        "probe",
        {"method": "lrr", "chain": 1, "round": 2, "transfer": "round_end", "probe": "successive"},
        {"barrier_points": 3.0, "barrier_standard_error_points": 0.1, "same_mask": False},
        inputs={"a": ends[2], "b": ends[1]},
    )
    frames = load(sweep.root)
    [line] = [line for line in barrier_by_density(frames).data if line.name == "LRR end of round"]
    assert (list(line.x), list(line.y)) == (pytest.approx([0.64]), [3.0])
    summary = barrier_by_density(frames).layout.meta["summary"]
    assert "barrier to the round before of LRR end of round 3.00 points" in summary
    [verdict] = [row for row in checks(Store(sweep.root), frames).to_dict("records") if "same mask" in row["rule"]]
    assert verdict["verdict"] != "broken"
