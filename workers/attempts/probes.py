"""Probes of trained networks: paths between pairs, measures of pairs, and landscapes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tickets
from workers.attempts.context import StageContext
from workers.devices.seeds import derive
from workers.probing.landscape import landscape_rows
from workers.probing.path import barrier_row, outcome_row, path_outcomes
from workers.probing.probes import Pair, measured
from workers.stages import Landscape, PairProbe, Probe
from workers.storage import artifacts, schemas


def run_path_probes(
    context: StageContext, stage: Probe, inputs: Sequence[Mapping[str, Path]], outs: Sequence[Path]
) -> list[dict[str, Any]]:
    """Measure error and barrier along the path of each pair, all pairs together.

    Args:
        inputs: per pair, the ``out/`` folders of its solutions ``a`` and ``b``.
        outs: per pair, the folder for its artifacts.
    """
    began = time.perf_counter()
    loaded = {folder: artifacts.load_weights(folder / schemas.WEIGHTS) for pair in inputs for folder in pair.values()}
    pairs = [(loaded[pair["a"]], loaded[pair["b"]]) for pair in inputs]
    states = [(a, b) for (a, _), (b, _) in pairs]
    beat = context.control.beat_or_stop
    lambdas, outcomes = path_outcomes(context.fresh_model(), states, stage, context.splits, beat)
    results = []
    for ((_, mask_a), (_, mask_b)), points, out in zip(pairs, outcomes, outs, strict=True):
        results.append({**barrier_row(lambdas, points), "same_mask": mask_a == mask_b})
        curve = [{"lambda": weight, **outcome_row(point)} for weight, point in zip(lambdas, points, strict=True)]
        artifacts.write_rows(out / schemas.PROBE, curve, schemas.PROBE_SCHEMA)
        artifacts.write_rows(out / schemas.BARRIER, results[-1:], schemas.BARRIER_SCHEMA)
    seconds = (time.perf_counter() - began) / len(outs)
    train_images = len(context.splits.train)
    images = stage.points * (min(stage.bn_images or train_images, train_images) + len(context.splits.test))
    timing = {"epoch": 1, "seconds": seconds, "images_per_second": images / seconds}
    for out in outs:
        artifacts.write_rows(out / schemas.TIMING, [timing], schemas.TIMING_SCHEMA)
    return results


def run_pair_probe(context: StageContext, stage: PairProbe, inputs: Mapping[str, Path]) -> dict[str, Any]:
    """Measure a pair of solutions, ``a`` and ``b``, by the stage's registered probe."""
    a, b = (context.load_model(inputs[slot]).eval() for slot in ("a", "b"))
    prunable = tuple(tickets.prunable_names(a, context.data.num_classes))
    seed, beat = derive("probe", stage.probe), context.control.beat_or_stop
    zeros_a, zeros_b = (artifacts.surviving_zeros(inputs[slot] / schemas.WEIGHTS) for slot in ("a", "b"))
    pair = Pair(a, b, prunable, context.splits, seed, beat, stage.path, (zeros_a, zeros_b))
    return dict(measured(stage, pair))


def run_landscape(context: StageContext, stage: Landscape, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Measure error on a grid of the plane through three solutions: ``a``, ``b`` and ``c``."""
    loaded = {slot: artifacts.load_weights(folder / schemas.WEIGHTS) for slot, folder in inputs.items()}
    solutions = {slot: state for slot, (state, _) in loaded.items()}
    rows = landscape_rows(context.fresh_model(), solutions, stage, context.splits, context.control)
    artifacts.write_rows(out / schemas.LANDSCAPE, rows, schemas.LANDSCAPE_SCHEMA)
    errors = [row["error_percent"] for row in rows]
    return {
        "same_mask": len({mask for _, mask in loaded.values()}) == 1,
        "lowest_error_percent": min(errors),
        "highest_error_percent": max(errors),
    }
