"""The error landscape: error and loss over the plane through three solutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from workers.data.splits import Splits
from workers.probing.path import State, check_alike, mix, outcome_row, outcomes_by_group
from workers.probing.plane import Plane, plane_through
from workers.stages import Landscape
from workers.stages.execution import Control, Interrupted
from workers.training.checkpoint import Position, Snapshot, newest_checkpoint, save_checkpoint


def landscape_rows(
    model: nn.Module, solutions: Mapping[str, State], stage: Landscape, splits: Splits, control: Control
) -> list[dict[str, Any]]:
    """Compute the rows of ``landscape.parquet``: the three solutions, then the grid.

    The rows are checkpointed as they come, and a later attempt resumes after the last one.

    Args:
        solutions: state dicts by name: a, b and c.

    Raises:
        ValueError: the solutions lie on one line, or differ in their tensors.
        Interrupted: the control asked to stop; a checkpoint was written.
    """
    states = [solutions[slot] for slot in ("a", "b", "c")]
    check_alike(states)
    names = {name for name, _ in model.named_parameters()}
    weights = [{name: tensor for name, tensor in state.items() if name in names} for state in states]
    statistics = [{name: tensor for name, tensor in state.items() if name not in names} for state in states]
    plane = plane_through(*weights)
    places = _places(plane, stage)
    rows = _resumed(control)

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


def _places(plane: Plane, stage: Landscape) -> list[tuple[str | None, float, float]]:
    """The points to measure: (name, x, y) for each solution, (None, x, y) for each grid point."""
    grid = plane.grid(stage.points, stage.margin)
    return [*((slot, x, y) for slot, (x, y) in plane.solutions.items()), *((None, x, y) for x, y in grid)]


def _resumed(control: Control) -> list[dict[str, Any]]:
    snapshot = newest_checkpoint(control.checkpoint_folders)
    return [] if snapshot is None else list(snapshot.log["rows"])


def _checkpoint(rows: list[dict[str, Any]], control: Control) -> None:
    if rows and control.checkpoints is not None:
        save_checkpoint(control.checkpoints, Snapshot(Position(0, len(rows)), {}, {"rows": rows}))
        control.checkpointed(control.checkpoints)
