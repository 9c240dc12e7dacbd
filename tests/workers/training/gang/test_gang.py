"""A gang against one process: the same training, on the same draws, within the rounding of float32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import torch
from safetensors.torch import load_file as read
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.workers.training.gang.gangs import (
    NETWORK,
    fresh,
    in_gang,
    masks_of,
    table,
    tiny,
    train_and_save,
    trained,
    training,
)
from workers.attempts.workspace import artifact, open_workspace
from workers.stages import UNIFORM, Gang, Model, Training
from workers.stages.execution import Control
from workers.storage import open_storage
from workers.training import psi as normalization
from workers.training.gang.batch_norm import with_gang_norm
from workers.training.gang.member import ALONE, GangSizeError, Member, RankLostError, RanksDisagreeError
from workers.training.trainer import train


def gang_of_two(spec: Training, cache: Path, out: Path, network: Model = NETWORK) -> dict[str, Tensor]:
    """Train in a gang of two; return the network and metrics, which must be equal on both ranks."""
    out.mkdir(exist_ok=True)
    in_gang(2, train_and_save, spec, cache, out, network)
    one, two = (read(out / f"rank{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    return one


def difference(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The largest difference of any weight or running statistic, relative to its tensor's largest value."""
    return max(
        float((actual[name].float() - tensor.float()).abs().max() / tensor.float().abs().max().clamp(min=1e-3))
        for name, tensor in expected.items()
    )


