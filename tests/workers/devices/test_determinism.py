"""What torch computes without a deterministic kernel is named, by stage."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator

import pytest
import torch

from workers.attempts.provenance import machine
from workers.devices.determinism import choose_kernels, collect_nondeterministic
from workers.stages.execution import Execution


@pytest.fixture(autouse=True)
def warn_only() -> Iterator[None]:
    torch.use_deterministic_algorithms(True, warn_only=True)
    with warnings.catch_warnings():
        yield
    torch.use_deterministic_algorithms(False)


def put() -> None:
    torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))


def test_each_stage_names_its_own_operations() -> None:
    for _ in range(2):  # the second stage of a process too
        with collect_nondeterministic() as operations:
            put()
            torch.ones(3).sum()
        assert operations == {"put_"}
    with collect_nondeterministic() as operations:
        beside = threading.Thread(target=put)
        beside.start()
        beside.join()
    assert operations == set()


def test_the_record_says_what_was_not_deterministic() -> None:
    execution = Execution("cpu", None, "cache")
    assert machine(execution)["deterministic"] is True
    assert "nondeterministic_operations" not in machine(execution)
    recorded = machine(execution, {"put_", "histc"})
    assert recorded["deterministic"] is False
    assert recorded["nondeterministic_operations"] == ["histc", "put_"]


@pytest.mark.parametrize("deterministic", [True, False])
def test_attention_takes_the_kernel_without_a_deterministic_gradient_only_if_it_may(deterministic: bool) -> None:
    benchmark = torch.backends.cudnn.benchmark
    try:
        choose_kernels(deterministic)
        assert torch.are_deterministic_algorithms_enabled() is deterministic
        assert torch.backends.cuda.mem_efficient_sdp_enabled() is not deterministic
        assert torch.backends.cuda.flash_sdp_enabled() is torch.backends.cuda.math_sdp_enabled() is True
    finally:
        torch.backends.cuda.enable_mem_efficient_sdp(True)
        torch.backends.cudnn.benchmark = benchmark
