"""Load a store as tidy pandas frames: labels as columns, units in the column names."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, MutableMapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.frames.columns import ABOVE_CHORD, EVENT_COLUMNS, IDENTITY, PROVENANCE, STAGE_COLUMNS, time, typed
from analysis.frames.data_sets import data_sets
from analysis.frames.looks import looks
from analysis.frames.published.protocols import protocols
from analysis.frames.published.reading import check_fits, no_published, published_beside, read_published
from analysis.frames.recipes import commands, recipes
from analysis.frames.results import above_chord, densities, no_signs, read_results, read_signs, ticket_data_sets
from analysis.frames.several import Reader, disagreements, holder_of, open_reader, roots, stores_of
from analysis.frames.superseded import superseded
from analysis.signs.cache import Cache
from analysis.signs.comparisons import comparisons
from analysis.signs.pairs import (
    AGREEMENT_COLUMNS,
    COUNT_COLUMNS,
    FLIP_COLUMNS,
    agreement,
    flips,
    ticket_counts,
    ticket_pairs,
)
from orchestrator.store import Store, StoreError
from orchestrator.store.events import read_events
from orchestrator.store.leases import LeaseWatch
from orchestrator.store.plans import wanted
from orchestrator.store.record import Record
from workers.storage import schemas


@dataclass(frozen=True)
class Frames:
    """A store's content. All frames except ``failures``, ``packages`` and ``events`` have the labels as columns.

    Attributes:
        stages: one row per committed stage, with its results. ``folder`` is relative to the ``store``, ``out`` to the
            folder. ``files`` are the names of the files in ``out``, and ``inputs`` the keys of the stages it read,
            comma-separated. ``seconds`` are of the committed attempt, on ``ranks`` devices at once, with at most
            ``stages_beside`` other stages on the same device. ``flip_fraction``: share of the surviving signs that a
            training's transfer flips. ``pair_probe``: the probe that a stage of this kind ran; its numbers are the
            columns that begin with its name. ``ticket_dataset``: that of the ticket behind a training or a probe.
            ``superseded``: see ``analysis.frames.superseded``.
        metrics: one row per stage, epoch and split; an epoch's seconds and images per second repeat on its rows.
        probes: one row per probe and lambda; the barrier's columns repeat on each of its rows.
        landscapes: one row per landscape and grid point, and one per solution. ``solution`` is the solution's key,
            missing on the grid. ``x`` and ``y`` are distances of weights; the first solution lies at (0, 0).
        tickets: one row per ticket and tensor: counts of weights, survivors and signs
            (``analysis.signs.pairs.ticket_counts``).
        flips: one row per ticket and prunable tensor: signs that changed since the previous round
            (``analysis.signs.pairs.flips``). Without superseded tickets, as is ``agreement``.
        agreement: one row per pair of tickets: overlap of masks and agreement of signs, beside their values by chance
            (``analysis.signs.pairs.agreement``). The labels are the first ticket's.
        signs_by_layer: one row per parameter of some trainings of each method's first chain: flips, lock-in and drift
            of psi (``analysis.signs.over_time``).
        signs_over_time: one row per record and prunable weight of the first, the second and the last of these
            trainings: flips and agreement with the ticket.
        packages: one row per stage and package, with the version used.
        data: one row per stage and split of the data set that it read: number of images and of classes that occur,
            images of the rarest and of the most frequent class, side of the images in pixels (missing if no recipe
            changed it), files left out by extension, what the fingerprint covers, and when the stage's host prepared
            the data. Records of earlier versions have none.
        missing: one row per planned stage without a record; ``failed`` if its last attempt failed; ``inputs`` as those
            of ``stages``.
        failures: one row per stage that is not done and whose last attempt failed, oldest first.
        events: one row per event of the store's sweeps, oldest first: ``time``, ``event`` ("started", "done",
            "failed", …), the stage's ``key`` and ``name``, and the event's details.
        planned: number of stages in the last plan for each data set, architecture and preset.
        at_work: whether a driver holds a lease in one of the stores, and has not ended as far as this machine can tell.
        protocols: one row per training with the settings by which published results are compared with it
            (``analysis.frames.published.protocols``).
        published: published results for the store's data sets and architectures, from the package and from the user's
            file (``analysis.frames.published.reading``).
        left_out: a sentence for each damaged record, plan or table that the frames lack, by its key or path.
        looks: one row per look of each part's study: when its results are judged (``analysis.frames.looks``).
        disagreements: one row per stage that two stores hold with different results (``analysis.frames.several``).
        recipes, commands: what each part was made with, and the command that makes it again
            (``analysis.frames.recipes``).
        stores: roots of the stores that were read.
    """

    stages: pd.DataFrame
    metrics: pd.DataFrame
    probes: pd.DataFrame
    landscapes: pd.DataFrame
    tickets: pd.DataFrame
    flips: pd.DataFrame
    agreement: pd.DataFrame
    packages: pd.DataFrame
    data: pd.DataFrame
    missing: pd.DataFrame
    failures: pd.DataFrame
    events: pd.DataFrame
    planned: int
    at_work: bool = False
    protocols: pd.DataFrame = field(default_factory=lambda: protocols({}))
    published: pd.DataFrame = field(default_factory=no_published)
    left_out: Mapping[str, str] = field(default_factory=dict)
    looks: pd.DataFrame = field(default_factory=lambda: looks([]))
    disagreements: pd.DataFrame = field(default_factory=disagreements)
    recipes: pd.DataFrame = field(default_factory=lambda: recipes([]))
    commands: pd.DataFrame = field(default_factory=lambda: commands([]))
    stores: tuple[str, ...] = ()
    signs_by_layer: pd.DataFrame = field(default_factory=lambda: no_signs()[0])
    signs_over_time: pd.DataFrame = field(default_factory=lambda: no_signs()[1])


def load(
    store: Path | str | Reader | Iterable[Path | str | Store],
    *,
    tickets: bool = True,
    published: Path | None = None,
    leave_out: bool = False,
    copy: bool = False,
) -> Frames:
    """Read a store, or several as one.

    Args:
        store: a folder, a bucket's URL, or a ``Store``; or several of them. A stage that several stores hold is one
            result, the first store's; ``disagreements`` names where another store's differs.
        tickets: False leaves the frames of tickets and of signs over time empty. Reading a large network's
            ticket for the first time takes about half a second; results are kept in the user's cache.
        published: a CSV file with published results: see ``analysis.frames.published.reading``.
        leave_out: leave damaged files out, and name them in ``Frames.left_out``.
        copy: copy tables of results into the store (``analysis.frames.results``), so that it is read faster next time.

    Raises:
        StoreError: the folder does not exist; or one of its files is damaged, unless ``leave_out``.
        PublishedError: the file of published results is invalid, or has no result for a setting of this store.
        OSError: the file of published results cannot be read.
    """
    own_published = None if published is None else read_published(published)
    reader = open_reader(store)
    left_out: dict[str, str] = {}
    plans = reader.plans(left_out)
    records, planned = reader.records(left_out), wanted(plans)

    def table(file: str) -> pd.DataFrame:
        return read_results(reader, records.values(), file, schemas.SCHEMAS[file], left_out, copy=copy)

    stages = _stages(reader, records, superseded(records, planned))
    epochs = table(schemas.METRICS).merge(table(schemas.TIMING), on=["key", "epoch"], how="left")
    metrics = _labelled(epochs, stages)
    del epochs  # the largest tables: none is kept beside its labelled copy
    points, barriers = table(schemas.PROBE), table(schemas.BARRIER)
    for column, value in ABOVE_CHORD.items():
        for frame in (stages, barriers):  # of probes older than the column, too
            frame[column] = frame["key"].map(above_chord(points, value)).astype("float64")
    points = points.merge(barriers, on="key", how="left")
    probes = _labelled(points, stages, "density")
    del points, barriers
    places = table(schemas.LANDSCAPE)
    by_layer, over_time = read_signs(reader, records, stages if tickets else stages[:0], left_out)
    failures = typed(
        (failure.model_dump() for failure in reader.failures(relist=False)),  # records() listed them
        ("key", "name", "attempt", "error_type", "message", "log", "cause", "finished_unix_s"),
    )
    failures["finished"] = time(failures.pop("finished_unix_s"))
    failed = {*failures["key"]}
    missing = typed(
        (
            {
                **stage.model_dump(include={"key", "kind", "name"}),
                **asdict(stage.labels),
                "failed": key in failed,
                "inputs": ",".join(stage.inputs.values()),
            }
            for key, stage in planned.items()
            if key not in records
        ),
        (*IDENTITY, "failed", "inputs"),
    )
    counts, flipped, agreed = _ticket_frames(reader, records if tickets else {}, stages, missing, left_out)
    if left_out and not leave_out:
        raise StoreError(next(iter(left_out.values())))
    here = pd.concat([stages, missing])
    if published is not None and own_published is not None:
        check_fits(own_published, here, published)
    return Frames(
        stages=stages,
        metrics=metrics,
        probes=probes,
        landscapes=_labelled(_with_solutions(places, records), stages, "density"),
        tickets=counts,
        flips=flipped,
        agreement=agreed,
        packages=_packages(records.values()),
        data=_labelled(data_sets(records.values()), stages),
        missing=missing,
        failures=failures,
        events=load_events(stores_of(reader)),
        planned=len(planned),
        at_work=any(LeaseWatch(store.storage).living() for store in stores_of(reader)),
        protocols=_labelled(protocols(records), stages),
        published=published_beside(own_published).merge(here[["dataset", "architecture"]].drop_duplicates()),
        left_out=left_out,
        looks=looks(plans),
        disagreements=disagreements(reader),
        recipes=recipes(plans),
        commands=commands(plans),
        stores=roots(reader),
        signs_by_layer=by_layer,
        signs_over_time=over_time,
    )


def _stages(reader: Reader, records: Mapping[str, Record], old: Container[str]) -> pd.DataFrame:
    density_of, data_set_of = densities(records), ticket_data_sets(records)
    rows = [
        {
            **record.results,
            **record.model_dump(include={"key", "kind", "name", "seconds"}),
            **asdict(record.labels),
            **{name: record.provenance.get(name) for name in PROVENANCE},
            **_derived(record),
            "density": density_of[record.key],
            "ticket_dataset": data_set_of[record.key],
            "superseded": record.key in old,
            "store": holder_of(reader, record.key).root,
            "folder": reader.folder(record.key),
            "out": record.out,
            "files": ",".join(sorted(record.files)),
        }
        for record in records.values()
    ]
    extra = sorted({name for row in rows for name in row} - set(STAGE_COLUMNS))
    return typed(rows, (*STAGE_COLUMNS, *extra)).sort_values("finished", ignore_index=True)


def _derived(record: Record) -> dict[str, Any]:
    """Return the columns that follow from a stage's fields, inputs and provenance."""
    transfer = record.science.get("transfer")
    return {
        "flip_fraction": None if transfer is None else transfer.get("flip_fraction", 0.0),
        "pair_probe": record.science.get("probe"),
        "inputs": ",".join(record.inputs.values()),
        "ranks": record.science.get("training", {}).get("gang", {}).get("ranks", 1),
        "stages_beside": record.provenance.get("stages_beside", 0),
        "finished": record.finished_unix_s,
    }


