"""A gang against one process: the same training, on the same draws, within the rounding of float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.workers.gangs import NETWORK, in_gang, masks_of, read, table, tiny, train_and_save, trained, training
from workers.stages import Model, Training


def gang_of_two(spec: Training, cache: Path, out: Path, network: Model = NETWORK) -> dict[str, Tensor]:
    """What a gang of two makes of it, the same on both ranks."""
    out.mkdir(exist_ok=True)
    in_gang(2, train_and_save, spec, cache, out, network)
    one, two = (read(out / f"rank{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    return one


def difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The largest difference of any weight or running statistic, relative to its tensor's largest value."""
    return max(
        float((found[name].float() - tensor.float()).abs().max() / tensor.float().abs().max().clamp(min=1e-3))
        for name, tensor in expected.items()
    )


@pytest.fixture(scope="module")
def together(data_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return gang_of_two(training(2), data_cache, tmp_path_factory.mktemp("gang"))


def test_two_ranks_with_synchronised_batch_norm_are_one_within_rounding(
    data_cache: Path, together: dict[str, Tensor]
) -> None:
    model, log = trained(training(1), tiny(data_cache))
    assert difference(together, model.state_dict()) < 2e-4
    torch.testing.assert_close(together["metrics"], table(log), rtol=1e-4, atol=1e-4)
    for name, mask in masks_of(trained(training(1, epochs=0), tiny(data_cache))[0]).items():
        assert not together[name][~mask].any()


def test_batch_norm_per_rank_is_another_training(data_cache: Path, together: dict[str, Tensor], tmp_path: Path) -> None:
    found = gang_of_two(training(2, "per_rank"), data_cache, tmp_path / "per_rank")
    metrics = found.pop("metrics")
    assert difference(found, {name: tensor for name, tensor in together.items() if name != "metrics"}) > 1e-2
    assert torch.isfinite(metrics).all()
