"""The error landscape: error and loss over the plane through three solutions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from workers.data.splits import Splits
from workers.probing.path import State, check_alike, mix, outcome_row, outcomes_by_load
from workers.probing.plane import Plane, plane_through
from workers.stages import Landscape
from workers.stages.execution import Control, Interrupted
from workers.training.checkpoint import Position, Snapshot, newest_checkpoint, save_checkpoint


def landscape_rows(
    model: nn.Module, solutions: Mapping[str, State], stage: Landscape, splits: Splits, control: Control
) -> list[dict[str, Any]]:
    """The rows of ``landscape.parquet``: the three solutions themselves, then the grid.

    It checkpoints the rows that it has, and resumes with the next ones.

    Args:
        solutions: state dicts by the names a, b and c.

    Raises:
        ValueError: the solutions lie on one line, or differ in their tensors.
        Interrupted: it was asked to stop, and checkpointed.
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
        # beyond the triangle a negative share would make variances negative; a momentum would remember these
        inside = [max(share, 0.0) for share in shares]
        return mix(weights, shares) | mix(statistics, [share / sum(inside) for share in inside])

    left = (state(x, y) for _, x, y in places[len(rows) :])
    try:
        for load in outcomes_by_load(model, left, stage, splits, control.stop_if_asked):
            here = places[len(rows) : len(rows) + len(load)]
            for (solution, x, y), point in zip(here, load, strict=True):
                rows.append({"solution": solution, "x": x, "y": y, **outcome_row(point)})
            if len(rows) < len(places) and control.checkpoint_due():
                _checkpoint(rows, control)
    except Interrupted:
        _checkpoint(rows, control)
        raise
    return rows


def _places(plane: Plane, stage: Landscape) -> list[tuple[str | None, float, float]]:
    """What is measured: a solution by its name or a point of the grid, with its coordinates."""
    grid = plane.grid(stage.points, stage.margin)
    return [*((slot, x, y) for slot, (x, y) in plane.solutions.items()), *((None, x, y) for x, y in grid)]


def _resumed(control: Control) -> list[dict[str, Any]]:
    found = newest_checkpoint([*control.earlier, *([control.checkpoints] if control.checkpoints else [])])
    return [] if found is None else list(found.log["rows"])


def _checkpoint(rows: list[dict[str, Any]], control: Control) -> None:
    if rows and control.checkpoints is not None:
        save_checkpoint(control.checkpoints, Snapshot(Position(0, len(rows)), {}, {"rows": rows}))
        control.checkpointed(control.checkpoints)