def _with_solutions(places: pd.DataFrame, records: Mapping[str, Record]) -> pd.DataFrame:
    """Replace the input's name of each solution of a landscape by the solution's key."""
    slots = zip(places["key"], places["solution"], strict=True)
    keys = [None if pd.isna(slot) else records[key].inputs[slot] for key, slot in slots]
    return places.assign(solution=pd.Series(keys, index=places.index, dtype="str"))


def _ticket_frames(
    reader: Reader,
    records: Mapping[str, Record],
    stages: pd.DataFrame,
    missing: pd.DataFrame,
    left_out: MutableMapping[str, str],
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the frames ``tickets``, ``flips`` and ``agreement``."""
    contents = {key: r.files[schemas.TICKET].blake2b for key, r in records.items() if schemas.TICKET in r.files}
    tickets = stages[stages["key"].isin(contents.keys())]
    pairs = ticket_pairs(tickets, pd.concat([stages[~stages["superseded"]], missing]))

    def files(keys: Collection[str]) -> dict[str, Path]:
        paths = reader.local([(key, schemas.TICKET) for key in keys], unreadable=left_out)
        return {key: path for (key, _), path in paths.items()}

    both = list(pairs[["key", "other_key"]].itertuples(index=False, name=None))
    compared = comparisons(both, contents, files, Cache("tickets"), left_out)
    return (
        _labelled(ticket_counts(compared), stages)[[*IDENTITY, *COUNT_COLUMNS, "superseded"]],
        _labelled(flips(pairs, compared), stages)[[*IDENTITY, *FLIP_COLUMNS]],
        _labelled(agreement(pairs, compared, tickets), stages)[[*IDENTITY, *AGREEMENT_COLUMNS]],
    )


def _labelled(rows: pd.DataFrame, stages: pd.DataFrame, *more: str) -> pd.DataFrame:
    return stages[[*IDENTITY, *more, "superseded"]].merge(rows, on="key", how="inner")


def _packages(records: Iterable[Record]) -> pd.DataFrame:
    rows = (
        {"key": record.key, "package": package, "version": str(version)}
        for record in records
        for package, version in record.provenance.get("packages", {}).items()
    )
    return typed(rows, ("key", "package", "version"))


def load_events(stores: Iterable[Store]) -> pd.DataFrame:
    """Load the frame ``events`` alone: it changes most often."""
    events = (event for store in stores for event in read_events(store.storage))
    rows = typed(({**event, "time": event["time_unix_s"]} for event in events), EVENT_COLUMNS)
    return rows.sort_values("time", kind="stable", ignore_index=True)
