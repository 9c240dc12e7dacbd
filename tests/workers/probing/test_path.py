"""The path probe: barriers, interpolation, and re-estimated batch-norm statistics."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from workers.data.augmentation import draw_epoch
from workers.data.splits import Splits
from workers.probing.path import barrier, mix, path_outcomes, standard_error
from workers.stages import Data, Model, Probe, Setting
from workers.training.evaluation import Reestimation, reestimate_statistics

PROBE = Probe(Setting("sound", Data("tiny", "tiny-1", 0.1), Model("resnet1d")), 5, 32, 64, None)


def test_the_barrier_is_the_maximum_above_the_mean_of_the_ends() -> None:
    values = [torch.tensor(v) for v in ([0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0])]
    measured = barrier([0, 0.25, 0.5, 0.75, 1], values)
    assert measured.height == pytest.approx(1.0 - (0.0 + 0.5) / 2)
    assert measured.at == 0.5


def test_the_barrier_is_measured_from_the_ends_mean_and_not_from_their_chord() -> None:
    # on a straight slope the barrier above the chord would be 0
    values = [torch.tensor([v]) for v in (0.0, 0.1, 0.2, 0.3, 0.4)]
    measured = barrier([0, 0.25, 0.5, 0.75, 1], values)
    assert measured.height == pytest.approx(0.2)
    assert measured.at == 1
    assert measured.above_chord == pytest.approx(0, abs=1e-6)


def test_a_barrier_above_the_chord_is_measured_from_the_line_between_unequal_ends() -> None:
    values = [torch.tensor([v], dtype=torch.float64) for v in (0.1, 0.5, 0.55, 0.5, 0.5)]
    measured = barrier([0, 0.25, 0.5, 0.75, 1], values)
    assert measured.height == pytest.approx(0.55 - 0.3)
    assert measured.above_chord == pytest.approx(0.5 - 0.2)  # at 0.25, where the line is at 0.2


def test_standard_error_of_a_barrier_is_paired_over_images() -> None:
    stream = torch.Generator().manual_seed(0)
    shared = torch.rand(400, generator=stream).double()  # how hard an image is, the same along the whole path
    noise = torch.rand(400, generator=stream).double()
    measured = barrier([0, 0.5, 1], [shared, shared + noise, shared])
    assert measured.standard_error == pytest.approx(float(noise.std()) / math.sqrt(400), rel=0.1)
    assert standard_error(torch.ones(1)) == 0


def test_standard_error_of_a_barrier_accounts_for_the_choice_of_lambda() -> None:
    # five points of one height, each with noise of its own: of their maximum, the error is smaller than of each
    stream = torch.Generator().manual_seed(0)
    flat = [0.5 + torch.randn(2000, generator=stream).double() for _ in range(5)]
    zero = torch.zeros(2000, dtype=torch.float64)
    lambdas = [index / 6 for index in range(7)]
    measured = barrier(lambdas, [zero, *flat, zero])
    alone = barrier([0, 0.5, 1], [zero, flat[0], zero])
    redrawn = 0.5 + torch.randn(200, 5, 2000, generator=stream).double()
    truth = float(redrawn.mean(2).amax(1).std())
    assert measured.standard_error == pytest.approx(truth, rel=0.35)
    assert alone.standard_error > 1.2 * truth
    assert barrier(lambdas, [zero, *flat, zero]) == measured  # the same resamples each time


def test_every_kind_of_parameter_is_interpolated() -> None:
    # released code: LayerNorm and Conv1d stayed random, so that MLP-Mixer's curve meant nothing
    def network(seed: int) -> nn.Sequential:
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv1d(1, 2, 3),
            nn.Conv2d(2, 2, 1),
            nn.BatchNorm1d(2),
            nn.LayerNorm(4),
            nn.GroupNorm(1, 2),
            nn.Linear(2, 2),
        )
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                nn.init.normal_(tensor)
        return model

    a, b = network(0).state_dict(), network(1).state_dict()
    mixed = mix((a, b), (0.25, 0.75))
    for name, tensor in mixed.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 0.25 * a[name] + 0.75 * b[name])
            assert not torch.equal(tensor, a[name]), name
    assert all(torch.equal(t, a[name]) for name, t in mix((a, b), (1.0, 0.0)).items())
    assert all(torch.equal(t, b[name]) for name, t in mix((a, b), (0.0, 1.0)).items())


def test_networks_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in their tensors"):
        mix(({"a": torch.ones(2)}, {"a": torch.ones(3)}), (0.5, 0.5))


def norm_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def test_statistics_are_reset_and_averaged_over_all_batches(splits: Splits) -> None:
    model = norm_network()
    model[1].running_mean.fill_(1e6)
    model[1].num_batches_tracked.fill_(50)  # as after a training: an average that continued would hardly move
    reestimate_statistics([model], splits, Reestimation(96, 32, None, "none", draw_seed=4))
    draws = draw_epoch(len(splits.train), 4, 0, "none")[:96]
    means = [
        model[0](splits.normalized(batch.images)).mean((0, 2, 3)) for batch in splits.train.drawn(draws, 32, "none")
    ]
    torch.testing.assert_close(model[1].running_mean, torch.stack(means).mean(0))
    assert model[1].momentum == 0.1  # as it was


def test_reference_momentum_is_one_moving_average_pass(splits: Splits) -> None:
    model = norm_network()
    start = model[1].running_mean.fill_(5.0).clone()
    reestimate_statistics([model], splits, Reestimation(32, 32, 0.1, "none", draw_seed=0))
    (batch,) = splits.train.drawn(draw_epoch(len(splits.train), 0, 0, "none")[:32], 32, "none")
    batch_mean = model[0](splits.normalized(batch.images)).mean((0, 2, 3))
    torch.testing.assert_close(model[1].running_mean, 0.9 * start + 0.1 * batch_mean)


def test_a_reset_pass_of_five_batches_starts_from_a_fresh_networks_statistics(splits: Splits) -> None:
    # the released code loads the interpolated weights into a fresh network; what stayed would weigh 0.9 ** 5
    model = norm_network()
    model[1].running_mean.fill_(1e6)
    model[1].running_var.fill_(1e6)
    how = Reestimation(5 * 32, 32, 0.1, "none", draw_seed=0, reset=True)
    reestimate_statistics([model], splits, how)
    mean, variance = torch.zeros(4), torch.ones(4)
    for batch in splits.train.drawn(draw_epoch(len(splits.train), 0, 0, "none")[: 5 * 32], 32, "none"):
        outputs = model[0](splits.normalized(batch.images)).transpose(0, 1).flatten(1)
        mean, variance = 0.9 * mean + 0.1 * outputs.mean(1), 0.9 * variance + 0.1 * outputs.var(1)
    torch.testing.assert_close(model[1].running_mean, mean)
    torch.testing.assert_close(model[1].running_var, variance)


def test_a_stage_says_whether_its_pass_resets_first(splits: Splits) -> None:
    states = [norm_network().state_dict() for _ in range(2)]
    for state in states:
        state["1.running_mean"] = torch.full((4,), 1e3)
    probe = replace(PROBE, points=3, bn_momentum=0.1)
    (kept,), (reset,) = (
        path_outcomes(norm_network(), [tuple(states)], replace(probe, bn_reset=first), splits)[1]
        for first in (False, True)
    )
    assert not torch.equal(kept[1].loss_nats, reset[1].loss_nats)


class FunctionalDropout(nn.Module):
    """Functional dropout, as in many networks; only the mode turns it off."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x, 0.5, self.training)


