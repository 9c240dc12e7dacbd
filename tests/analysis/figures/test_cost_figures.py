"""Device time, throughput and the timeline against numbers worked out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pytest

from analysis import load
from analysis.figures import device_hours, throughput, timeline
from analysis.frames.attempts import attempts, lanes
from analysis.frames.device_time import device_time
from analysis.frames.sections import sections

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

AWS = {"method": "aws", "chain": 1}
HOUR = 3600.0


def made_on(device: str, host: str = "one", beside: int = 0) -> dict[str, Any]:
    return {"device": device, "host": host, "stages_beside": beside}


def results_of_a_chain(store: SyntheticStore) -> None:
    """Round 0 of 2 h, a round of 3 h on 2 devices, trainings of 1 h and 4 h, a twin of 1 h, a probe of half an hour."""
    gpu = made_on("GPU")
    gang = {"epochs": 3, "training": {"gang": {"ranks": 2}}}
    first = store.stage("pretrain", {**AWS, "round": 0}, {}, seconds=2 * HOUR, provenance=gpu)
    second = store.stage(
        "round", {**AWS, "round": 1}, {}, seconds=3 * HOUR, provenance=gpu, inputs={"previous": first}, science=gang
    )
    here = {**AWS, "round": 1, "transfer": "signed"}
    trained = {"inputs": {"ticket": second}, "provenance": gpu}
    a = store.stage("train", {**here, "seed": 1}, {"density": 0.8}, seconds=1 * HOUR, **trained)
    trained["provenance"] = made_on("GPU", beside=3)
    store.stage("train", {**here, "seed": 2}, {"density": 0.8}, seconds=4 * HOUR, **trained)
    b = store.stage("train", {**here, "seed": 1, "twin": True}, {}, seconds=1 * HOUR, **trained)
    probe = {**here, "seed": 1, "probe": "stability"}
    store.stage("probe", probe, {}, seconds=0.5 * HOUR, provenance=gpu, inputs={"a": a, "b": b})


def bars(figure: go.Figure, axis: str) -> dict[tuple[str, str], float]:
    """Length by row and kind, of the panel with this x axis."""
    return {(bar.y[0], bar.name): bar.x[0] for bar in figure.data if bar.xaxis == axis}


def test_a_resumed_stage_counts_with_all_its_epochs(store: SyntheticStore) -> None:
    def trained(seed: int, seconds: float, epochs: list[float]) -> None:
        rows = {"epoch": [*range(1, len(epochs) + 1)], "seconds": epochs, "images_per_second": [1.0] * len(epochs)}
        files = {"metrics.parquet": store.metrics(70.0), "timing.parquet": pa.table(rows)}
        labels = {"transfer": "dense", "seed": seed}
        store.stage("train", labels, {}, seconds=seconds, files=files, provenance=made_on("GPU"))

    trained(1, seconds=10.0, epochs=[300.0, 5.0])  # the last of two attempts had the second epoch
    trained(2, seconds=400.0, epochs=[300.0, 5.0])
    (section,) = sections(load(store.root))
    assert sorted(device_time(section)["held"]) == [305.0, 400.0]


def test_device_hours_count_each_device_of_a_gang(store: SyntheticStore) -> None:
    results_of_a_chain(store)
    figure = device_hours(load(store.root))
    assert figure.layout.xaxis.title.text == "device-hours on GPU"
    assert bars(figure, "x") == {
        ("AWS pruning chains", "round 0"): 2.0,
        ("AWS pruning chains", "pruning round"): 6.0,
        ("AWS signed transfer", "final training"): 6.0,
        ("AWS signed transfer", "probe"): 0.5,
    }
    trainings = next(bar for bar in figure.data if bar.name == "final training")
    assert trainings.meta == {"method": "aws", "transfer": "signed", "kind": "train"}
    hover, _, keys = trainings.customdata[0]
    assert "n = 3 stages" in hover
    assert "2 shared a device: at least 2.25" in hover  # 1 + 4 / 4 + 1 / 4
    assert len(keys.split(",")) == 3
    assert (
        "6 stages took 14.5 device-hours (at least 10.8, as some shared a device) on GPU"
        in (figure.layout.meta["summary"])
    )


def test_one_result_costs_all_that_it_was_made_from(store: SyntheticStore) -> None:
    results_of_a_chain(store)
    figure = device_hours(load(store.root))
    assert [title.text for title in figure.layout.annotations] == [
        "all results",
        "one accuracy, from scratch",
        "one barrier between two SGD seeds, from scratch",
    ]
    row = "AWS signed transfer"
    accuracy = {(row, "round 0"): 2.0, (row, "pruning round"): 6.0, (row, "final training"): 2.5}  # (1 + 4) / 2
    assert bars(figure, "x2") == accuracy
    assert bars(figure, "x3") == {**accuracy, (row, "final training"): 2.0, (row, "probe"): 0.5}  # a and its twin
    [training] = [bar for bar in figure.data if bar.xaxis == "x2" and bar.name == "final training"]
    assert "n = 2 results" in training.customdata[0][0]


def test_unlike_devices_are_not_summed(store: SyntheticStore) -> None:
    up = store.stage("pretrain", {**AWS, "round": 0}, {}, seconds=8 * HOUR, provenance=made_on("GPU"))
    here = {**AWS, "round": 0, "transfer": "signed"}
    store.stage("train", {**here, "seed": 1}, {}, seconds=90, provenance=made_on("cpu"), inputs={"ticket": up})
    store.stage("train", {**here, "seed": 2}, {}, seconds=9 * HOUR, provenance=made_on("GPU"), inputs={"ticket": up})
    figure = device_hours(load(store.root))
    assert bars(figure, "x")[("AWS signed transfer", "final training")] == 9.0
    assert bars(figure, "x2") == {("AWS signed transfer", "round 0"): 8.0, ("AWS signed transfer", "final training"): 9}
    assert figure.layout.xaxis3.title.text == "device-seconds on cpu"
    assert bars(figure, "x3") == {("AWS signed transfer", "final training"): 90.0}
    assert len({bar.xaxis for bar in figure.data}) == 3  # the result that two devices made has no cost of its own


def test_a_store_of_one_section_has_no_further_bars(store: SyntheticStore) -> None:
    results_of_a_chain(store)
    assert not device_hours(load(store.root), by="setting").data
    labels = {"transfer": "dense", "seed": 1, "architecture": "wide"}
    store.stage("train", labels, {}, seconds=5 * HOUR, provenance=made_on("GPU"))
    figure = device_hours(load(store.root), by="setting")
    assert bars(figure, "x") == {
        ("digits · tiny · sound", "round 0"): 2.0,
        ("digits · tiny · sound", "pruning round"): 6.0,
        ("digits · tiny · sound", "final training"): 6.0,
        ("digits · tiny · sound", "probe"): 0.5,
        ("digits · wide · sound", "final training"): 5.0,
    }


def test_throughput_is_the_median_epoch_with_the_range(store: SyntheticStore) -> None:
    for seed, speeds in ((1, [100.0, 300.0]), (2, [500.0, 310.0, 290.0])):
        epochs = list(range(1, len(speeds) + 1))
        timing = pa.table({"epoch": epochs, "seconds": [1.0] * len(speeds), "images_per_second": speeds})
        rows = [(epoch, split) for epoch in epochs for split in ("train", "validation")]
        metrics = pa.table(
            {
                "epoch": [epoch for epoch, _ in rows],
                "split": [split for _, split in rows],
                **dict.fromkeys(("loss_nats", "accuracy_percent", "learning_rate"), [1.0] * len(rows)),
                "images": [1] * len(rows),
            }
        )
        store.stage(
            "train",
            {"transfer": "dense", "seed": seed},
            {},
            files={"metrics.parquet": metrics, "timing.parquet": timing},
            provenance=made_on("GPU", beside=seed - 1),
        )
    figure = throughput(load(store.root))
    [points] = figure.data
    assert (points.name, list(points.x), list(points.y)) == ("GPU", [300.0], ["final training"])
    assert (points.error_x.array[0], points.error_x.arrayminus[0]) == (200.0, 200.0)
    assert "100 to 500<br>n = 5 epochs of 2 stages<br>1 shared a device" in points.customdata[0][0]
    assert "final training 300 images per second on GPU" in figure.layout.meta["summary"]


def a_day(store: SyntheticStore) -> dict[str, str]:
    """Two trainings at once on one node, one on another at its second attempt, a group of probes, a failure, one left.

    Seconds: a 0-40, b 10-30 on one; c 5-20 failed after a drain at 15, then 50-90 on two; probes 92-95 on one;
    bad 60-70 failed; late from 80.
    """
    here = {**AWS, "round": 1, "transfer": "signed"}
    keys = {}
    for seed, (name, host) in enumerate((("a", "one"), ("b", "one"), ("c", "two")), start=1):
        keys[name] = store.stage("train", {**here, "seed": seed}, {}, provenance=made_on("GPU", host))
    for seed in (1, 2):
        probe = {**here, "seed": seed, "probe": "lmc"}
        keys[f"probe{seed}"] = store.stage("probe", probe, {}, provenance=made_on("GPU", "one"))
    keys |= {"bad": "b" * 32, "late": "f" * 32}
    store.plan(("digits/bad", keys["bad"]), ("digits/late", keys["late"]))
    for name, begin, end in (("a", 0, 40), ("b", 10, 30)):
        store.event("started", keys[name], begin)
        store.event("done", keys[name], end, seconds=float(end - begin))
    store.event("started", keys["c"], 5)
    store.event("draining", keys["c"], 15, attempt=None, machine="two")
    store.event("failed", keys["c"], 20, error="Drained: <b>its machine</b> is about to go", retry=True)
    store.event("started", keys["c"], 50, attempt=2)
    store.event("done", keys["c"], 90, attempt=2, seconds=40.0)
    store.event("started", keys["bad"], 60)
    store.event("failed", keys["bad"], 70, error="DivergedError: loss", retry=False)
    store.event("started", keys["late"], 80)
    for seed in (1, 2):
        store.event("started", keys[f"probe{seed}"], 92)
        store.event("done", keys[f"probe{seed}"], 95, seconds=1.5)
    return keys


def test_attempts_have_their_node_if_they_made_the_result(store: SyntheticStore) -> None:
    keys = a_day(store)
    rows = attempts(load(store.root))
    assert list(zip(rows["node"], rows["outcome"], rows["stages"], strict=True)) == [
        ("one", "done", 1),
        ("not done", "failed", 1),
        ("one", "done", 1),
        ("two", "done", 1),
        ("not done", "failed", 1),
        ("not done", "no end recorded", 1),
        ("one", "done", 2),
    ]
    assert [(end - start).total_seconds() for start, end in zip(rows["start"], rows["end"], strict=True)] == [
        40,
        15,
        20,
        40,
        10,
        15,  # to the last event
        3,
    ]
    assert rows["keys"].iloc[-1] == f"{keys['probe1']},{keys['probe2']}"
    assert list(rows["drained"].notna()) == [False, True, *[False] * 5]
    assert list(lanes(rows)) == [0, 0, 1, 0, 0, 0, 0]


def test_an_attempt_without_an_end_lasts_to_the_next_or_to_the_result(store: SyntheticStore) -> None:
    here = {**AWS, "round": 1, "transfer": "signed"}
    twice = store.stage("train", {**here, "seed": 1}, {}, provenance=made_on("GPU"))  # finished at second 1
    store.event("started", twice, 0.25)
    store.event("started", twice, 0.5, attempt=2)
    store.event("done", "0" * 32, 100.0)
    rows = attempts(load(store.root))
    assert [(end - start).total_seconds() for start, end in zip(rows["start"], rows["end"], strict=True)] == [0.25, 0.5]


def test_the_timeline_hides_no_bar_behind_another(store: SyntheticStore) -> None:
    a_day(store)
    figure = timeline(load(store.root))
    assert [trace.name for trace in figure.data] == ["final training", "probe", "failed", "machine about to stop"]
    trainings, probes, failed, drained = figure.data
    assert list(trainings.y) == ["one", "not done", "one · 2", "two", "not done", "not done"]
    assert np.asarray(trainings.x) == pytest.approx([40_000, 15_000, 20_000, 40_000, 10_000, 15_000])
    assert trainings.base[0] == "2023-11-14 22:13:20.000"
    assert list(trainings.marker.pattern.shape) == ["", "/", "", "", "/", "/"]
    assert list(figure.layout.yaxis.categoryarray) == ["not done", "two", "one · 2", "one"]  # plotly's are upwards
    assert list(probes.y) == ["one"]
    assert "2 probes at once" in probes.customdata[0][0]
    assert list(failed.x) == ["2023-11-14 22:13:40.000", "2023-11-14 22:14:30.000"]
    assert "Drained: &lt;b&gt;its machine&lt;/b&gt; is about to go" in failed.customdata[0][0]
    assert list(drained.x) == ["2023-11-14 22:13:35.000"]
    assert figure.layout.meta["summary"] == (
        "2023-11-14 22:13 to 2023-11-14 22:14 UTC: 4 attempts done on 2 nodes, 2 failed, 1 no end recorded, "
        "1 told that the machine was about to stop."
    )


def test_a_long_pause_parts_the_timeline(store: SyntheticStore) -> None:
    here = {**AWS, "round": 1, "transfer": "signed"}
    for seed, begin in enumerate((0, 15, 1000), start=1):  # pauses of 5 s and 975 s, where 30 s were worked
        key = store.stage("train", {**here, "seed": seed}, {}, provenance=made_on("GPU"))
        store.event("started", key, begin)
        store.event("done", key, begin + 10, seconds=10.0)
    figure = timeline(load(store.root))
    assert [len(bars.y) for bars in figure.data] == [2, 1]


def test_a_store_without_events_has_no_timeline(sweep: SyntheticStore) -> None:
    assert not timeline(load(sweep.root)).data
    assert throughput(load(sweep.root)).data


def test_a_large_sweep_has_one_trace_per_kind(store: SyntheticStore) -> None:
    names = [(f"digits/{number}", f"{number:032x}") for number in range(300)]
    store.root.mkdir()
    store.plan(*names)
    for number, (_, key) in enumerate(names):
        store.event("started", key, number)
        store.event("interrupted", key, number + 3)
    figure = timeline(load(store.root))
    assert [(trace.name, len(trace.y)) for trace in figure.data] == [("final training", 300), ("interrupted", 300)]
    assert set(figure.data[0].y) == {"not done", "not done · 2", "not done · 3"}
