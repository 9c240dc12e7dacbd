"""Mask rules in a training: against a plain loop, and captured, resumed and refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

import tickets
from tests.workers.training.rules.networks import BATCH, EPOCH_STEPS, SGD, same, trained
from tests.workers.training.step.test_capture import recorded
from tests.workers.training.test_trainer import fresh, half_masks, run
from workers.attempts.execute import run_stage
from workers.data.augmentation import draw_epoch
from workers.data.splits import Splits
from workers.pruning.masking import Masking
from workers.stages import Criterion, MaskRule, Pretrain, Pruning, Round, Rules, Setting, Training
from workers.stages.execution import Execution, StageError
from workers.storage import artifacts, schemas
from workers.training import MaskUpdate, mask_rule
from workers.training.capture import CapturedStep
from workers.training.rules.mask_rule import DynamicMasks
from workers.training.step import Step, TrainingState, make_optimizer

RIGL = MaskRule("rigl", every_steps=3, until=0.75)
SET = MaskRule("set")


def plain_rigl(weight: Tensor, mask: Tensor, gradient: Tensor, step: int, last_step: float) -> Tensor:
    """RigL's algorithm 1 on one layer, by lists."""
    share = 0.3 / 2 * (1 + math.cos(math.pi * step / last_step))
    size = weight.flatten().abs().tolist()
    alive = [place for place, each in enumerate(mask.flatten().tolist()) if each]
    number = int(share * len(alive) + 1e-9)
    kept = sorted(alive, key=lambda place: size[place])[number:]
    slope = gradient.flatten().abs().tolist()
    free = [place for place in range(len(size)) if place not in set(kept)]
    grown = sorted(free, key=lambda place: -slope[place])[:number]
    new = torch.zeros(len(size), dtype=torch.bool)
    new[[*kept, *grown]] = True
    return new.view_as(mask)


def plain_loop(splits: Splits, epochs: int, spend: Callable[[int], bool]) -> tuple[nn.Module, dict[str, Tensor]]:
    """RigL in a plain loop with masks in every forward pass; ``spend`` says which steps give gradients only."""
    model = fresh().train()
    masks, parameters = half_masks(model), dict(model.named_parameters())
    optimizer = make_optimizer(model, SGD)
    last_step = 0.75 * epochs * EPOCH_STEPS
    for epoch in range(epochs):
        draws = draw_epoch(len(splits.train), 7, epoch, "none")
        for index, batch in enumerate(splits.train.drawn(draws, BATCH, "none")):
            step = epoch * EPOCH_STEPS + index
            images = splits.normalized(batch.images)
            used = {name: parameters[name] * mask for name, mask in masks.items()}
            if not spend(step):
                optimizer.zero_grad()
                F.cross_entropy(functional_call(model, used, (images,)), batch.labels).backward()
                optimizer.step()
                continue
            dense = {name: weight.detach().requires_grad_() for name, weight in used.items()}
            loss = F.cross_entropy(functional_call(model, dense, (images,)), batch.labels)
            slopes = dict(zip(dense, torch.autograd.grad(loss, list(dense.values())), strict=True))
            for name, old in masks.items():
                new = plain_rigl(dense[name], old, slopes[name], step, last_step)
                changed = old ^ new
                with torch.no_grad():  # what is grown starts at zero, without momentum
                    parameters[name][changed] = 0
                    optimizer.state[parameters[name]]["momentum_buffer"][changed] = 0
                masks[name] = new
    with torch.no_grad():
        for name, mask in masks.items():
            parameters[name].mul_(mask)
    return model, masks


def test_rigl_in_a_training_equals_a_plain_loop_of_its_algorithm(splits: Splits) -> None:
    model, masks, log = trained(splits, Rules(mask_rule=RIGL), epochs=3)
    assert masks.keys() < {row["parameter"] for row in log.signs}
    due = [step for step in range(3 * EPOCH_STEPS) if step and step % 3 == 0 and step < 0.75 * 21]
    assert due == [3, 6, 9, 12, 15]
    expected, wanted = plain_loop(splits, 3, lambda step: step in due)
    assert all(torch.equal(mask, wanted[name]) for name, mask in masks.items())
    assert same(model, expected)
    start = half_masks(fresh())
    assert all(int(mask.sum()) == int(start[name].sum()) for name, mask in masks.items())
    assert sum(int((mask ^ start[name]).sum()) for name, mask in masks.items()) > 50


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        (MaskRule("spy", every_steps=4), [4, 8, 12, 16, 20]),
        (MaskRule("spy", every_steps=4, until=0.5), [4, 8]),
        (MaskRule("spy"), [7, 14]),  # once an epoch, and never after the last
    ],
)
def test_a_rule_acts_every_number_of_steps_while_there_are_steps_to_come(
    splits: Splits, rule: MaskRule, steps: list[int]
) -> None:
    acted: list[int] = []

    @mask_rule("spy")
    def spy(update: MaskUpdate) -> Mapping[str, Tensor]:
        assert not update.gradients
        assert update.last_step == rule.until * 21
        acted.append(update.step)
        return update.masks

    model, _, _ = trained(splits, Rules(mask_rule=rule))
    assert acted == steps
    assert same(model, trained(splits, Rules())[0])  # masks that stay, and no gradients: as without the rule