@pytest.fixture(scope="module")
def together(data_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return gang_of_two(training(2), data_cache, tmp_path_factory.mktemp("gang"))


def test_two_ranks_with_synchronised_batch_norm_equal_one_device_within_rounding(
    data_cache: Path, together: dict[str, Tensor]
) -> None:
    model, log = trained(training(1), tiny(data_cache))
    assert difference(together, model.state_dict()) < 2e-4
    torch.testing.assert_close(together["metrics"], table(log), rtol=1e-4, atol=1e-4)
    for name, mask in masks_of(trained(training(1, epochs=0), tiny(data_cache))[0]).items():
        assert not together[name][~mask].any()


def test_two_ranks_train_a_vision_transformer_as_one_device_does(data_cache: Path, tmp_path: Path) -> None:
    network = Model("vit_tiny", {"image_size": 8, "width": 6, "depth": 2})
    gang = gang_of_two(training(2), data_cache, tmp_path / "gang", network)
    model, log = trained(training(1), tiny(data_cache), network=network)
    assert difference(gang, model.state_dict()) < 2e-4
    torch.testing.assert_close(gang["metrics"], table(log), rtol=1e-4, atol=1e-4)
    started, _ = trained(training(1, epochs=0), tiny(data_cache), network=network)
    masks = masks_of(started)
    assert any(name.endswith("in_proj_weight") for name in masks)
    assert not any(gang[name][~mask].any() for name, mask in masks.items())
    assert difference(gang, started.state_dict()) > 0.1  # it has trained


def test_batch_norm_per_rank_trains_a_different_network(
    data_cache: Path, together: dict[str, Tensor], tmp_path: Path
) -> None:
    gang = gang_of_two(training(2, "per_rank"), data_cache, tmp_path / "per_rank")
    metrics = gang.pop("metrics")
    assert difference(gang, {name: tensor for name, tensor in together.items() if name != "metrics"}) > 1e-2
    assert torch.isfinite(metrics).all()


def test_the_tail_may_leave_a_rank_without_an_image(data_cache: Path, tmp_path: Path) -> None:
    spec = training(2, epochs=1, batch=206)  # 207 images: a tail of one
    model, log = trained(replace(spec, gang=Gang()), tiny(data_cache))
    gang = gang_of_two(spec, data_cache, tmp_path / "synchronised")
    assert difference(gang, model.state_dict()) < 1e-3
    torch.testing.assert_close(gang["metrics"], table(log), rtol=1e-3, atol=1e-3)
    gang_of_two(replace(spec, gang=Gang(2, "per_rank")), data_cache, tmp_path / "per_rank")


@pytest.mark.parametrize("dropout", [False, pytest.param(True, marks=pytest.mark.long)])
def test_an_interrupted_gang_resumes_to_the_same_bits(data_cache: Path, tmp_path: Path, dropout: bool) -> None:
    network = Model("efficientnet_b0", {}) if dropout else NETWORK
    spec = training(2, epochs=1) if dropout else training(2)
    undisturbed = gang_of_two(spec, data_cache, tmp_path / "undisturbed", network)
    disturbed = tmp_path / "disturbed"
    disturbed.mkdir()
    in_gang(2, train_and_save, spec, data_cache, disturbed, network, 2 if dropout else 6)
    assert all("interrupted" in read(disturbed / f"rank{rank}.safetensors") for rank in range(2))
    assert 1 <= len(list((disturbed / "checkpoint").iterdir())) <= 2  # the rolling two, of rank 0
    resumed = gang_of_two(spec, data_cache, disturbed, network)
    assert all(torch.equal(resumed[name], tensor) for name, tensor in undisturbed.items())


def record_alphas(member: Member, cache: Path, out: Path) -> None:
    alphas = []
    interpolated = normalization.interpolated

    def recording(psi: Any, initial: Any, alpha: Tensor) -> list[Tensor]:
        alphas.append(alpha.clone())
        return interpolated(psi, initial, alpha)

    normalization.interpolated = recording
    trained(training(2), tiny(cache), member)
    save_file({"alphas": torch.stack(alphas)}, out / f"rank{member.rank}.safetensors")


def test_all_ranks_use_the_same_alpha_in_each_step(data_cache: Path, tmp_path: Path) -> None:
    in_gang(2, record_alphas, data_cache, tmp_path)
    one, two = (read(tmp_path / f"rank{rank}.safetensors")["alphas"] for rank in range(2))
    assert torch.equal(one, two)
    assert len(one.unique()) == len(one) == 2 * 4


def break_a_mask(member: Member, cache: Path) -> None:
    splits = tiny(cache)
    model, splits = fresh(splits)
    masks = masks_of(model)
    if member.rank == 1:
        first = next(iter(masks.values()))
        first[0] = ~first[0]
    with pytest.raises(RanksDisagreeError, match=r"the mask on rank 1 of 2 differs from rank 0's"):
        train(
            model,
            training(2),
            splits,
            masks=masks,
            alpha=UNIFORM,
            sgd_seed=7,
            watched={},
            control=Control(),
            member=member,
        )


def test_a_mask_that_differs_on_one_rank_is_refused_before_the_first_step(data_cache: Path) -> None:
    in_gang(2, break_a_mask, data_cache)


def break_a_weight(member: Member, cache: Path) -> None:
    splits = tiny(cache)
    model, splits = fresh(splits)
    with torch.no_grad():
        next(model.parameters())[0] += member.rank
    with pytest.raises(RanksDisagreeError, match=r"the start at epoch 0, batch 0, on rank 1 of 2"):
        train(
            model,
            training(2),
            splits,
            masks={},
            sgd_seed=7,
            watched={},
            control=Control(),
            member=member,
        )


def test_weights_that_differ_on_one_rank_are_refused_before_the_first_step(data_cache: Path) -> None:
    in_gang(2, break_a_weight, data_cache)


def lose_a_rank(member: Member, cache: Path) -> None:
    if member.rank == 1:
        return
    with pytest.raises(RankLostError):
        trained(training(2), tiny(cache), member)


def test_a_rank_that_went_away_is_told_from_an_error_of_the_stage(data_cache: Path) -> None:
    in_gang(2, lose_a_rank, data_cache)


def test_a_gangs_training_is_refused_outside_of_a_gang(data_cache: Path) -> None:
    with pytest.raises(GangSizeError, match="--nproc-per-node 2"):
        trained(training(2), tiny(data_cache))


@pytest.mark.parametrize(("rows", "ranks"), [(256, 2), (15, 2), (3, 2), (2, 2), (1, 2), (0, 2), (7, 4), (5, 8)])
def test_shares_are_all_rows_once_as_even_as_batch_norm_allows(rows: int, ranks: int) -> None:
    shares = [range(rows)[Member(rank, ranks).share(rows)] for rank in range(ranks)]
    assert [row for share in shares for row in share] == list(range(rows))
    sizes = [len(share) for share in shares if share]
    assert rows < 2 or min(sizes) > 1
    assert not sizes or max(sizes) - min(sizes) <= 1


def test_a_batch_norm_of_an_unknown_kind_is_refused() -> None:
    class Own(nn.BatchNorm2d):
        pass

    with pytest.raises(ValueError, match="1 is a Own"):
        with_gang_norm(nn.Sequential(nn.Conv2d(1, 2, 1), Own(2)), ALONE, "synchronised")


def test_ranks_other_than_0_read_a_buckets_attempt_and_write_nothing(s3: str, tmp_path: Path) -> None:
    root = f"{s3}/{uuid4()}"
    storage = open_storage(root)
    (tmp_path / "weights").write_bytes(b"of the input")
    storage.write("input/weights", b"of the input")
    storage.write("stage/attempts/1/checkpoint/1.safetensors", b"earlier")
    before = storage.listing()
    inputs = {"previous": ("input", {"weights": artifact(tmp_path / "weights")})}
    with open_workspace(root, "stage/attempts/2", inputs, (), writes=False) as space:
        assert (space.inputs["previous"] / "weights").read_bytes() == b"of the input"
        assert [path.read_bytes() for folder in space.earlier for path in folder.iterdir()] == [b"earlier"]
        (space.folder / "log.txt").write_text("of a rank that is not asked")
    assert storage.listing().keys() == before.keys()