@pytest.mark.parametrize("noise", [nn.Dropout2d(0.5), StochasticDepth(0.5, "row"), FunctionalDropout()])
def test_dropout_is_off_while_statistics_are_estimated(splits: Splits, noise: nn.Module) -> None:
    how = Reestimation(96, 32, None, "none", draw_seed=4)
    plain, model = norm_network(), nn.Sequential(noise, norm_network()).train()
    before = torch.random.get_rng_state()
    reestimate_statistics([plain], splits, how)
    reestimate_statistics([model], splits, how)
    assert torch.equal(model[1][1].running_mean, plain[1].running_mean)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(module.training for module in model.modules())


def test_a_path_goes_from_b_to_a_and_reestimates_at_every_point(splits: Splits) -> None:
    model = norm_network()
    a = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    b = {name: tensor.clone() for name, tensor in a.items()}
    b["4.bias"] = b["4.bias"] + torch.tensor([0.0, 9.0, 0.0])  # b always answers class 1
    b["1.running_mean"] = torch.full((4,), 1e3)  # re-estimated at every point
    lambdas, (outcomes,) = path_outcomes(model, [(a, b)], PROBE, splits)
    assert lambdas == [0, 0.25, 0.5, 0.75, 1]
    always_one = 100 * float((splits.test.labels != 1).double().mean())
    assert outcomes[0].error_percent == pytest.approx(always_one)
    _, (again,) = path_outcomes(model, [(a, a)], replace(PROBE, points=3), splits)
    assert torch.equal(again[0].loss_nats, outcomes[-1].loss_nats)


def test_a_path_from_a_network_to_itself_has_no_barrier(splits: Splits, tmp_path: Path) -> None:
    state = norm_network().state_dict()
    lambdas, (outcomes,) = path_outcomes(norm_network(), [(state, state)], PROBE, splits)
    assert barrier(lambdas, [point.loss_nats for point in outcomes]).height == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("group_size", [1, 3, 10**6])
def test_pairs_probed_together_give_the_outcomes_of_pairs_probed_alone_and_share_their_ends(
    splits: Splits, group_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def state(seed: int) -> dict[str, torch.Tensor]:
        shapes = norm_network().state_dict()  # which seeds torch itself
        torch.manual_seed(seed)
        return {n: torch.rand_like(t) if t.is_floating_point() else t for n, t in shapes.items()}

    a, b, c = (state(seed) for seed in (1, 2, 3))
    alone = [path_outcomes(norm_network(), [pair], PROBE, splits)[1][0] for pair in ((a, b), (b, c))]
    assert len({float(point.loss_nats.mean()) for path in alone for point in path}) == 5 + 5 - 1  # all points differ
    size = sum(tensor.nbytes for tensor in a.values())
    monkeypatch.setattr("workers.probing.path.NETWORKS_BYTES", group_size * size)
    network, forwards = norm_network(), list[None]()
    network.register_forward_hook(lambda *_: forwards.append(None))
    _, together = path_outcomes(network, [(a, b), (b, c)], PROBE, splits)
    assert len(forwards) == (5 + 5 - 1) * (64 // 32 + 1)  # b ends both paths
    for one, two in zip(alone, together, strict=True):
        assert all(torch.equal(p.loss_nats, q.loss_nats) for p, q in zip(one, two, strict=True))


def test_every_batch_is_loaded_once_for_all_points_of_all_pairs(splits: Splits) -> None:
    state = norm_network().state_dict()
    batches = 0

    def count() -> None:
        nonlocal batches
        batches += 1

    path_outcomes(norm_network(), [(state, state)] * 3, PROBE, splits, count)
    assert batches == 64 // 32 + 1  # re-estimation, and the 60 test images
