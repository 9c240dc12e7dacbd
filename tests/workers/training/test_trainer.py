"""The trainer against a plain loop written from docs/method.md, and against itself after an interruption."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import tickets
from workers.data.augmentation import draw_epoch
from workers.data.splits import Splits
from workers.devices.seeds import generator
from workers.models import build_model
from workers.stages import UNIFORM, Model, Optimizer, Schedule, Training
from workers.stages.execution import Control, Interrupted
from workers.training.psi import psi_names
from workers.training.step import make_optimizer
from workers.training.trainer import DivergedError, TrainingLog, learning_rate, train

SGD = Optimizer(0.05, "sgd", 0.9, 5e-4)
ADAM = Optimizer(1e-3, "adam", 0.9, 1e-3)


def fresh() -> nn.Module:
    model = build_model(Model("resnet1d", {"width": 4}), in_channels=1, num_classes=3, init_seed=3)
    return model.to(memory_format=torch.channels_last)


def half_masks(model: nn.Module) -> dict[str, Tensor]:
    stream = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(model.get_parameter(name).shape, generator=stream) < 0.5
        for name in tickets.prunable_names(model, 3)
    }


def run(
    model: nn.Module,
    training: Training,
    splits: Splits,
    masks: dict[str, Tensor] | None = None,
    aws: bool = False,
    control: Control | None = None,
) -> TrainingLog:
    return train(
        model,
        training,
        splits,
        masks=masks or {},
        alpha=UNIFORM if aws else None,
        sgd_seed=7,
        watched={"validation": splits.validation},
        control=control or Control(),
    )


def reference(
    model: nn.Module, training: Training, splits: Splits, masks: dict[str, Tensor], aws: bool
) -> dict[str, Tensor]:
    """The method's training with the mask in every forward pass and psi interpolated by hand."""
    optimizer = make_optimizer(model, training.optimizer)
    parameters, initial = dict(model.named_parameters()), psi_names(model)
    model.train()
    for epoch in range(training.epochs):
        draws = draw_epoch(len(splits.train), 7, epoch, "none")
        batches = list(splits.train.drawn(draws, training.batch_size, "none"))
        alphas = torch.rand(len(batches), generator=generator(7, "alpha", epoch))
        for batch, alpha in zip(batches, alphas, strict=True):
            used = {name: parameters[name] * mask for name, mask in masks.items()}
            if aws:
                for name, value in initial.items():
                    used[name] = alpha * value + (1 - alpha) * parameters[name]
            images = splits.normalized(batch.images)
            loss = F.cross_entropy(torch.func.functional_call(model, used, (images,)), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return {name: tensor * masks[name] if name in masks else tensor for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
def test_masking_after_the_step_equals_masking_in_the_forward_pass_bit_for_bit(
    splits: Splits, optimizer: Optimizer
) -> None:
    training = Training(3, 32, optimizer)
    one, two = fresh(), fresh()
    masks = half_masks(one)
    run(one, training, splits, masks)
    expected = reference(two, training, splits, masks, aws=False)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_aws_training_follows_the_formula_with_one_alpha_per_batch(splits: Splits) -> None:
    training = Training(2, 32, SGD)
    one, two = fresh(), fresh()
    masks = half_masks(one)
    run(one, training, splits, masks, aws=True)
    expected = reference(two, training, splits, masks, aws=True)
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=2e-4, atol=2e-5, msg=name)


def test_alpha_does_not_act_where_a_training_is_evaluated(splits: Splits) -> None:
    model = fresh()
    last = run(model, Training(2, 32, SGD), splits, half_masks(model), aws=True).metrics[-1]
    [batch] = splits.validation.in_order(len(splits.validation))
    model.eval()
    with torch.no_grad():
        logits = model(splits.normalized(batch.images))
    assert last["split"] == "validation"
    assert last["loss_nats"] == pytest.approx(F.cross_entropy(logits, batch.labels).item(), rel=1e-5)
    right = (logits.argmax(1) == batch.labels).double().mean().item()
    assert last["accuracy_percent"] == pytest.approx(100 * right)


def test_lrr_training_uses_plain_psi(splits: Splits) -> None:
    training = Training(2, 32, SGD)
    lrr, aws = fresh(), fresh()
    run(lrr, training, splits)
    run(aws, training, splits, aws=True)
    expected = reference(fresh(), training, splits, {}, aws=False)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in lrr.state_dict().items())
    assert any(not torch.equal(tensor, expected[name]) for name, tensor in aws.state_dict().items())


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
def test_no_pruned_weight_is_ever_non_zero_after_a_step(
    splits: Splits, optimizer: Optimizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fresh()
    masks = half_masks(model)
    checks = 0

    def check(module: nn.Module, inputs: object) -> None:
        nonlocal checks
        if module is not model:
            return  # the trainer's trial copy
        checks += 1
        for name, mask in masks.items():
            assert not model.get_parameter(name)[~mask].any(), name

    model.register_forward_pre_hook(check)
    optimizers: list[torch.optim.Optimizer] = []
    original = make_optimizer

    def keep(*arguments: object) -> torch.optim.Optimizer:
        optimizers.append(original(*arguments))  # type: ignore[arg-type]
        return optimizers[-1]

    monkeypatch.setattr("workers.training.trainer.make_optimizer", keep)
    run(model, Training(2, 32, optimizer), splits, masks)
    check(model, None)
    assert checks > 14
    for name, mask in masks.items():
        for moment in optimizers[0].state[model.get_parameter(name)].values():
            assert moment.dim() == 0 or not moment[~mask].any(), f"momentum of {name}"


def test_weight_decay_covers_all_parameters() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    for spec in (SGD, ADAM):
        optimizer = make_optimizer(model, spec)
        assert [group["weight_decay"] for group in optimizer.param_groups] == [spec.weight_decay]
        assert sum(len(group["params"]) for group in optimizer.param_groups) == 4
    assert type(make_optimizer(model, ADAM)) is torch.optim.Adam  # L2 in the gradient, not AdamW


def test_schedules_step_once_per_epoch() -> None:
    steps = Training(100, 128, SGD, Schedule("steps", (50, 75), 0.1))
    rates = [learning_rate(steps, epoch) for epoch in (0, 49, 50, 74, 75, 99)]
    assert rates == pytest.approx([0.05, 0.05, 0.005, 0.005, 0.0005, 0.0005])
    cosine = Training(100, 256, ADAM, Schedule("cosine", (), 1e-3))
    torch_optimizer = torch.optim.SGD([torch.zeros(1)], lr=1e-3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(torch_optimizer, 100, eta_min=1e-6)
    for epoch in range(100):
        assert learning_rate(cosine, epoch) == pytest.approx(torch_optimizer.param_groups[0]["lr"])
        torch_optimizer.step()
        theirs.step()
    assert {learning_rate(Training(10, 128, SGD), epoch) for epoch in range(10)} == {0.05}


def test_every_image_is_used_once_per_epoch_and_the_tail_batch_is_kept(splits: Splits) -> None:
    batch_sizes: list[int] = []
    model = fresh()
    model.register_forward_pre_hook(
        lambda module, inputs: batch_sizes.append(len(inputs[0])) if module is model and module.training else None
    )
    log = run(model, Training(1, 32, SGD), splits)
    assert sum(batch_sizes) == len(splits.train) == 207
    assert batch_sizes[-1] == 207 % 32
    assert [row["split"] for row in log.metrics] == ["train", "validation"]


def interrupted_after(steps: int) -> Callable[[], bool]:
    calls = 0

    def should_stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > steps

    return should_stop


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("steps", [0, 3, 7, 12])
def test_an_interrupted_training_resumes_to_the_same_bits(
    splits: Splits, tmp_path: Path, optimizer: Optimizer, steps: int
) -> None:
    training = Training(3, 32, optimizer)
    undisturbed, disturbed = fresh(), fresh()
    masks = half_masks(undisturbed)
    expected = run(undisturbed, training, splits, masks, aws=True)
    first = Control(checkpoints=tmp_path / "1", should_stop=interrupted_after(steps))
    with pytest.raises(Interrupted):
        run(disturbed, training, splits, masks, aws=True, control=first)
    again = fresh()
    log = run(
        again, training, splits, masks, aws=True, control=Control(checkpoints=tmp_path / "2", earlier=(tmp_path / "1",))
    )
    assert log.metrics == expected.metrics
    assert log.signs == expected.signs != []
    assert all(torch.equal(t, undisturbed.state_dict()[name]) for name, t in again.state_dict().items())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 0x40  # inside a tensor, where safetensors notices nothing
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip_a_bit])
def test_resuming_skips_a_damaged_checkpoint_for_the_one_before(
    damage: Callable[[Path], None], splits: Splits, tmp_path: Path
) -> None:
    training = Training(3, 32, SGD)
    undisturbed, again = fresh(), fresh()
    run(undisturbed, training, splits)
    control = Control(checkpoints=tmp_path, should_stop=interrupted_after(9), checkpoint_interval_s=0)
    with pytest.raises(Interrupted):
        run(fresh(), training, splits, control=control)
    newest = sorted(tmp_path.iterdir())
    assert len(newest) == 2  # rolling
    damage(newest[-1])
    run(again, training, splits, control=Control(earlier=(tmp_path,)))
    assert all(torch.equal(t, undisturbed.state_dict()[name]) for name, t in again.state_dict().items())


