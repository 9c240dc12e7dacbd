"""Reparametrisations: Sign-In's factors by its formulas, and trainings against autograd through the product."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from tests.workers.training.rules.networks import BATCH, SGD, same, trained
from tests.workers.training.test_trainer import ADAM, fresh, half_masks
from workers.data.augmentation import draw_epoch
from workers.data.splits import Splits
from workers.devices.seeds import generator
from workers.stages import MaskRule, Optimizer, Rule, Rules
from workers.training import Reparametrisation, reparametrisation
from workers.training.psi import psi_names
from workers.training.rules.reparametrisation import Factors, sign_in
from workers.training.step import make_optimizer

SIGN_IN = Rules(reparametrisation=Rule("sign_in"))


@given(st.floats(-3, 3, width=32), st.floats(0.01, 4))
def test_the_factors_of_sign_in_give_the_weight_and_the_inner_scaling(weight: float, beta: float) -> None:
    how = sign_in(beta=beta)
    m, w = how.factors(torch.tensor([weight], dtype=torch.float64))
    assert how.weight(m, w).item() == pytest.approx(weight, abs=1e-12)
    assert (m**2 - w**2).item() == pytest.approx(beta)
    assert m.item() > 0


def test_a_small_step_on_the_factors_moves_the_weight_by_the_preconditioner_of_the_paper() -> None:
    rate, gradient = 1e-6, 1.0
    for weight in (-1.0, -0.1, 0.0, 0.5):
        how = sign_in(beta=0.7)
        m, w = how.factors(torch.tensor([weight], dtype=torch.float64))
        stepped = how.weight(m - rate * gradient * w, w - rate * gradient * m)
        speed = (weight - stepped.item()) / (rate * gradient)
        assert speed == pytest.approx(math.sqrt(0.7**2 + 4 * weight**2), rel=1e-5)  # above 0 at a weight of 0


def plain_loop(splits: Splits, spec: Optimizer, epochs: int, *, aws: bool, reset_epochs: int) -> nn.Module:
    """Train m and w by autograd through m * w * mask, with factors of each start recomputed by hand."""
    model = fresh().train()
    masks, parameters, initial = half_masks(model), dict(model.named_parameters()), psi_names(model)

    def split(weight: torch.Tensor) -> list[torch.Tensor]:
        m = ((1 + (1 + 4 * weight**2).sqrt()) / 2).sqrt()
        return [m, weight / m]

    factors = {
        name: [nn.Parameter(each * mask) for each in split(parameters[name].detach() * mask)]
        for name, mask in masks.items()
    }
    trained_ = [each for name, own in parameters.items() for each in factors.get(name, [own])]
    optimizer = make_optimizer(nn.ParameterList(trained_), spec)
    for epoch in range(epochs):
        if epoch and epoch % reset_epochs == 0:
            with torch.no_grad():
                for name, (m, w) in factors.items():
                    for factor, new in zip((m, w), split(m * w), strict=True):
                        factor.copy_(new * masks[name])
        batches = list(splits.train.drawn(draw_epoch(len(splits.train), 7, epoch, "none"), BATCH, "none"))
        alphas = torch.rand(len(batches), generator=generator(7, "alpha", epoch))
        for batch, alpha in zip(batches, alphas, strict=True):
            used = {name: m * w * masks[name] for name, (m, w) in factors.items()}
            if aws:
                used |= {name: alpha * value + (1 - alpha) * parameters[name] for name, value in initial.items()}
            loss = F.cross_entropy(functional_call(model, used, (splits.normalized(batch.images),)), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        for name, (m, w) in factors.items():
            parameters[name].copy_(m * w * masks[name])
    return model


@pytest.mark.parametrize("spec", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("aws", [True, False], ids=["aws", "lrr"])
def test_a_training_equals_autograd_through_the_product(splits: Splits, spec: Optimizer, aws: bool) -> None:
    rules = Rules(reparametrisation=Rule("sign_in", {"reset_epochs": 2}))
    model, masks, _ = trained(splits, rules, spec=spec, aws=aws)
    expected = plain_loop(splits, spec, 3, aws=aws, reset_epochs=2)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, expected.state_dict()[name], rtol=1e-4, atol=1e-5, msg=name)
    assert all(not model.get_parameter(name)[~mask].any() for name, mask in masks.items())
    plain, _, _ = trained(splits, Rules(), spec=spec, aws=aws)
    assert not same(model, plain)


def test_the_scaling_is_reset_and_the_weights_stay(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    resets: list[float] = []
    reset = Factors.reset_

    def checked(self: Factors, masks: dict[str, torch.Tensor]) -> None:
        before = {name: weight.clone() for name, weight in self._weights.items()}
        shrunk = [
            float((m.detach() ** 2 - w.detach() ** 2 - 1)[masks[name]].abs().max())
            for name, (m, w) in self.by_weight.items()
        ]
        reset(self, masks)
        for name, (m, w) in self.by_weight.items():
            torch.testing.assert_close((m**2 - w**2)[masks[name]], torch.ones(int(masks[name].sum())))
            torch.testing.assert_close(m * w, before[name], rtol=1e-5, atol=1e-6)
            assert torch.equal(self._weights[name], before[name])
            assert not m[~masks[name]].any()
        resets.append(max(shrunk))

    monkeypatch.setattr(Factors, "reset_", checked)
    trained(splits, Rules(reparametrisation=Rule("sign_in", {"reset_epochs": 1})))
    assert len(resets) == 2  # before the second and the third epoch
    assert min(resets) > 1e-4  # weight decay and noise had shrunk it


def test_a_grown_weight_gets_the_factors_of_zero(splits: Splits) -> None:
    never = Rule("sign_in", {"reset_epochs": 100})
    rules = Rules(reparametrisation=never, mask_rule=MaskRule("rigl", every_steps=3, until=0.75))
    model, masks, _ = trained(splits, rules)
    start = half_masks(fresh())
    grown = {name: mask & ~start[name] for name, mask in masks.items()}
    assert sum(int(each.sum()) for each in grown.values()) > 20
    moved = torch.cat([model.get_parameter(name)[each] for name, each in grown.items()])
    assert moved.ne(0).float().mean() > 0.9  # with zero factors they would stay at zero for ever
    assert all(not model.get_parameter(name)[~mask].any() for name, mask in masks.items())


def test_any_registered_factors_train_by_the_chain_rule(splits: Splits) -> None:
    @reparametrisation("itself")
    def itself() -> Reparametrisation:
        return Reparametrisation(lambda weight: (weight.clone(),), lambda factor: factor * 1.0)

    model, _, _ = trained(splits, Rules(reparametrisation=Rule("itself")))
    assert same(model, trained(splits, Rules())[0])
