"""The distribution of AWS's alpha: its range and moments, its default to the bit, and its use in training."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.data.splits import Splits
from workers.devices.seeds import generator
from workers.models import build_model
from workers.stages import UNIFORM, Alpha, Model, Optimizer, Training
from workers.stages.execution import Control
from workers.training.psi import draw_alphas
from workers.training.trainer import train

SHAPES = st.floats(0.05, 50)


def draws(alpha: Alpha, batches: int = 4000, seed: int = 7) -> torch.Tensor:
    return draw_alphas(alpha, batches, generator(seed, "alpha", 0))


def test_the_default_distribution_keeps_the_draws_of_all_earlier_results() -> None:
    assert torch.equal(draws(UNIFORM), torch.rand(4000, generator=generator(7, "alpha", 0)))
    golden = torch.tensor([0.2436833382, 0.3174244165, 0.3338464499])
    torch.testing.assert_close(draws(UNIFORM, 3), golden, rtol=0, atol=0)


@given(SHAPES, SHAPES, st.integers(0, 2**40))
def test_beta_stays_within_0_and_1_and_has_its_mean_and_variance(a: float, b: float, seed: int) -> None:
    alphas = draws(Alpha("beta", (a, b)), seed=seed)
    assert alphas.dtype == torch.float32
    assert alphas.shape == (4000,)
    assert 0 <= float(alphas.min()) <= float(alphas.max()) <= 1
    mean, variance = a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1))
    assert float(alphas.double().mean()) == pytest.approx(mean, abs=6 * (variance / 4000) ** 0.5 + 1e-7)
    assert float(alphas.double().var()) == pytest.approx(variance, abs=0.03)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**40))
def test_uniform_stays_between_low_and_high(one: float, two: float, seed: int) -> None:
    low, high = sorted((one, two))
    alphas = draws(Alpha("uniform", (low, high)), 200, seed)
    ends = torch.tensor([low, high])
    assert ends[0] <= alphas.min()
    assert alphas.max() <= ends[1]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("uniform", (0.5, 0.4)),
        ("uniform", (-0.1, 1.0)),
        ("uniform", (0.0, 1.1)),
        ("uniform", (float("nan"), 1.0)),
        ("beta", (0.0, 1.0)),
        ("beta", (1.0, -1.0)),
        ("beta", (1.0, float("inf"))),
    ],
)
def test_a_distribution_outside_0_to_1_is_refused(name: str, parameters: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=f"{name} takes"):
        Alpha(name, parameters)  # type: ignore[arg-type]


def test_training_draws_alpha_from_the_distribution(splits: Splits) -> None:
    def trained(alpha: Alpha | None) -> torch.Tensor:
        model = build_model(Model("resnet1d", {"width": 4}), in_channels=1, num_classes=3, init_seed=3)
        model = model.to(memory_format=torch.channels_last)
        training = Training(1, 64, Optimizer(0.05))
        how = {"masks": {}, "sgd_seed": 7, "watched": {}, "control": Control()}
        train(model, training, splits, alpha=alpha, **how)  # type: ignore[arg-type]
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    none, beta = Alpha("uniform", (0.0, 0.0)), Alpha("beta", (2.0, 2.0))
    torch.testing.assert_close(trained(none), trained(None))
    assert not torch.equal(trained(beta), trained(UNIFORM))
