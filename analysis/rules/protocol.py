"""Rules of the protocol: when the test set is read, where AWS is active, and one recipe for all."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from analysis.comparisons.labels import count
from analysis.frames.several import Reader
from analysis.frames.superseded import own_recipe, shared_recipes
from analysis.rules.pairs import agree
from analysis.rules.result import RuleResult
from orchestrator.store.record import Record

COMMIT_DIGITS = 12


def reads_of_the_test_set(metrics: pd.DataFrame) -> RuleResult:
    """Check that no choice under ``sound`` can have seen the test set: only a final training's end reads it.

    Args:
        metrics: the frame ``metrics``, without superseded rows.
    """
    result = RuleResult("Under the preset sound the test set is read once, after the last epoch of a final training")
    sound = metrics[metrics["preset"] == "sound"]
    reads: dict[str, list[int]] = defaultdict(list)
    for key, epoch in sound.loc[sound["split"] == "test", ["key", "epoch"]].itertuples(index=False):
        reads[key].append(int(epoch))
    stages = sound.groupby("key", sort=False).agg({"name": "first", "kind": "first", "epoch": "max"})
    for key, name, kind, last in stages.itertuples():
        result.add(name, _early_read(kind, int(last), reads[key]))
    if len(metrics) and not result.counted:
        result.notes.append("no result has the preset sound; reference watches the test set, as the paper's code does")
    return result


def _early_read(kind: str, last: int, reads: list[int]) -> str | None:
    """Return what is wrong with the epochs after which a stage read the test set."""
    if reads and kind != "train":
        return "reads the test set but is no final training"
    early = sorted(epoch for epoch in reads if epoch < last)
    return f"reads the test set after epoch {', '.join(map(str, early))} of {last}" if early else None


def aws_in_rounds_only(records: Iterable[Record], upstream: Mapping[str, Record]) -> RuleResult:
    """Check that AWS and its alpha belong to round 0 and the rounds, never to a final training or a probe.

    Args:
        upstream: all records of the store, by key.
    """
    result = RuleResult("AWS is active in round 0 and the rounds only, never in a final training or a probe")
    for record in records:
        result.add(record.name, _stray_method(record, upstream))
    return result


def _stray_method(record: Record, upstream: Mapping[str, Record]) -> str | None:
    science = record.science
    if record.kind in ("pretrain", "round"):
        called = record.labels.method
        psi = science.get("method", called)
        # aws and lrr are named by how they train psi; a method of another name stores its name in its rounds
        trained = science.get("pruning", {}).get("method") or (psi if called in ("aws", "lrr") else called)
        if called != trained:
            return f"is called {called} but was trained as {trained}"
        previous = upstream.get(record.inputs.get("previous", ""))
        if previous is not None and previous.science.get("method", psi) != psi:
            return f"trains as {psi} after a round of {previous.science['method']}"
        return None
    training = science.get("training")
    fields = {*science, *(training if isinstance(training, Mapping) else ())}
    stray = sorted(fields & {"method", "alpha", "interpolate_psi"})
    return f"has {' and '.join(stray)}" if stray else None


def one_recipe(records: Iterable[Record]) -> RuleResult:
    """Check that all results averaged or compared on one page share a recipe; note the commits that made them."""
    result = RuleResult("All results of a data set, architecture and preset were made with one recipe")
    checked = list(records)
    parts: dict[tuple[str, ...], list[tuple[str, Any]]] = defaultdict(list)
    for record in checked:
        for place, part in _parts(record):
            parts[place].append((record.key, part))
    odd: dict[str, str] = {}
    for place, entries in parts.items():
        texts = [json.dumps(part, sort_keys=True, default=str) for _, part in entries]
        distinct = dict(zip(texts, (part for _, part in entries), strict=True))
        common = distinct[Counter(texts).most_common(1)[0][0]]
        differ = {text: _differ(place[0], common, part) for text, part in distinct.items() if not agree(part, common)}
        odd |= {key: differ[text] for (key, _), text in zip(entries, texts, strict=True) if text in differ}
    for record in checked:
        result.add(record.name, odd.get(record.key))
    if checked:
        result.notes.append(_commits(checked))
    return result


def _parts(record: Record) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each part of a stage's recipe after the labels of all stages that must share the part."""
    labels, science = record.labels, record.science
    section = (labels.dataset, labels.architecture, labels.preset)
    for more, part in shared_recipes(record).items():
        shown = part
        if isinstance(part, Mapping):
            shown = {name: value for name, value in part.items() if name not in ("setting", "alpha")}
        yield (*(more or ["recipe"]), *section, record.kind, *own_recipe(record)), shown
    if "setting" in science:
        yield ("setting", *section), science["setting"]
    if "alpha" in science:  # LRR draws no alpha, whatever its record says
        yield ("alpha", *section, record.kind, str(labels.method)), science["alpha"]


def _differ(part: str, common: Any, this: Any) -> str:
    if not (isinstance(common, Mapping) and isinstance(this, Mapping)):
        return f"has another {part} than the others"
    names = [name for name in common.keys() & this.keys() if not agree(common[name], this[name])]
    return f"has another {' and '.join(sorted(names))} than the others"


def _commits(records: list[Record]) -> str:
    stages: Counter[str] = Counter()
    for record in records:
        commit = str(record.provenance.get("git_commit") or "")[:COMMIT_DIGITS] or "no recorded commit"
        stages[commit + (" with uncommitted changes" if record.provenance.get("git_dirty_blake2b") else "")] += 1
    commits = ", ".join(f"{commit} ({count(number, 'stage')})" for commit, number in stages.most_common())
    return f"made by {commits}" if len(stages) == 1 else f"made by {len(stages)} states of the code: {commits}"


def artifacts(records: Iterable[Record], store: Reader, unreadable: Mapping[str, str]) -> RuleResult:
    """Check that every file has its recorded length; ``orchestrator.verify`` checks the content.

    Args:
        unreadable: files that other rules could not read, by the stage's key.
    """
    result = RuleResult("Every artifact is as long as its record says, and every opened file can be read")
    for record in records:
        damage = store.damage(record.key)
        result.add(record.name, damage.rpartition("/")[2] if damage else unreadable.get(record.key))
    return result
