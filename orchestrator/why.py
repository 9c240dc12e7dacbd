"""``python -m orchestrator.why``: why a stage ran, waits, failed, is blocked, or was not found in the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from orchestrator.operating.selection import find_stage
from orchestrator.operating.survey import GIVEN_UP, StageStatus, Survey, survey
from orchestrator.planning.comparison import compare, known_stages
from orchestrator.status import describe_progress
from orchestrator.store import Store, StoreError
from orchestrator.store.record import Cause, Failure, Record
from orchestrator.terminal.command import (
    AsJson,
    StageName,
    StorePath,
    console,
    new_app,
    one_sentence,
    open_existing,
    print_json,
)
from orchestrator.terminal.units import duration
from workers.storage import read_many

EXAMPLES = """
Examples:

  python -m orchestrator.why sweeps mnist1d/resnet1d/aws/chain1/round07

  python -m orchestrator.why s3://bucket/sweeps 3f2a --json
"""
LOG_LINES = 12
VALUE_CHARACTERS = 80
_ENDED: dict[str, str] = {Cause.CANCELLED: "was cancelled"}
app = new_app()


@app.command(epilog=EXAMPLES)
def why(store: StorePath, stage: StageName, json_: AsJson = False) -> None:
    """Say why a stage ran, waits, failed, is blocked, or was not cached: field by field against the nearest record."""
    with one_sentence():
        opened = open_existing(store)
        seen = survey(opened)
        found = explain(opened, seen, find_stage(seen.stages, seen.wanted, stage))
    if json_:
        print_json(found)
        return
    out = console()
    for line in sentences(found):
        out.print(line)


def explain(store: Store, seen: Survey, key: str) -> dict[str, Any]:
    """Everything that the store tells about a stage's state.

    Raises:
        StoreError: its record is damaged.
    """
    planned, state = seen.stages[key], seen.state[key]
    found: dict[str, Any] = {"key": key, "name": planned.name, "kind": planned.kind, "state": state.value}
    found["in_the_last_plans"] = key in seen.wanted
    found["earlier_failures"] = _failures(store, seen, key)
    found["set_aside"] = _set_aside(seen, key)
    records = store.records({})
    if state is StageStatus.DONE:
        record = store.record(key)
        if record is None:
            raise StoreError(f"{planned.name} was set aside a moment ago; ask again")
        found["done"] = _done(record)
        found["collected"] = key in store.collected()
        records = {k: r for k, r in records.items() if r.finished_unix_s < record.finished_unix_s} | {key: record}
    elif state is StageStatus.RUNNING:
        found["running"] = seen.progress(key)
    elif state in GIVEN_UP:
        found["log"] = _last_lines(store, seen, key)
    elif state is StageStatus.BLOCKED:
        found["blocked_by"] = _failed_ancestors(seen, key)
    found["inputs"] = {
        slot: {
            "key": upstream,
            "name": seen.stages[upstream].name if upstream in seen.stages else upstream,
            "state": seen.state.get(upstream, StageStatus.WAITING).value,
        }
        for slot, upstream in planned.inputs.items()
    }
    found["drivers"] = sorted(seen.living)
    known = known_stages(seen.plans, records)
    stage = known.get(key)
    comparison = compare(stage, known, {k: known[k] for k in records}) if stage is not None else None
    found["not_cached_because"] = None if comparison is None else asdict(comparison)
    found["root_causes"] = [] if comparison is None else [asdict(root) for root in comparison.roots()]
    found["science_known"] = stage is not None
    return found


def sentences(found: Mapping[str, Any]) -> list[str]:
    """The same for a person."""
    lines = [f"{found['name']} ({found['key']}): {found['state']}"]
    if not found["in_the_last_plans"]:
        lines.append("No sweep wants it now: the last plans name other stages.")
    if "done" in found:
        done = found["done"]
        when = datetime.fromtimestamp(done["finished_unix_s"]).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
        lines.append(
            f"Made by attempt {done['attempt']} on {done['host']} ({done['device']}), {when}, "
            f"in {duration(done['seconds'])}."
        )
    if found.get("collected"):
        lines.append("orchestrator.gc took its weights: a sweep that reads them makes it anew, to the same bits.")
    for failure in found["earlier_failures"]:
        lines.append(
            f"Attempt {failure['attempt']} {_ENDED.get(failure['cause'], 'failed')} ({failure['cause']}): "
            f"{failure['error_type']}: {failure['message']}"
        )
    lines += [f"A record of it was set aside: {name}" for name in found["set_aside"]]
    lines += _outlook(found)
    if found.get("log"):
        lines += ["The log's last lines:", *(f"  {line}" for line in found["log"])]
    return lines + _not_cached(found)


def _outlook(found: Mapping[str, Any]) -> list[str]:
    """What it waits for, and what comes next."""
    state = found["state"]
    if state == StageStatus.RUNNING:
        running = found["running"]
        return [f"Driver {running['driver']} has it: {describe_progress(running)}."]
    if state in GIVEN_UP:
        return ["This never blocks a later try: the next sweep tries it again, from its last checkpoint."]
    if state == StageStatus.BLOCKED:
        return [
            f"Blocked by {blocker['name']}, which {_ENDED.get(blocker['cause'], 'failed')}: {blocker['error_type']}: "
            f"{blocker['message']}"
            for blocker in found["blocked_by"]
        ]
    if state == StageStatus.WAITING:
        waits = [f"{i['name']} ({slot}, {i['state']})" for slot, i in found["inputs"].items() if i["state"] != "done"]
        if waits:
            return [f"It waits for {', '.join(waits)}."]
        if found["drivers"]:
            return [f"All its inputs are done; it waits for room. At work: {', '.join(found['drivers'])}."]
        return ["All its inputs are done, and no driver is at work: repeat the sweep's command."]
    return []


def _not_cached(found: Mapping[str, Any]) -> list[str]:
    if not found["science_known"]:
        return ["What it computes is not stored: its plan is of an older version, and it was never tried."]
    comparison = found["not_cached_because"]
    if comparison is None:
        return ["Nothing like it was in the store: no other stage of its kind."]
    lines = [f"It was not in the store before; the nearest record is {comparison['nearest']}:"]
    lines += [f"  {_change(change)}" for change in comparison["changes"]]
    for slot, upstream in comparison["upstream"].items():
        lines.append(f"  input {slot} is another stage" + ("" if upstream else ", of which nothing is stored"))
    for root in found["root_causes"]:
        if root["key"] != found["key"]:
            lines.append(f"It began in {root['name']} ({root['nearest']} before):")
            lines += [f"  {_change(change)}" for change in root["changes"]]
        if not root["changes"] and not root["upstream"]:
            lines.append("  no field differs: the version of its kind was raised")
    return lines


def _change(change: Mapping[str, Any]) -> str:
    return f"{change['field']}: {_short(change['old'])} -> {_short(change['new'])}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= VALUE_CHARACTERS else f"{text[:VALUE_CHARACTERS]}…"


def _done(record: Record) -> dict[str, Any]:
    return {
        "attempt": record.attempt,
        "finished_unix_s": record.finished_unix_s,
        "seconds": record.seconds,
        "host": record.provenance.get("host", "an unknown machine"),
        "device": record.provenance.get("device", "unknown"),
        "results": record.results,
    }


def _failures(store: Store, seen: Survey, key: str) -> list[dict[str, Any]]:
    """Why its attempts failed, in their order."""
    stage = seen.of(key)
    if stage is None:
        return []
    paths = [f"{stage.folder}/attempts/{n}/failure.json" for n in stage.attempts]
    found = []
    for content in read_many(store.storage, paths):
        try:
            if content is not None:
                found.append(Failure.model_validate_json(content).model_dump())
        except ValidationError:
            continue
    return found


def _set_aside(seen: Survey, key: str) -> list[str]:
    stage = seen.of(key)
    return [] if stage is None else sorted(path for path in stage.files if path.startswith("set-aside/"))


def _last_lines(store: Store, seen: Survey, key: str) -> list[str]:
    """The end of the newest attempt's log."""
    content = read_many(store.storage, [f"{seen.attempts[key].folder}/log.txt"])[0] or b""
    return content.decode(errors="replace").splitlines()[-LOG_LINES:]


def _failed_ancestors(seen: Survey, key: str) -> list[dict[str, Any]]:
    found, pending, looked = [], list(seen.stages[key].inputs.values()), set()
    while pending:
        upstream = pending.pop()
        if upstream in looked or upstream not in seen.stages:
            continue
        looked.add(upstream)
        pending += seen.stages[upstream].inputs.values()
        failure = seen.attempts[upstream].failure if seen.state[upstream] in GIVEN_UP else None
        if failure is not None:
            found.append(failure.model_dump())
    return sorted(found, key=lambda failure: failure["finished_unix_s"])


if __name__ == "__main__":
    app()