def dropout_network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Dropout(0.5), nn.Linear(16, 3))


def test_dropout_depends_on_the_sgd_seed_and_not_on_the_global_generator(splits: Splits) -> None:
    one, two = dropout_network(), dropout_network()
    run(one, Training(2, 32, SGD), splits)
    torch.manual_seed(2)
    run(two, Training(2, 32, SGD), splits)
    assert all(torch.equal(t, two.state_dict()[name]) for name, t in one.state_dict().items())


def test_a_training_with_dropout_resumes_to_the_same_bits(splits: Splits, tmp_path: Path) -> None:
    undisturbed, again = dropout_network(), dropout_network()
    training = Training(2, 32, SGD)
    run(undisturbed, training, splits)
    stopping = Control(checkpoints=tmp_path, should_stop=interrupted_after(4))
    with pytest.raises(Interrupted):
        run(dropout_network(), training, splits, control=stopping)
    torch.rand(10)
    run(again, training, splits, control=Control(earlier=(tmp_path,)))
    assert all(torch.equal(t, undisturbed.state_dict()[name]) for name, t in again.state_dict().items())


def test_the_error_of_a_diverged_training_names_the_remedy(splits: Splits) -> None:
    with pytest.raises(DivergedError, match=r"learning rate 1e\+30.*--set"):
        run(fresh(), Training(1, 32, replace(SGD, learning_rate=1e30)), splits)


