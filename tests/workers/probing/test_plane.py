"""The plane through three solutions, and the error landscape on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workers.data.splits import Splits
from workers.probing.landscape import Plane, landscape_rows, plane_through
from workers.probing.path import mix
from workers.stages import Data, Landscape, Model, Setting
from workers.stages.execution import Control, Interrupted
from workers.training.evaluation import Reestimation, evaluate, reestimate_statistics

STAGE = Landscape(Setting("sound", Data("tiny", "tiny-1", 0.1), Model("resnet1d")), 4, 0.25, 32, 64, None)
ROWS = 3 + 4 * 4


def linear() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def norm_network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def three(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Three random states of a network."""
    stream = torch.Generator().manual_seed(0)

    def state() -> dict[str, Tensor]:
        return {
            name: torch.rand(tensor.shape, generator=stream) + 0.1 if tensor.is_floating_point() else tensor.clone()
            for name, tensor in model.state_dict().items()
        }

    return {slot: state() for slot in ("a", "b", "c")}


def flat(state: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([tensor.double().reshape(-1) for tensor in state.values()])


# --- the plane -------------------------------------------------------------------------------------------------------


def test_the_plane_through_a_triangle_worked_out_by_hand() -> None:
    a, b, c = ({"w": torch.tensor([x]), "b": torch.tensor([y])} for x, y in ((1.0, 1.0), (1.0, 5.0), (4.0, 2.0)))
    plane = plane_through(a, b, c)
    assert (plane.b_x, plane.c_x, plane.c_y) == pytest.approx((4, 1, 3))
    assert plane.solutions == {"a": (0, 0), "b": (plane.b_x, 0), "c": (plane.c_x, plane.c_y)}


def test_distances_in_the_plane_equal_distances_between_weights() -> None:
    states = three(linear())
    plane = plane_through(**states)
    places = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (-2.0, 3.0), (5.0, -1.0)]
    networks = [flat(mix([*states.values()], plane.shares(x, y))) for x, y in places]
    for place, network in zip(places, networks, strict=True):
        for other_place, other in zip(places, networks, strict=True):
            assert float((network - other).norm()) == pytest.approx(math.dist(place, other_place), abs=1e-5)


def test_shares_are_exact_at_the_solutions() -> None:
    plane = plane_through(**three(linear()))
    shares = {slot: plane.shares(x, y) for slot, (x, y) in plane.solutions.items()}
    assert shares == {"a": (1, 0, 0), "b": (0, 1, 0), "c": (0, 0, 1)}


def test_the_grid_extends_beyond_the_solutions_by_the_margin_on_every_side() -> None:
    grid = Plane(4.0, -1.0, 3.0).grid(3, 0.2)  # 5 wide, 3 high
    assert grid == [(x, y) for y in (-1.0, 1.5, 4.0) for x in (-2.0, 1.5, 5.0)]


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.0, 1.0), (0.3, 0.7)])
def test_three_networks_on_one_line_are_refused(shares: tuple[float, float]) -> None:
    states = three(linear())
    states["c"] = mix((states["a"], states["b"]), shares)
    with pytest.raises(ValueError, match="lie on one line"):
        plane_through(**states)
    with pytest.raises(ValueError, match="lie on one line"):
        plane_through(states["a"], states["a"], states["b"])


# --- the landscape ---------------------------------------------------------------------------------------------------


def test_the_landscape_of_a_linear_network_worked_out_by_hand(splits: Splits) -> None:
    model = linear()
    states = three(model)
    rows = landscape_rows(model, states, STAGE, splits, Control())
    assert len(rows) == ROWS
    a, b, c = (flat(state) for state in states.values())
    u = (b - a) / (b - a).norm()
    v = (c - a) - ((c - a) @ u) * u
    v /= v.norm()
    (batch,) = splits.test.in_order(1000)
    images = splits.normalized(batch.images).flatten(1).double()
    for row in rows:
        theta = a + row["x"] * u + row["y"] * v
        logits = images @ theta[:192].reshape(3, 64).T + theta[192:]
        losses = F.cross_entropy(logits, batch.labels, reduction="none")
        assert row["loss_nats"] == pytest.approx(float(losses.mean()), rel=1e-4)
        wrong = (logits.argmax(1) != batch.labels).double()
        assert row["error_percent"] == pytest.approx(100 * float(wrong.mean()), abs=2)  # one image may be on the edge
        assert row["loss_standard_error_nats"] == pytest.approx(float(losses.std()) / math.sqrt(60), rel=1e-3)


def test_each_solution_has_the_error_it_has_when_measured_alone(splits: Splits) -> None:
    model = norm_network()
    states = three(model)
    rows = landscape_rows(model, states, STAGE, splits, Control())
    assert [row["solution"] for row in rows] == ["a", "b", "c", *[None] * 16]
    for slot, row in zip("abc", rows[:3], strict=True):
        model.load_state_dict(states[slot])
        reestimate_statistics([model], splits, Reestimation(64, 32, None, "none", draw_seed=0))
        (alone,) = evaluate([model], splits, splits.test)
        assert (row["error_percent"], row["loss_nats"]) == (alone.error_percent, alone.mean_loss_nats)


def test_statistics_are_never_extrapolated(splits: Splits) -> None:
    # a moving average remembers its start, so a negative variance there would make every loss NaN
    model = norm_network()
    states = three(model)
    states["b"]["1.running_var"] += 1e6
    far = replace(STAGE, margin=5.0, bn_momentum=0.1)
    assert all(math.isfinite(row["loss_nats"]) for row in landscape_rows(model, states, far, splits, Control()))


def test_networks_that_differ_are_refused(splits: Splits) -> None:
    states = three(linear()) | {"c": three(norm_network())["c"]}
    with pytest.raises(ValueError, match="differ in their tensors"):
        landscape_rows(linear(), states, STAGE, splits, Control())


def test_every_batch_is_loaded_once_for_all_points_of_a_group(splits: Splits) -> None:
    beats = 0

    def count() -> None:
        nonlocal beats
        beats += 1

    model = norm_network()
    landscape_rows(model, three(model), STAGE, splits, Control(beat=count))
    assert beats == 64 // 32 + 1


def test_an_interrupted_landscape_resumes_after_its_last_row_to_the_same_bits(
    splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, beats = norm_network(), 0
    states = three(model)
    whole = landscape_rows(model, states, STAGE, splits, Control())
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    monkeypatch.setattr("workers.probing.path.NETWORKS_BYTES", 5 * size)  # 19 points in 4 groups of 3 batches each

    def count() -> None:
        nonlocal beats
        beats += 1

    checkpointed: list[Path] = []
    first = Control(tmp_path / "1", beat=count, should_stop=lambda: beats == 8, checkpointed=checkpointed.append)
    with pytest.raises(Interrupted):
        landscape_rows(model, states, STAGE, splits, first)
    assert checkpointed == [tmp_path / "1"]
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["00000-0000010.safetensors"]
    beats = 0
    again = Control(tmp_path / "2", earlier=(tmp_path / "1",), beat=count, checkpoint_interval_s=0)
    assert landscape_rows(model, states, STAGE, splits, again) == whole
    assert beats == 6
    assert [path.name for path in (tmp_path / "2").iterdir()] == ["00000-0000015.safetensors"]
