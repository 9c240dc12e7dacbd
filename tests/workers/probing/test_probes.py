"""Probes of pairs, against numbers worked out by hand; values that a probe may not return."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import pytest
import torch
from torch import Tensor, nn

from workers.data.batches import ResidentSplit
from workers.data.splits import Splits
from workers.probing.path import barrier_row, mix, outcomes_by_group, path_outcomes
from workers.probing.probes import PROBES, Pair, measured, probe
from workers.stages import Data, Model, PairProbe, PathEvaluation, Probe, Setting
from workers.stages.execution import StageError

SETTING = Setting("sound", Data("tiny", "tiny-1", 0.1), Model("resnet1d"))
IMAGES = torch.tensor([[0, 1], [1, 0], [2, 3], [9, 8]], dtype=torch.uint8).view(4, 1, 1, 2)


def linear(weight: list[list[float]]) -> nn.Module:
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor(weight)
    return nn.Sequential(nn.Flatten(), layer)


def pair(a: list[list[float]], b: list[list[float]]) -> Pair:
    split = ResidentSplit(IMAGES, torch.arange(4), torch.tensor([0, 1, 0, 1]))
    splits = Splits(split, split, split, torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), torch.contiguous_format)
    return Pair(linear(a), linear(b), ("1.weight",), splits, seed=1)


def measure(name: str, of: Pair) -> Mapping[str, float]:
    return measured(PairProbe(SETTING, name, PROBES[name].version), of)


@pytest.fixture
def returned_numbers() -> Iterator[dict[str, object]]:
    """The numbers that the registered probe "mine" returns."""
    numbers: dict[str, object] = {}
    probe("mine", version=3)(lambda pair: numbers)  # type: ignore[arg-type,return-value]
    yield numbers
    del PROBES["mine"]


def test_weight_distance_gives_the_euclidean_distance_and_the_cosine() -> None:
    numbers = measure("weight_distance", pair([[1.0, 2.0], [0.0, 2.0]], [[1.0, 0.0], [0.0, 0.0]]))
    assert numbers == {"weight_distance_l2": pytest.approx(8**0.5), "weight_distance_cosine": pytest.approx(1 / 3)}
    nothing = measure("weight_distance", pair([[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]))
    assert nothing == {"weight_distance_l2": 1.0, "weight_distance_cosine": 0.0}


def test_disagreement_compares_answers_and_not_logits() -> None:
    same, swapped = [[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]
    twice, first = [[2.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [0.0, 0.0]]
    assert measure("disagreement", pair(same, twice)) == {"disagreement_percent": 0.0}
    assert measure("disagreement", pair(same, swapped)) == {"disagreement_percent": 100.0}
    assert measure("disagreement", pair(same, first)) == {"disagreement_percent": 50.0}  # the first always wins


def test_logits_come_with_labels_and_beat_at_every_batch() -> None:
    beats: list[int] = []
    given = pair([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]])
    of = Pair(given.a, given.b, given.prunable, given.splits, 1, lambda: beats.append(1))
    batches: list[tuple[Tensor, Tensor, Tensor]] = list(of.logits(of.splits.test))
    assert [labels.tolist() for _, _, labels in batches] == [[0, 1, 0, 1]]
    assert torch.equal(batches[0][0], IMAGES.flatten(1).float())
    assert not batches[0][0].requires_grad
    assert len(beats) == len(batches)


def normalized_pair(splits: Splits, path: PathEvaluation | None) -> Pair:
    torch.manual_seed(0)
    a, b = (nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(3)) for _ in range(2))
    for network in (a, b):
        network.eval()(splits.blank(2))
    return Pair(a, b, ("0.weight",), splits, 1, path=path)


def test_points_of_a_path_are_evaluated_as_the_barrier_evaluates_them(splits: Splits) -> None:
    how = PathEvaluation(5, 32, 64, None)
    of, beside = normalized_pair(splits, how), Probe(SETTING, 5, 32, 64, None)
    a, b = of.a.state_dict(), of.b.state_dict()
    lambdas, (expected,) = path_outcomes(of.a, [(a, b)], beside, splits)
    for point, same in zip(of.outcomes(of.at(weight) for weight in lambdas), expected, strict=True):
        assert torch.equal(point.loss_nats, same.loss_nats)
    assert of.barrier() == barrier_row(lambdas, expected)
    assert torch.equal(of.a[1].running_mean, torch.zeros(4))  # the pair's networks stay as they are
    halfway = mix((a, b), (0.5, 0.5))
    ((other,),) = outcomes_by_group(of.a, [halfway], PathEvaluation(5, 32, 64, 0.1), splits)
    assert not torch.equal(other.loss_nats, expected[2].loss_nats)  # the settings matter


def test_a_probe_that_did_not_ask_for_paths_is_told_how(splits: Splits) -> None:
    of = normalized_pair(splits, None)
    for evaluate in (of.barrier, lambda: of.outcomes([of.at(0.5)])):
        with pytest.raises(StageError, match=r"register it with @probe\(name, path=True\)"):
            evaluate()


def test_training_batches_are_drawn_once_for_all_pairs(splits: Splits) -> None:
    one, other = normalized_pair(splits, None), normalized_pair(splits, None)
    drawn = torch.cat([*one.training_batches(20)])
    assert len(drawn) == len({image.numpy().tobytes() for image in drawn}) == 20
    assert torch.equal(drawn, torch.cat([*other.training_batches(20)]))
    everything = splits.normalized(torch.cat([batch.images for batch in splits.train.in_order(7)]))
    assert all((image == everything).flatten(1).all(1).any() for image in drawn)
    assert len(torch.cat([*one.training_batches(10**6)])) == len(splits.train)


def test_draws_are_the_same_for_all_pairs_and_differ_by_label() -> None:
    one, other = pair([[1.0, 0.0], [0.0, 1.0]], [[0.0] * 2] * 2), pair([[0.0] * 2] * 2, [[0.0] * 2] * 2)
    drawn = [torch.rand(3, generator=of.generator("first")) for of in (one, other)]
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], torch.rand(3, generator=one.generator("second")))


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        ({}, "probe mine returns no number"),
        ({"share": math.nan}, "probe mine: share is nan; return finite numbers"),
        ({"A share": 1.0}, "probe mine: name 'A share' in small letters, digits and underscores"),
    ],
)
def test_a_probe_must_return_finite_numbers_under_lowercase_words(
    returned_numbers: dict[str, object], returned: dict[str, object], says: str
) -> None:
    returned_numbers |= returned
    with pytest.raises(ValueError, match=says):
        measure("mine", pair([[0.0] * 2] * 2, [[0.0] * 2] * 2))


def test_a_probe_of_another_version_is_refused(returned_numbers: dict[str, object]) -> None:
    returned_numbers["share"] = 1
    of = pair([[0.0] * 2] * 2, [[0.0] * 2] * 2)
    assert measure("mine", of) == {"mine_share": 1.0}
    for name, version in (("mine", 2), ("other", 1)):
        with pytest.raises(ValueError, match=f"no probe {name} of version {version} is registered"):
            measured(PairProbe(SETTING, name, version), of)


def test_a_name_that_cannot_begin_a_column_is_refused() -> None:
    with pytest.raises(ValueError, match="probe 'My probe': name it in small letters"):
        probe("My probe")
