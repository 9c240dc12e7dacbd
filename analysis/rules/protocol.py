"""Rules of the protocol: when the test set is read, where AWS is at work, and that all is made one way."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from analysis.comparisons.words import count
from analysis.frames.superseded import IDENTITY, own_recipe
from analysis.rules.finding import Finding
from analysis.rules.pairs import agree
from orchestrator.store import Store
from orchestrator.store.record import Record

COMMIT_DIGITS = 12


def reads_of_the_test_set(metrics: pd.DataFrame) -> Finding:
    """Under ``sound`` no choice can have seen the test set: it is read after the last epoch of a final training.

    Args:
        metrics: the frame of that name, without superseded rows.
    """
    finding = Finding("Under the preset sound the test set is read once, after the last epoch of a final training")
    sound = metrics[metrics["preset"] == "sound"]
    reads: dict[str, list[int]] = defaultdict(list)
    for key, epoch in sound.loc[sound["split"] == "test", ["key", "epoch"]].itertuples(index=False):
        reads[key].append(int(epoch))
    stages = sound.groupby("key", sort=False).agg({"name": "first", "kind": "first", "epoch": "max"})
    for key, name, kind, last in stages.itertuples():
        finding.look(name, _early_look(kind, int(last), reads[key]))
    if len(metrics) and not finding.counted:
        finding.notes.append("no result has the preset sound; reference watches the test set, as the paper's code does")
    return finding


def _early_look(kind: str, last: int, reads: list[int]) -> str | None:
    """What is wrong with the epochs after which a stage read the test set."""
    if reads and kind != "train":
        return "reads the test set, and is no final training"
    early = sorted(epoch for epoch in reads if epoch < last)
    if early:
        return f"reads the test set after epoch {', '.join(map(str, early))} of {last}"
    return f"reads the test set {len(reads)} times" if len(reads) > 1 else None


def aws_in_rounds_only(records: Iterable[Record], upstream: Mapping[str, Record]) -> Finding:
    """AWS and its alpha belong to round 0 and the rounds; final trainings and probes know neither.

    Args:
        upstream: all records of the store, by key.
    """
    finding = Finding("AWS is at work in round 0 and the rounds only, never in a final training or a probe")
    for record in records:
        finding.look(record.name, _stray_method(record, upstream))
    return finding


def _stray_method(record: Record, upstream: Mapping[str, Record]) -> str | None:
    science = record.science
    if record.kind in ("pretrain", "round"):
        called = record.labels.method
        psi = science.get("method", called)
        # the paper's two are called as they train psi; a method of another name says it in its rounds
        named = science.get("pruning", {}).get("method") or (psi if called in ("aws", "lrr") else called)
        if called != named:
            return f"is called {called} and was trained as {named}"
        previous = upstream.get(record.inputs.get("previous", ""))
        if previous is not None and previous.science.get("method", psi) != psi:
            return f"goes on with {psi} from a round of {previous.science['method']}"
        return None
    training = science.get("training")
    said = {*science, *(training if isinstance(training, Mapping) else ())}
    stray = sorted(said & {"method", "alpha", "interpolate_psi"})
    return f"has {' and '.join(stray)}" if stray else None


def one_recipe(records: Iterable[Record]) -> Finding:
    """All that one page averages or compares was made with one recipe; by which commits is noted."""
    finding = Finding("All results of a data set, architecture and preset were made with one recipe")
    known = list(records)
    parts: dict[tuple[str, ...], list[tuple[str, Any]]] = defaultdict(list)
    for record in known:
        for place, part in _parts(record):
            parts[place].append((record.key, part))
    odd: dict[str, str] = {}
    for place, found in parts.items():
        texts = [json.dumps(part, sort_keys=True, default=str) for _, part in found]
        common = found[texts.index(Counter(texts).most_common(1)[0][0])][1]
        odd |= {key: _differ(place[0], common, part) for key, part in found if not agree(part, common)}
    for record in known:
        finding.look(record.name, odd.get(record.key))
    if known:
        finding.notes.append(_commits(known))
    return finding


def _parts(record: Record) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The parts of a stage's recipe, each with its name and what else must have the same."""
    labels, science = record.labels, record.science
    section = (labels.dataset, labels.architecture, labels.preset)
    own = {name: part for name, part in science.items() if name not in {*IDENTITY, "setting", "alpha"}}
    yield ("recipe", *section, record.kind, *own_recipe(record)), own
    if "setting" in science:
        yield ("setting", *section), science["setting"]
    if "alpha" in science:  # LRR draws none, whatever its record says
        yield ("alpha", *section, record.kind, str(labels.method)), science["alpha"]


def _differ(part: str, common: Any, own: Any) -> str:
    if not isinstance(common, Mapping):
        return f"has a {part} of its own"
    names = [name for name in common.keys() & own.keys() if not agree(common[name], own[name])]
    return f"has another {' and '.join(sorted(names))} than the others"


def _commits(records: list[Record]) -> str:
    made: Counter[str] = Counter()
    for record in records:
        commit = str(record.provenance.get("git_commit") or "")[:COMMIT_DIGITS] or "no recorded commit"
        made[commit + (" with uncommitted changes" if record.provenance.get("git_dirty_blake2b") else "")] += 1
    said = ", ".join(f"{commit} ({count(number, 'stage')})" for commit, number in made.most_common())
    return f"made by {said}" if len(made) == 1 else f"made by {len(made)} states of the code: {said}"


def artifacts(records: Iterable[Record], store: Store, unreadable: Mapping[str, str]) -> Finding:
    """Files are as long as recorded; their bits are for ``orchestrator.verify``.

    Args:
        unreadable: what other rules found that cannot be read, by the stage's key.
    """
    finding = Finding("Every artifact is as long as its record says, and what was opened can be read")
    for record in records:
        damage = store.damage(record.key)
        finding.look(record.name, damage.rpartition("/")[2] if damage else unreadable.get(record.key))
    return finding
