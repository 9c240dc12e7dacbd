"""The rules of AWS's interpolation of psi, one test each."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from workers.training.evaluation import evaluate
from workers.training.psi import PsiInterpolation, psi_names


def network() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.LayerNorm((4, 6), eps=0.3), nn.Flatten(), nn.Linear(24, 3)
    )
    with torch.no_grad():
        for name in psi_names(model):
            model.get_parameter(name).normal_()
    return model


def by_hand(model: nn.Sequential, x: torch.Tensor, alpha: float) -> torch.Tensor:
    """The forward pass by the paper's formula, with one alpha for both layers."""
    batch, layer = model[1], model[2]
    x = model[0](x)
    scale, shift = alpha * 1 + (1 - alpha) * batch.weight, (1 - alpha) * batch.bias
    x = F.batch_norm(x, None, None, scale, shift, training=True)
    scale, shift = alpha * 1 + (1 - alpha) * layer.weight, (1 - alpha) * layer.bias
    x = F.layer_norm(x, layer.normalized_shape, scale, shift, layer.eps)
    return model[4](x.flatten(1))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_forward_pass_is_the_formula_for_batch_and_layer_norm(alpha: float) -> None:
    model, x = network(), torch.randn(5, 2, 8)
    actual = PsiInterpolation(model)(x, torch.tensor(alpha))
    torch.testing.assert_close(actual, by_hand(model, x, alpha))


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_gradient_of_psi_carries_one_minus_alpha(alpha: float) -> None:
    gamma = nn.BatchNorm1d(3)
    model = nn.Sequential(gamma)
    with torch.no_grad():
        gamma.weight.copy_(torch.tensor([2.0, -1.0, 0.5]))
    x, direction = torch.randn(6, 3), torch.randn(6, 3)
    (PsiInterpolation(model)(x, torch.tensor(alpha)) * direction).sum().backward()
    plain = F.batch_norm(x, None, None, training=True)  # d output / d scale
    torch.testing.assert_close(gamma.weight.grad, (1 - alpha) * (plain * direction).sum(0))
    torch.testing.assert_close(gamma.bias.grad, (1 - alpha) * direction.sum(0))


def test_psi_is_never_overwritten() -> None:
    model = network()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    call = PsiInterpolation(model)
    for alpha in (1.0, 0.5):
        call(torch.randn(5, 2, 8), torch.tensor(alpha)).sum().backward()
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())


def test_only_psi_is_interpolated() -> None:
    model = network()
    assert sorted(psi_names(model)) == ["1.bias", "1.weight", "2.bias", "2.weight"]


def test_running_statistics_are_updated_through_the_interpolation() -> None:
    model = network()
    PsiInterpolation(model)(torch.randn(5, 2, 8), torch.tensor(0.5))
    assert int(model[1].num_batches_tracked) == 1
    assert model[1].running_mean.count_nonzero() == 4


def test_evaluation_uses_plain_psi(splits) -> None:  # type: ignore[no-untyped-def]
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    with torch.no_grad():
        model[1].weight.fill_(3.0)
        model[1].bias.fill_(-2.0)
    PsiInterpolation(model)(splits.normalized(next(splits.train.in_order(8)).images), torch.tensor(1.0))
    (outcomes,) = evaluate([model], splits, splits.test)
    model.eval()
    with torch.no_grad():
        logits = model(splits.normalized(next(splits.test.in_order(60)).images))
    expected = F.cross_entropy(logits, splits.test.labels, reduction="none").double()
    torch.testing.assert_close(outcomes.loss_nats, expected)
