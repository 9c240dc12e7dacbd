"""``python -m orchestrator.status``: who is at work in a store, how far it is, and what failed or was cancelled."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.table import Table
from rich.text import Text

from orchestrator.operating.survey import GIVEN_UP, StageStatus, Survey, survey
from orchestrator.store.layout import RECORD
from orchestrator.terminal.command import AsJson, StorePath, console, new_app, one_sentence, open_existing, print_json
from orchestrator.terminal.units import duration, size
from workers.terminal.console import Console

EXAMPLES = """
Examples:

  python -m orchestrator.status sweeps

  python -m orchestrator.status s3://bucket/sweeps --json
"""
HOUR_S = 3600.0
FAILURES = 20
app = new_app()


@app.command(epilog=EXAMPLES)
def status(store: StorePath, json_: AsJson = False) -> None:
    """Print who is at work in a store, how many stages are done, running, waiting and blocked, and what failed.

    Reads the store alone, by one listing: it can be asked from any machine, also while sweeps run.
    """
    with one_sentence():
        seen = survey(open_existing(store))
        if json_:
            print_json(as_json(seen))
        else:
            show(seen, console())


def as_json(seen: Survey) -> dict[str, Any]:
    """A store's state for machines."""
    ended = sorted(_ended(seen))
    return {
        "store": seen.root,
        "drivers": [
            {
                "driver": driver,
                "host": lease.host,
                "pid": lease.pid,
                "started_unix_s": lease.started_unix_s,
                "argv": lease.argv,
                "alive": None if seen.gone[driver] is None else not seen.gone[driver],
            }
            for driver, lease in sorted(seen.leases.items())
        ],
        "planned": len(seen.wanted),
        "states": _states(Counter(seen.state[key] for key in seen.wanted)),
        "kinds": {kind: _states(states) for kind, states in _by_kind(seen).items()},
        "superseded": sum(state is StageStatus.DONE for key, state in seen.state.items() if key not in seen.wanted),
        "running": [
            {"key": key, "name": seen.stages[key].name, **seen.progress(key)}
            for key in _in_state(seen, StageStatus.RUNNING)
        ],
        "failed": [failure.model_dump() for failure in seen.failures()],
        "cancelled": [failure.model_dump() for failure in seen.failures(StageStatus.CANCELLED)],
        "ended_in_the_last_hour": sum(seen.seen_unix_s - at < HOUR_S for at in ended),
        "last_ended_unix_s": ended[-1] if ended else None,
        "damaged_plans": sorted(seen.damaged_plans.values()),
        "bytes": _bytes(seen),
    }


def show(seen: Survey, out: Console) -> None:
    """A store's state for a person."""
    out.print(f"{seen.root}: {size(_bytes(seen))}")
    for driver, lease in sorted(seen.leases.items()):
        alive = {True: "gone; orchestrator.unlock --stale removes its lease", False: "at work", None: "holds a lease"}
        since = duration(max(0.0, seen.seen_unix_s - lease.started_unix_s))
        out.print(f"driver {driver} on {lease.host}, pid {lease.pid}, for {since}: {alive[seen.gone[driver]]}")
        out.print(f"  {' '.join(lease.argv)}")
    if not seen.leases:
        out.print("no driver is at work")
    for message in seen.damaged_plans.values():
        out.print(f"damaged: {message}")
    _show_counts(seen, out)
    for key in _in_state(seen, StageStatus.RUNNING):
        out.print(f"running: {seen.stages[key].name}  {describe_progress(seen.progress(key))}")
    for state in GIVEN_UP:
        failures = seen.failures(state)
        for failure in failures[:FAILURES]:
            out.print(
                f"{state}: {failure.name}  {failure.error_type}: {failure.message}  ({failure.cause}; {failure.log})"
            )
        if len(failures) > FAILURES:
            out.print(f"and {len(failures) - FAILURES} more {state}")
    ended = _ended(seen)
    if ended:
        ago = duration(max(0.0, seen.seen_unix_s - max(ended)))
        recent = sum(seen.seen_unix_s - at < HOUR_S for at in ended)
        out.print(f"{recent} stages ended in the last hour; the last one {ago} ago")


def describe_progress(progress: dict[str, Any]) -> str:
    """How far a running stage is, in words."""
    parts = [f"attempt {progress['attempt']}"]
    if progress["epoch"] is not None:
        parts.append(f"epoch {progress['epoch']} of {progress['epochs']}")
    if isinstance(progress["accuracy_percent"], int | float):
        parts.append(f"{progress['accuracy_percent']:.2f} %")
    if progress["host"]:
        parts.append(f"on {progress['host']}, pid {progress['pid']}")
    silent = progress["seconds_since_last_beat"]
    parts.append("no beat yet" if silent is None else f"last beat {duration(silent)} ago")
    return ", ".join(parts)


def _show_counts(seen: Survey, out: Console) -> None:
    table = Table("kind", box=None, pad_edge=False)
    for state in StageStatus:
        table.add_column(state.value, justify="right")
    for kind, states in _by_kind(seen).items():
        table.add_row(Text(kind), *(str(states[state]) for state in StageStatus))
    if seen.wanted:
        total = Counter(seen.state[key] for key in seen.wanted)
        table.add_row("all", *(str(total[state]) for state in StageStatus), style="bold")
        out.print(table)
    else:
        out.print("no sweep has planned anything here")


def _by_kind(seen: Survey) -> dict[str, Counter[StageStatus]]:
    found: dict[str, Counter[StageStatus]] = {}
    for key, stage in seen.stages.items():
        if key in seen.wanted:
            found.setdefault(stage.kind, Counter())[seen.state[key]] += 1
    return found


def _states(states: Counter[StageStatus]) -> dict[str, int]:
    return {state.value: states[state] for state in StageStatus}


def _in_state(seen: Survey, state: StageStatus) -> list[str]:
    return sorted((key for key, found in seen.state.items() if found is state), key=lambda key: seen.stages[key].name)


def _ended(seen: Survey) -> list[float]:
    """When each record was written, by the listing: to read them all would take a request for each."""
    entries = (stage.files.get(RECORD) for stage in seen.files.values())
    return [entry.modified_unix_s for entry in entries if entry is not None and entry.modified_unix_s is not None]


def _bytes(seen: Survey) -> int:
    stages = sum(entry.size_bytes for stage in seen.files.values() for entry in stage.files.values())
    return stages + sum(entry.size_bytes for entry in seen.other_files.values())


if __name__ == "__main__":
    app()