def test_a_diverged_network_writes_no_checkpoint_so_the_next_attempt_succeeds(splits: Splits, tmp_path: Path) -> None:
    training, undisturbed, again = Training(2, 32, SGD), fresh(), fresh()
    run(undisturbed, training, splits)
    broken = fresh()
    steps = 0

    def break_once(module: nn.Module, inputs: object) -> None:  # as a broken GPU does
        nonlocal steps
        steps += module.training
        if steps == 5:
            with torch.no_grad():
                next(module.parameters()).fill_(float("nan"))

    broken.register_forward_pre_hook(break_once)
    with pytest.raises(DivergedError, match="infinite or NaN in epoch 1"):
        run(broken, training, splits, control=Control(checkpoints=tmp_path, checkpoint_interval_s=0))
    run(again, training, splits, control=Control(earlier=(tmp_path,)))
    assert all(torch.equal(t, undisturbed.state_dict()[name]) for name, t in again.state_dict().items())


def test_the_sgd_seed_and_epoch_alone_decide_the_batch_order(splits: Splits) -> None:
    draws = [draw_epoch(207, seed, epoch, "none").order for seed in (1, 2) for epoch in (0, 1)]
    again = draw_epoch(207, 1, 0, "none").order
    assert torch.equal(draws[0], again)
    assert all(not torch.equal(draws[0], other) for other in draws[1:])
