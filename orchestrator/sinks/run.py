"""A committed stage as a tool that tracks experiments sees it: a run with parameters, metrics by epoch, and results."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from orchestrator.store.provenance import STATED
from orchestrator.store.record import Record
from tickets.files.tables import read_rows
from workers.storage.schemas import METRICS, METRICS_SCHEMA, OPTIONAL_COLUMNS, TIMING, TIMING_SCHEMA

Scalar = str | int | float | bool
LARGEST_EXACT = 1 << 53
"""Beyond it tools that keep numbers in 64 bits of floating point would change an integer, such as a seed."""


@dataclass(frozen=True)
class Epoch:
    """The metrics of an epoch, by name: ``SPLIT/accuracy_percent``, ``learning_rate``, ``timing/seconds`` and so on."""

    number: int
    ended_unix_s: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class Run:
    """One stage.

    Attributes:
        section: data set, architecture and preset; results of different sections are not compared.
        group: method, chain and round within the section, such as "aws/chain1/round07"; "dense" without a chain.
        job: what the stage does: its kind, or the transfer of a training, or what a probe measures.
        tags: the labels that are words.
        parameters: labels, every field of the key, and where a ticket from elsewhere came from, by dotted name.
        epochs: in order; empty for a probe.
        results: of the record, with the density, accuracies in percent and barriers in points.
        link: the stage's folder in its store.
    """

    key: str
    name: str
    section: str
    group: str
    job: str
    tags: tuple[str, ...]
    parameters: dict[str, Scalar]
    epochs: list[Epoch]
    results: dict[str, float]
    link: str
    started_unix_s: float
    finished_unix_s: float

    @property
    def last_epoch(self) -> int:
        """Number of the last epoch; 0 if there are none."""
        return self.epochs[-1].number if self.epochs else 0


def run_files(record: Record) -> list[str]:
    """Names of the artifacts that ``read_run`` needs."""
    return [name for name in (METRICS, TIMING) if METRICS in record.files and name in record.files]


def read_run(record: Record, files: Mapping[str, Path], link: str) -> Run:
    """Read a stage's run.

    Args:
        files: the record's ``run_files`` on this machine, by name.

    Raises:
        UnreadableFileError: a file is damaged.
        OSError: a file is missing.
    """
    labels = {name: value for name, value in asdict(record.labels).items() if value is not None}
    place = record.labels
    stated = record.provenance.get(STATED)
    origin = {STATED: stated} if isinstance(stated, Mapping) else {}
    chain = None if place.chain is None else f"chain{place.chain}"
    round_ = None if place.round is None else f"round{place.round:02}"
    return Run(
        key=record.key,
        name=record.name,
        section=f"{place.dataset}/{place.architecture}/{place.preset}",
        group="/".join(part for part in (place.method, chain, round_) if part) or "dense",
        job=place.probe or place.transfer or record.kind,
        tags=tuple(value for value in labels.values() if isinstance(value, str)),
        parameters=_flat({"labels": labels, **record.science, **origin}),
        epochs=_epochs(files, record.finished_unix_s),
        results={name: float(value) for name, value in record.results.items() if isinstance(value, bool | int | float)},
        link=link,
        started_unix_s=record.finished_unix_s - record.seconds,
        finished_unix_s=record.finished_unix_s,
    )


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, Scalar]:
    """Fields of nested mappings by dotted name; what is no scalar becomes JSON."""
    flat: dict[str, Scalar] = {}
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            flat |= _flat(item, f"{before}{name}.")
        elif isinstance(item, str | bool | float) or (isinstance(item, int) and abs(item) <= LARGEST_EXACT):
            flat[f"{before}{name}"] = item
        else:
            flat[f"{before}{name}"] = json.dumps(item)
    return flat


def _epochs(files: Mapping[str, Path], finished_unix_s: float) -> list[Epoch]:
    metrics: defaultdict[int, dict[str, float]] = defaultdict(dict)
    if METRICS in files:
        for row in read_rows(files[METRICS], METRICS_SCHEMA, OPTIONAL_COLUMNS).to_pylist():
            for column in ("loss_nats", "accuracy_percent"):
                metrics[row["epoch"]][f"{row['split']}/{column}"] = row[column]
            metrics[row["epoch"]]["learning_rate"] = row["learning_rate"]
    seconds: dict[int, float] = {}
    if TIMING in files:
        for row in read_rows(files[TIMING], TIMING_SCHEMA, OPTIONAL_COLUMNS).to_pylist():
            seconds[row["epoch"]] = row["seconds"]
            for column in ("seconds", "images_per_second"):
                metrics[row["epoch"]][f"timing/{column}"] = row[column]
    numbers = sorted(metrics)
    passed_s = list(accumulate(seconds.get(number) or 0.0 for number in numbers))
    return [
        Epoch(
            number,
            finished_unix_s - passed_s[-1] + passed,
            {name: value for name, value in metrics[number].items() if value is not None},
        )
        for number, passed in zip(numbers, passed_s, strict=True)
    ]
