"""``winning-sign why``: explains why a stage ran, waits, failed, is blocked or was not cached."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from orchestrator.operating.selection import find_stage
from orchestrator.operating.survey import GIVEN_UP, StageStatus, Survey, survey
from orchestrator.planning.comparison import compare, known_stages, root_causes
from orchestrator.store import Store, StoreError
from orchestrator.store.provenance import IMPORTED, STATED
from orchestrator.store.record import Cause, Failure, Record, read_valid
from orchestrator.terminal.command import STORE_ERRORS, StageName, open_existing
from orchestrator.terminal.units import running_stage
from workers.storage import read_many
from workers.terminal.command import AsJson, add_command, console, new_app, one_sentence, print_json, tell_left_out
from workers.terminal.numbers import duration
from workers.terminal.options import StorePath

EXAMPLES = """
winning-sign why sweeps mnist1d/resnet1d/aws/chain1/round07
winning-sign why s3://bucket/sweeps 3f2a --json
"""
LOG_LINES = 12
VALUE_CHARACTERS = 80
_ENDED: dict[str, str] = {Cause.CANCELLED: "was cancelled"}
app = new_app()


@add_command(app, EXAMPLES)
def why(store: StorePath, stage: StageName, json_: AsJson = False) -> None:
    """Explain why a stage ran, waits, failed or is blocked.

    Compares the stage with the most similar record, field by field, to show why the stage was not cached.
    """
    with one_sentence(*STORE_ERRORS):
        opened = open_existing(store)
        surveyed = survey(opened, records=True)
        explanation = explain(opened, surveyed, find_stage(surveyed.stages, surveyed.wanted, stage))
        tell_left_out(surveyed.damaged_plans | surveyed.left_out, store)
    if json_:
        print_json(explanation)
        return
    out = console()
    for line in sentences(explanation):
        out.print(line)


def explain(store: Store, surveyed: Survey, key: str) -> dict[str, Any]:
    """Collect what the store tells about the state of a stage.

    Raises:
        StoreError: the record of the stage is damaged.
    """
    planned, state = surveyed.stages[key], surveyed.state[key]
    explanation: dict[str, Any] = {"key": key, "name": planned.name, "kind": planned.kind, "state": state.value}
    explanation["in_the_last_plans"] = key in surveyed.wanted
    explanation["earlier_failures"] = _failures(store, surveyed, key)
    explanation["set_aside"] = _set_aside(surveyed, key)
    records = store.records(surveyed.left_out, relist=False)
    before: Collection[str] = records.keys()
    if state is StageStatus.DONE:
        record = store.record(key)
        if record is None:
            raise StoreError(f"{planned.name} was quarantined a moment ago; repeat the command")
        explanation["done"] = _done(record)
        explanation["collected"] = store.is_collected(record)
        before = {k for k, r in records.items() if r.finished_unix_s < record.finished_unix_s} | {key}
    elif state is StageStatus.RUNNING:
        explanation["running"] = surveyed.progress(key)
    elif state in GIVEN_UP:
        explanation["log"] = _last_lines(store, surveyed, key)
    elif state is StageStatus.BLOCKED:
        explanation["blocked_by"] = _failed_ancestors(surveyed, key)
    explanation["inputs"] = {
        slot: {
            "key": upstream,
            "name": surveyed.stages[upstream].name if upstream in surveyed.stages else upstream,
            "state": surveyed.state.get(upstream, StageStatus.WAITING).value,
        }
        for slot, upstream in planned.inputs.items()
    }
    explanation["drivers"] = sorted(surveyed.living)
    known = known_stages(surveyed.plans, records)
    stage = known.get(key)
    comparison = compare(stage, known, {k: known[k] for k in before if k in known}) if stage is not None else None
    explanation["not_cached_because"] = None if comparison is None else asdict(comparison)
    roots = [] if comparison is None else root_causes(comparison, known)
    explanation["root_causes"] = [asdict(root) for root in roots]
    explanation["science_known"] = stage is not None
    return explanation


def sentences(explanation: Mapping[str, Any]) -> list[str]:
    """Tell an explanation to a person, a sentence a line."""
    lines = [f"{explanation['name']} ({explanation['key']}): {explanation['state']}"]
    if not explanation["in_the_last_plans"]:
        lines.append("No current plan includes this stage.")
    if "done" in explanation:
        done = explanation["done"]
        when = datetime.fromtimestamp(done["finished_unix_s"]).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
        how = f"Computed by attempt {done['attempt']} on {done['host']} ({done['device']})"
        if explanation["kind"] == IMPORTED:
            how = f"Copied from {done['copied_from']} by attempt {done['attempt']}"
        lines.append(f"{how}, {when}, in {duration(done['seconds'])}.")
    if explanation.get("collected"):
        lines.append("gc removed its weights; a sweep that needs them computes the stage again, to the same bits.")
    for failure in explanation["earlier_failures"]:
        lines.append(
            f"Attempt {failure['attempt']} {_ENDED.get(failure['cause'], 'failed')} ({failure['cause']}): "
            f"{failure['error_type']}: {failure['message']}"
        )
    lines += [f"An earlier record was quarantined: {name}" for name in explanation["set_aside"]]
    lines += _outlook(explanation)
    if explanation.get("log"):
        lines += ["Last lines of the log:", *(f"  {line}" for line in explanation["log"])]
    # a copy has no settings
    return lines if explanation["kind"] == IMPORTED else lines + _not_cached(explanation)


def _outlook(explanation: Mapping[str, Any]) -> list[str]:
    """Sentences on what the stage waits for, and what happens next."""
    state = explanation["state"]
    if state == StageStatus.RUNNING:
        running = explanation["running"]
        return [f"Driver {running['driver']} runs it: {running_stage(running)}."]
    if state in GIVEN_UP:
        return ["A failure is never final: the next sweep tries the stage again, from its last checkpoint."]
    if state == StageStatus.BLOCKED:
        return [
            f"Blocked by {blocker['name']}, which {_ENDED.get(blocker['cause'], 'failed')}: {blocker['error_type']}: "
            f"{blocker['message']}"
            for blocker in explanation["blocked_by"]
        ]
    if state == StageStatus.WAITING:
        inputs = explanation["inputs"].items()
        waits = [f"{i['name']} ({slot}, {i['state']})" for slot, i in inputs if i["state"] != StageStatus.DONE]
        if waits:
            return [f"Waits for {', '.join(waits)}."]
        if explanation["drivers"]:
            return [f"All inputs are done; waits for a free device. Drivers: {', '.join(explanation['drivers'])}."]
        if explanation["kind"] == IMPORTED:
            return ["No copy of this ticket is whole; repeat the sweep's command to copy it from its source again."]
        return ["All inputs are done and no driver is at work; repeat the sweep's command to run this stage."]
    return []


def _not_cached(explanation: Mapping[str, Any]) -> list[str]:
    if not explanation["science_known"]:
        return ["Nothing to compare: the stage never ran, and an older version wrote its plan without settings."]
    comparison = explanation["not_cached_because"]
    changes = [] if comparison is None else comparison["changes"]
    if comparison is None:
        return ["First run: the store had no other stage of this kind."]
    if any(change["field"].startswith("labels.") and change["field"] != "labels.preset" for change in changes):
        return ["First run: the store had no record of this stage under other settings."]
    lines = [f"Not cached, because its settings are new; the most similar record is {comparison['nearest']}:"]
    lines += [f"  {_change(change)}" for change in changes]
    for slot, upstream in comparison["upstream"].items():
        lines.append(f"  input {slot} is another stage" + ("" if upstream else ", whose settings are not stored"))
    for root in explanation["root_causes"]:
        if root["key"] != explanation["key"]:
            lines.append(f"The difference began in {root['name']} ({root['nearest']} before):")
            lines += [f"  {_change(change)}" for change in root["changes"]]
        if not root["changes"] and not root["upstream"]:
            lines.append("  no field differs: the code's version of this kind of stage was raised")
    return lines


def _change(change: Mapping[str, Any]) -> str:
    return f"{change['field']}: {_short(change['old'])} -> {_short(change['new'])}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= VALUE_CHARACTERS else f"{text[:VALUE_CHARACTERS]}…"


def _done(record: Record) -> dict[str, Any]:
    copied = record.provenance.get(STATED)
    return {
        "attempt": record.attempt,
        "finished_unix_s": record.finished_unix_s,
        "seconds": record.seconds,
        "host": record.provenance.get("host", "an unknown machine"),
        "device": record.provenance.get("device", "unknown"),
        "copied_from": copied.get("place", "an unknown place") if isinstance(copied, Mapping) else None,
        "results": record.results,
    }


def _failures(store: Store, surveyed: Survey, key: str) -> list[dict[str, Any]]:
    """Return the failures of a stage, in the order of its attempts."""
    stage = surveyed.of(key)
    if stage is None:
        return []
    paths = [f"{stage.folder}/attempts/{n}/failure.json" for n in stage.attempts]
    return [failure.model_dump() for failure in read_valid(Failure, store.storage, paths).values()]


def _set_aside(surveyed: Survey, key: str) -> list[str]:
    stage = surveyed.of(key)
    return [] if stage is None else sorted(path for path in stage.files if path.startswith("set-aside/"))


def _last_lines(store: Store, surveyed: Survey, key: str) -> list[str]:
    """Return the last lines of the newest attempt's log."""
    path = f"{surveyed.attempts[key].folder}/log.txt"
    content = read_many(store.storage, [path]).get(path, b"")
    return content.decode(errors="replace").splitlines()[-LOG_LINES:]


def _failed_ancestors(surveyed: Survey, key: str) -> list[dict[str, Any]]:
    """Return the failures that block a stage, oldest first."""
    failures, pending, visited = [], list(surveyed.stages[key].inputs.values()), set()
    while pending:
        upstream = pending.pop()
        if upstream in visited or upstream not in surveyed.stages:
            continue
        visited.add(upstream)
        pending += surveyed.stages[upstream].inputs.values()
        failure = surveyed.attempts[upstream].failure if surveyed.state[upstream] in GIVEN_UP else None
        if failure is not None:
            failures.append(failure.model_dump())
    return sorted(failures, key=lambda failure: failure["finished_unix_s"])


if __name__ == "__main__":
    app()
