"""Packing: measured durations, and the number of stages that then share a GPU."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduling.packing import Packing
from orchestrator.store.record import Labels, Record

GB = 10**9


def packing_after(
    device_gb: float, seconds_at: dict[int, float], peak_gb: float | None, fixed: int | None = None
) -> Packing:
    """A packing that has observed stages with the given seconds at each level that it chose."""
    packing = Packing(None if device_gb == 0 else int(device_gb * GB), fixed)
    for _ in range(200):
        level = packing.level
        peak = None if peak_gb is None or level > 1 else int(peak_gb * GB)
        packing.learn("group", seconds_at.get(level, 1000.0), level - 1, peak)
    return packing


@pytest.mark.parametrize(
    ("device_gb", "seconds_at", "peak_gb", "level"),
    [
        (80, {1: 10, 2: 10, 4: 10, 8: 40}, 1, 4),  # sharing is free up to 4, then gains nothing
        (80, {1: 10, 2: 19.9}, 1, 1),  # one stage fills the GPU
        (80, {1: 10, 2: 10, 4: 10, 8: 10, 16: 10, 32: 10, 64: 10}, 10, 4),  # 8 x 10 GB do not fit
        (80, {1: 10, 2: 12, 4: 20}, 1, 4),  # 4 / 20 is more than 2 / 12
        (80, {1: 10, 2: 12, 4: 24}, 1, 2),  # 4 / 24 is 2 / 12
        (80, {1: 10, 2: 10}, None, 1),  # the peak memory is unknown
        (0, {1: 10, 2: 10}, 1, 1),  # no GPU
    ],
)
def test_the_level_doubles_while_throughput_grows_and_memory_suffices(
    device_gb: float, seconds_at: dict[int, float], peak_gb: float | None, level: int
) -> None:
    assert packing_after(device_gb, seconds_at, peak_gb).level == level


def test_the_users_level_is_kept() -> None:
    assert packing_after(80, {1: 10, 3: 1000}, 1, fixed=3).level == 3


def test_stages_are_compared_only_within_their_group() -> None:
    packing = Packing(80 * GB)
    packing.learn("quick", 1.0, 0, GB)
    assert packing.level == 2
    for _ in range(10):
        packing.learn("slow", 100.0, 1, None)  # never observed alone: ignored
    assert packing.level == 2
    for _ in range(2):
        packing.learn("quick", 1.0, 1, None)
    assert packing.level == 4


def test_running_out_of_memory_halves_the_level_for_good() -> None:
    packing = packing_after(80, {1: 10, 2: 10, 4: 10, 8: 100}, 1)
    assert packing.level == 4
    for _ in range(3):
        packing.crowded(4)  # three stages of that level
    for _ in range(50):
        packing.learn("group", 1.0, packing.level - 1, None)
    assert packing.level == 2


@given(st.lists(st.tuples(st.floats(0.1, 100), st.integers(0, 8), st.integers(1, 40 * GB)), max_size=60))
def test_stages_that_share_a_device_always_fit_its_memory(observed: list[tuple[float, int, int]]) -> None:
    packing = Packing(80 * GB)
    most = 0
    for seconds, beside, peak in observed:
        before = packing.level
        packing.learn("group", seconds, beside, peak if beside == 0 else None)
        most = max(most, peak if beside == 0 else 0)
        if packing.level > before:
            assert packing.level * most < 80 * GB


def record(
    seconds: float, *, beside: int, method: str = "aws", attempt: int = 1, device: str = "H200", image_size: int = 224
) -> Record:
    return Record(
        key="0" * 32,
        kind="round",
        name="n",
        labels=Labels(dataset="cifar10", architecture="resnet20", preset="sound", method=method),
        science={"setting": {"data": {"image_size": image_size}}, "training": {"epochs": 10}},
        inputs={},
        attempt=attempt,
        files={},
        results={},
        seconds=seconds,
        finished_unix_s=0.0,
        provenance={"device": device, "stages_beside": beside, "peak_memory_bytes": GB if beside == 0 else None},
    )


def test_one_chain_is_enough_to_learn_from() -> None:
    # only the first stage runs alone; stages of all kinds and methods are compared with it
    packing = Packing(80 * GB)
    packing.observe(record(10, beside=0))
    for _ in range(200):
        packing.observe(record(10, beside=packing.level - 1, method="lrr"))
    assert packing.level == 32


def test_resumed_stages_stages_on_a_cpu_and_other_images_are_ignored() -> None:
    packing = Packing(80 * GB)
    packing.observe(record(10, beside=0))
    for _ in range(50):
        packing.observe(record(1, beside=1, attempt=2))
        packing.observe(record(1, beside=1, device="cpu (x86_64)"))
        packing.observe(record(1, beside=1, image_size=16))
    assert packing.level == 2


def test_only_a_full_gpu_lowers_the_users_level() -> None:
    packing = Packing(80 * GB, 8)
    packing.crowded(8)
    assert packing.level == 4
