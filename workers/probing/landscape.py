"""The error landscape: error and loss over the plane through three solutions, in distances between weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from torch import Tensor, nn

from workers.data.splits import Splits
from workers.probing.path import State, check_alike, mix, outcome_row, outcomes_by_group
from workers.stages import Landscape
from workers.stages.execution import Control, Interrupted, StageError
from workers.storage.schemas import LANDSCAPE_SCHEMA
from workers.training.checkpoint import Position, Snapshot, newest_checkpoint, save_checkpoint

FLATTEST = 1e-6  # smallest ratio of the triangle's height to its base; below, rounding would decide the direction


@dataclass(frozen=True)
class Plane:
    """The plane a + x * u + y * v, where u points from a to b, v is orthogonal to u, and both have length 1.

    So distances in the plane are distances between weights. a lies at (0, 0) and b at (b_x, 0).

    Attributes:
        b_x: distance between a and b.
        c_x, c_y: coordinates of c; c_y is positive.
    """

    b_x: float
    c_x: float
    c_y: float

    @property
    def solutions(self) -> dict[str, tuple[float, float]]:
        """Coordinates of the three networks by name: a, b and c."""
        return {"a": (0.0, 0.0), "b": (self.b_x, 0.0), "c": (self.c_x, self.c_y)}

    def shares(self, x: float, y: float) -> tuple[float, float, float]:
        """Barycentric coordinates (a, b, c) of a point: negative outside the triangle, exact at its corners."""
        c = y / self.c_y
        b = (x - c * self.c_x) / self.b_x
        return 1 - b - c, b, c

    def grid(self, points: int, margin: float) -> list[tuple[float, float]]:
        """Coordinates of points * points grid points, evenly spaced, in rows of equal y.

        Args:
            margin: how far the grid extends beyond the networks, as a share of the longer side of their bounding box.
        """
        xs, ys = zip(*self.solutions.values(), strict=True)
        beyond = margin * max(max(xs) - min(xs), max(ys) - min(ys))
        columns, rows = (
            [low + (high - low) * index / (points - 1) for index in range(points)]
            for low, high in ((min(side) - beyond, max(side) + beyond) for side in (xs, ys))
        )
        return [(x, y) for y in rows for x in columns]


def plane_through(a: Mapping[str, Tensor], b: Mapping[str, Tensor], c: Mapping[str, Tensor]) -> Plane:
    """The plane through three networks.

    Args:
        a, b, c: parameters by name, without buffers, which distances leave out.

    Raises:
        StageError: the networks lie on one line.
    """
    to_b = {name: b[name].double() - tensor.double() for name, tensor in a.items()}
    to_c = {name: c[name].double() - tensor.double() for name, tensor in a.items()}
    b_x = math.sqrt(_dot(to_b, to_b))
    if b_x > 0:
        along = _dot(to_b, to_c) / b_x**2
        across = {name: tensor - along * to_b[name] for name, tensor in to_c.items()}
        c_y = math.sqrt(_dot(across, across))
        if c_y > FLATTEST * max(b_x, math.sqrt(_dot(to_c, to_c))):
            return Plane(b_x, along * b_x, c_y)
    raise StageError(
        "the three solutions lie on one line, which leaves no single plane through them; name three others"
    )


def _dot(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    return sum(float((a[name] * b[name]).sum()) for name in a)


def landscape_rows(
    model: nn.Module, solutions: Mapping[str, State], stage: Landscape, splits: Splits, control: Control
) -> list[dict[str, Any]]:
    """Compute the rows of ``landscape.parquet``: the three solutions, then the grid.

    The rows are checkpointed as they come, and a later attempt resumes after the last one.

    Args:
        solutions: state dicts by name: a, b and c.

    Raises:
        StageError: the solutions lie on one line, or differ in their tensors.
        Interrupted: the control asked to stop; a checkpoint was written.
    """
    states = [solutions[slot] for slot in ("a", "b", "c")]
    check_alike(states)
    names = {name for name, _ in model.named_parameters()}
    weights = [{name: tensor for name, tensor in state.items() if name in names} for state in states]
    statistics = [{name: tensor for name, tensor in state.items() if name not in names} for state in states]
    plane = plane_through(*weights)
    solution_places = [(slot, x, y) for slot, (x, y) in plane.solutions.items()]
    places = [*solution_places, *((None, x, y) for x, y in plane.grid(stage.points, stage.margin))]

    def can_resume(snapshot: Snapshot) -> bool:
        """Whether a checkpoint has the rows of a landscape of this size."""
        pa.Table.from_pylist(snapshot.log["rows"], schema=LANDSCAPE_SCHEMA)
        return len(snapshot.log["rows"]) <= len(places)

    snapshot = newest_checkpoint(control.checkpoint_folders, ["rows"], fits=can_resume)
    rows: list[dict[str, Any]] = [] if snapshot is None else snapshot.log["rows"]

    def state(x: float, y: float) -> dict[str, Tensor]:
        shares = plane.shares(x, y)
        # outside the triangle a negative share could make a variance negative, which a momentum would keep
        inside = [max(share, 0.0) for share in shares]
        return mix(weights, shares) | mix(statistics, [share / sum(inside) for share in inside])

    remaining = (state(x, y) for _, x, y in places[len(rows) :])
    try:
        for group in outcomes_by_group(model, remaining, stage, splits, control.beat_or_stop):
            group_places = places[len(rows) : len(rows) + len(group)]
            for (solution, x, y), point in zip(group_places, group, strict=True):
                rows.append({"solution": solution, "x": x, "y": y, **outcome_row(point)})
            if len(rows) < len(places) and control.checkpoint_due():
                _checkpoint(rows, control)
    except Interrupted:
        _checkpoint(rows, control)
        raise
    return rows


def _checkpoint(rows: list[dict[str, Any]], control: Control) -> None:
    if rows and control.checkpoints is not None:
        save_checkpoint(control.checkpoints, Snapshot(Position(0, len(rows)), {}, {"rows": rows}))
        control.checkpointed(control.checkpoints)