def test_what_is_grown_starts_at_zero_without_momentum_and_what_is_dropped_loses_both(
    splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    after: list[float] = []
    change = DynamicMasks._change_

    def checked(self: DynamicMasks, name: str, old: Tensor, new: Tensor) -> None:
        weight = self._weights[name]
        before = weight.detach().clone()
        momentum = self._optimizer.state[weight]["momentum_buffer"]
        kept_momentum = momentum.clone()
        change(self, name, old, new)
        for values in (weight, momentum):
            assert not values[old ^ new].any()
        assert torch.equal(weight[old & new], before[old & new])
        assert torch.equal(momentum[old & new], kept_momentum[old & new])
        after.append(float((old & ~new).sum()))

    monkeypatch.setattr(DynamicMasks, "_change_", checked)
    model, masks, _ = trained(splits, Rules(mask_rule=SET))
    assert sum(after) > 20
    for name, mask in masks.items():
        assert not model.get_parameter(name)[~mask].any()
        assert model.get_parameter(name)[mask].ne(0).float().mean() > 0.99


def test_captured_steps_stay_captured_and_read_the_new_masks(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    captures = 0

    def counted(*arguments: object) -> object:
        nonlocal captures
        captures += 1
        return recorded(*arguments)  # type: ignore[arg-type]

    def stepped(captured: bool) -> nn.Module:
        model = fresh().train()
        masking = Masking(model, half_masks(model))
        masking.mask_weights_()
        optimizer = make_optimizer(model, SGD)
        step = Step(model, optimizer, masking, None, splits)
        sizes = {"steps": 100, "epoch_steps": EPOCH_STEPS}
        dynamic = DynamicMasks(RIGL, model, masking, optimizer, None, step.differentiate, **sizes, seed=1)
        state = TrainingState(model, optimizer, step.sums, generators=False, more=dynamic.tensors())
        take_step = CapturedStep(step, state, exact=True) if captured else step
        alpha = torch.zeros(())
        for index, batch in enumerate(splits.train.drawn(draw_epoch(len(splits.train), 1, 0, "none"), BATCH, "none")):
            if not (dynamic.due(index) and dynamic.update_(index, batch.images, batch.labels, alpha)):
                take_step(batch.images, batch.labels, alpha)
        return model

    monkeypatch.setattr(CapturedStep, "_capture", counted)
    assert same(stepped(captured=True), stepped(captured=False))
    assert captures == 1  # of full batches; the short one, step 6, gave gradients


def test_a_round_trains_its_network_sparsely_and_its_ticket_has_the_last_masks(
    setting: Setting, training: Training, execution: Execution, tmp_path: Path
) -> None:
    untrained = replace(training, stop_after=0)
    run_stage(Pretrain(setting, untrained, "plain", 1, 10), {}, tmp_path / "zero", execution)
    pruning = Pruning("rigl", Criterion("erk"), prune_at=0, one_shot=True)
    folders = {}
    for name, rules in (("static", Rules()), ("rigl", Rules(mask_rule=RIGL))):
        stage = Round(setting, replace(training, rules=rules), "plain", 3, 0.2, 5, pruning=pruning)
        folders[name] = tmp_path / name
        results = run_stage(stage, {"previous": tmp_path / "zero"}, folders[name], execution)
        assert results["density"] == pytest.approx(0.512, abs=0.01)
    masks = {name: tickets.load(folder / schemas.TICKET).masks for name, folder in folders.items()}
    assert any(not torch.equal(mask, masks["static"][name]) for name, mask in masks["rigl"].items())
    weights, _ = artifacts.load_weights(folders["rigl"] / schemas.WEIGHTS)
    for name, mask in masks["rigl"].items():
        assert int(mask.sum()) == int(masks["static"][name].sum())
        assert not weights[name][~mask].any()
    assert tickets.load(folders["rigl"] / schemas.TICKET).provenance.method == "rigl"


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        (lambda update: {}, "gives a NoneType for"),
        (lambda update: {name: mask.float() for name, mask in update.masks.items()}, "torch.float32 of shape"),
        (lambda update: {name: mask[:1] for name, mask in update.masks.items()}, "return a boolean tensor of shape"),
        (lambda update: None, "gives a NoneType for"),
    ],
)
def test_a_rule_that_gives_no_masks_is_an_error_of_the_stage(
    splits: Splits, returned: Callable[[MaskUpdate], Mapping[str, Tensor]], sentence: str
) -> None:
    mask_rule("wrong")(returned)
    with pytest.raises(StageError, match=f"mask rule wrong gives .*{sentence.split('gives ')[-1]}"):
        trained(splits, Rules(mask_rule=MaskRule("wrong")))


def test_a_dense_network_has_no_masks_to_change(splits: Splits) -> None:
    acted: list[int] = []

    @mask_rule("spy_on_dense")
    def spy(update: MaskUpdate) -> Mapping[str, Tensor]:
        acted.append(update.step)
        return update.masks

    run(fresh(), Training(2, BATCH, SGD, rules=Rules(mask_rule=MaskRule("spy_on_dense"))), splits)
    assert acted == []
