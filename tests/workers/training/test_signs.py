"""Signs over time: counts against plain loops over whole networks, and psi's drift against its definition."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from workers.training.signs import MOST_RECORDS, SignRecorder, record_points, signs_summary


@given(st.integers(0, 5), st.integers(1, 200), st.integers(1, 400))
def test_records_begin_at_the_start_end_at_the_end_and_are_few(first: int, epochs: int, batches: int) -> None:
    points = record_points(range(first, first + epochs), batches)
    assert points[0] == (first, 0)
    assert points[-1] == (first + epochs, 0)
    assert all(one < next_ for one, next_ in pairwise(points))
    assert len(points) <= MOST_RECORDS
    assert all(batch < batches for _, batch in points)
    if epochs <= MOST_RECORDS - 4:
        assert {(first + epoch, 0) for epoch in range(epochs + 1)} <= {*points}


def test_a_training_without_epochs_records_nothing() -> None:
    model = nn.Linear(2, 2)
    recorder = SignRecorder(model, {"weight": torch.ones(2, 2, dtype=torch.bool)}, range(3, 3), 5)
    recorder.record(3, 0)
    assert recorder.rows() == []
    assert signs_summary([]) == {}


class Recorded:
    """A network of two layers whose weights and psi are drawn anew before each record, and copies of them all."""

    def __init__(self, epochs: int) -> None:
        stream = torch.Generator().manual_seed(epochs)
        self.model = nn.Sequential(nn.Linear(5, 7, bias=False), nn.BatchNorm1d(7), nn.Linear(7, 3))
        self.masks = {
            name: torch.rand(self.model.get_parameter(name).shape, generator=stream) < 0.6
            for name in ("0.weight", "2.weight")
        }
        self.points = record_points(range(2, 2 + epochs), 40)
        self.recorder = SignRecorder(self.model, self.masks, range(2, 2 + epochs), 40)
        self.copies: list[dict[str, Tensor]] = []
        for epoch, batch in self.points:
            with torch.no_grad():
                for parameter in self.model.parameters():  # a third of the signs change
                    parameter.copy_(parameter + torch.randn(parameter.shape, generator=stream) / 3)
            self.copies.append({name: p.detach().clone() for name, p in self.model.named_parameters()})
            self.recorder.record(epoch, batch)
            self.recorder.record(epoch, batch + 1)  # no point: recorded nowhere
        self.rows = {(row["step"], row["parameter"]): row for row in self.recorder.rows()}


@pytest.mark.parametrize("epochs", [2, 9, 60])  # histories of 8, 16 and 32 bits
def test_counts_equal_a_plain_loop_over_the_surviving_weights(epochs: int) -> None:
    recorded = Recorded(epochs)
    for name, mask in recorded.masks.items():
        signs = [[bool(value < 0) for value in copy[name][mask]] for copy in recorded.copies]
        for number, (epoch, batch) in enumerate(recorded.points):
            row = recorded.rows[(epoch - 2) * 40 + batch, name]
            now, before = signs[number], signs[max(number - 1, 0)]
            later = list(zip(*signs[number:], strict=True))
            assert row["epoch"] == epoch + batch / 40
            assert row["elements"] == int(mask.sum())
            assert row["flips"] == sum(a != b for a, b in zip(before, now, strict=True))
            assert row["flips_from_start"] == sum(a != b for a, b in zip(signs[0], now, strict=True))
            assert row["flips_to_end"] == sum(a != b for a, b in zip(signs[-1], now, strict=True))
            assert row["flip_later"] == sum(len({*history}) > 1 for history in later)
            assert row["drift_rms"] is None


def test_under_changing_masks_a_weight_counts_where_it_is_alive_and_flips_between_records_that_both_have_it() -> None:
    stream = torch.Generator().manual_seed(1)
    model = nn.Linear(6, 5, bias=False)
    masks = {"weight": torch.ones(5, 6, dtype=torch.bool)}
    recorder = SignRecorder(model, masks, range(0, 20), 1, current_masks=lambda: masks)
    course: list[tuple[list[bool], list[bool]]] = []
    for epoch in range(21):
        with torch.no_grad():
            model.weight.copy_(torch.randn(5, 6, generator=stream))
        masks["weight"] = torch.rand(5, 6, generator=stream) < 0.5
        recorder.record(epoch, 0)
        course.append(((model.weight < 0).flatten().tolist(), masks["weight"].flatten().tolist()))

    def flips(one: int, other: int, weight: int) -> bool:
        (sign, alive), (other_sign, other_alive) = course[one], course[other]
        return alive[weight] and other_alive[weight] and sign[weight] != other_sign[weight]

    for number, row in enumerate(recorder.rows()):
        alive = course[number][1]
        assert row["elements"] == sum(alive)
        assert row["flips"] == sum(flips(max(number - 1, 0), number, weight) for weight in range(30))
        assert row["flips_from_start"] == sum(flips(0, number, weight) for weight in range(30))
        assert row["flips_to_end"] == sum(flips(number, 20, weight) for weight in range(30))
        assert row["flip_later"] == sum(
            alive[weight] and any(flips(later, later + 1, weight) for later in range(number, 20))
            for weight in range(30)
        )
    # a checkpoint holds both histories
    again = SignRecorder(model, masks, range(0, 20), 1, current_masks=lambda: masks)
    again.unpack(recorder.tensors())
    assert again.rows() == recorder.rows()


def test_drift_is_the_distance_from_a_scale_of_1_and_a_shift_of_0() -> None:
    recorded = Recorded(2)
    for number, (epoch, batch) in enumerate(recorded.points):
        for name, initial in (("1.weight", 1.0), ("1.bias", 0.0)):
            drift = recorded.copies[number][name] - initial
            row = recorded.rows[(epoch - 2) * 40 + batch, name]
            assert row["drift_rms"] == pytest.approx(float(drift.square().mean().sqrt()), rel=1e-5)
            assert row["drift_max"] == pytest.approx(float(drift.abs().max()), rel=1e-6)
            assert (row["elements"], row["flips"]) == (7, None)


def test_a_record_keeps_the_flips_of_all_layers_and_when_their_signs_lock_in() -> None:
    model = nn.Sequential(nn.Linear(10, 10, bias=False), nn.BatchNorm1d(10), nn.Linear(10, 20, bias=False))
    masks = {name: torch.ones_like(model.get_parameter(name), dtype=torch.bool) for name in ("0.weight", "2.weight")}
    with torch.no_grad():
        for name in masks:
            model.get_parameter(name).fill_(1.0)
        model.get_parameter("1.weight").fill_(1.3)
    recorder = SignRecorder(model, masks, range(4, 8), 1)
    flips_before_epoch = {5: 30, 6: 4, 7: 3}  # 3 of 300 are 1 %: locked in at the end of the second epoch
    for epoch in range(4, 9):
        with torch.no_grad():
            model.get_parameter("2.weight").view(-1)[100 : 100 + flips_before_epoch.get(epoch, 0)] *= -1
        recorder.record(epoch, 0)
    summary = signs_summary(recorder.rows())
    # 30 flip, 4 of them back, 3 of these again
    assert summary["sign_flips_percent"] == pytest.approx(100 * 29 / 300)
    assert summary["sign_lock_in_epochs"] == 2
    assert summary["psi_drift_rms"] == pytest.approx(0.3 / 2**0.5)  # of ten scales and ten shifts
