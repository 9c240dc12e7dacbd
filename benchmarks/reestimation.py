"""Measure how much barriers depend on the training images that re-estimate batch norm.

    python -m benchmarks.reestimation --store sweeps [--images 512,1024,2048,3600] [--draws 5] [--probes 8]

Probes of a finished store are measured again, on other draws of so many images. A row has the median over the probes,
and the most: of the barrier's standard deviation over draws; of the same in standard errors over the test images, to
which it should add little; and of how far the mean over draws lies from that of the last row.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, median, stdev

from benchmarks.machine import find_device
from benchmarks.table import print_table
from orchestrator.store import Store
from workers.attempts.context import StageContext, load_state
from workers.data import default_cache
from workers.probing.path import barrier_row, path_outcomes
from workers.stages import Probe, from_science
from workers.stages.execution import Control, Execution
from workers.training.gang.member import ALONE


def measure(root: Path, cache: Path, images: Sequence[int], draws: int, probes: int) -> list[tuple[str, ...]]:
    """Measure evenly chosen probes of a store again; return the table's rows.

    Raises:
        ValueError: the store has fewer finished probes with one setting.
    """
    store = Store(str(root))
    records = sorted((r for r in store.records().values() if r.kind == Probe.kind), key=lambda record: record.name)
    if len(records) < probes or any(record.science != records[0].science for record in records):
        raise ValueError(f"{root} has {len(records)} finished probes, and {probes} with one setting are needed")
    chosen = [records[place * len(records) // probes] for place in range(probes)]
    pairs = [(load_state(root / store.out(r.inputs["a"])), load_state(root / store.out(r.inputs["b"]))) for r in chosen]
    stage = from_science(Probe, records[0].science)
    context = StageContext(stage.setting, Execution(str(find_device()), None, str(cache)), Control(), ALONE)
    heights: dict[int, list[list[float]]] = {}  # by images: a row per probe, of a number per draw
    errors: list[float] = []
    for count in images:
        rows = []
        for draw in range(draws):
            drawn = replace(stage, bn_images=count, draw_seed=stage.draw_seed + draw)
            lambdas, paths = path_outcomes(context.fresh_model(), pairs, drawn, context.splits)
            rows.append([barrier_row(lambdas, points) for points in paths])
        heights[count] = [[row[probe]["barrier_points"] for row in rows] for probe in range(probes)]
        errors = [mean(row[probe]["barrier_standard_error_points"] for row in rows) for probe in range(probes)]
    last = [mean(values) for values in heights[images[-1]]]
    return [_row(count, heights[count], errors, last) for count in images]


def _row(
    count: int, heights: Sequence[Sequence[float]], errors: Sequence[float], last: Sequence[float]
) -> tuple[str, ...]:
    spreads = [stdev(values) for values in heights]
    shares = [spread / error for spread, error in zip(spreads, errors, strict=True)]
    shifts = [abs(mean(values) - other) for values, other in zip(heights, last, strict=True)]
    return (f"{count:,}", *(f"{median(values):.2f}, {max(values):.2f}" for values in (spreads, shares, shifts)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reestimation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--store", type=Path, required=True, help="a finished store with probes of one setting")
    parser.add_argument("--images", default="512,1024,2048,3600", help="numbers of images, comma-separated")
    parser.add_argument("--draws", type=int, default=5, help="draws of each number, at least 2")
    parser.add_argument("--probes", type=int, default=8, help="probes to measure again")
    parser.add_argument("--data-cache", type=Path, default=default_cache(), help="folder of the prepared data sets")
    options = parser.parse_args(arguments)
    images = [int(number) for number in options.images.split(",")]
    try:
        rows = measure(options.store, options.data_cache, images, options.draws, options.probes)
    except ValueError as error:
        parser.error(str(error))
    print(f"{options.probes} probes, {options.draws} draws of each number of images")
    print_table(("images", "sd over draws, points", "in standard errors", "from the last row, points"), rows)


if __name__ == "__main__":
    main()
