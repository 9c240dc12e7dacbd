"""``winning-sign status``: the drivers, progress, failures and size of a store."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from orchestrator.operating.survey import GIVEN_UP, StageStatus, Survey, survey
from orchestrator.store.events import Outlook, outlook
from orchestrator.store.layout import RECORD
from orchestrator.terminal.command import STORE_ERRORS, open_existing
from orchestrator.terminal.units import running_stage, size
from workers.terminal.command import AsJson, add_command, console, new_app, one_sentence, print_json, tell_left_out
from workers.terminal.console import Console
from workers.terminal.numbers import duration
from workers.terminal.options import StorePath
from workers.terminal.tables import UncutTable, print_table

EXAMPLES = """
winning-sign status sweeps
winning-sign status s3://bucket/sweeps --json
"""
HOUR_S = 3600.0
FAILURES = 20
"""Failures and cancellations to print at most."""
app = new_app()


@add_command(app, EXAMPLES)
def status(store: StorePath, json_: AsJson = False) -> None:
    """Show the drivers, progress and failures of a store.

    Prints who runs sweeps, how many stages are done, running, waiting and blocked, how much time is left, and the
    failures, first failure first. Works from any machine, also while sweeps run: it lists the store once and writes
    nothing.
    """
    with one_sentence(*STORE_ERRORS):
        surveyed = survey(open_existing(store))
        tell_left_out(surveyed.left_out, store)
        if json_:
            print_json(as_json(surveyed))
        else:
            show(surveyed, console())


def as_json(surveyed: Survey) -> dict[str, Any]:
    """Return the state of a store for machines."""
    ended = sorted(_end_times(surveyed))
    return {
        "store": surveyed.root,
        "drivers": [
            {
                **lease.model_dump(include={"driver", "host", "pid", "started_unix_s", "argv"}),
                "alive": None if surveyed.gone[driver] is None else not surveyed.gone[driver],
            }
            for driver, lease in sorted(surveyed.leases.items())
        ],
        "planned": len(surveyed.wanted),
        "states": _by_state(Counter(surveyed.state[key] for key in surveyed.wanted)),
        "kinds": {kind: _by_state(counts) for kind, counts in _counts_by_kind(surveyed).items()},
        "superseded": sum(s is StageStatus.DONE for key, s in surveyed.state.items() if key not in surveyed.wanted),
        "running": [
            {"key": key, "name": surveyed.stages[key].name, **surveyed.progress(key)} for key in _running(surveyed)
        ],
        "failed": [failure.model_dump() for failure in surveyed.failures()],
        "cancelled": [failure.model_dump() for failure in surveyed.failures(StageStatus.CANCELLED)],
        "ended_in_the_last_hour": _ended_last_hour(surveyed, ended),
        "last_ended_unix_s": ended[-1] if ended else None,
        "left": asdict(_outlook(surveyed, ended)) if surveyed.wanted else None,
        "damaged_plans": sorted(surveyed.damaged_plans.values()),
        "left_out": sorted(surveyed.left_out.values()),
        "bytes": _bytes(surveyed),
    }


def show(surveyed: Survey, out: Console) -> None:
    """Print the state of a store for a person."""
    out.print(f"{surveyed.root}: {size(_bytes(surveyed))}")
    for driver, lease in sorted(surveyed.leases.items()):
        alive = {
            True: "its process is gone; winning-sign unlock --stale removes its lease",
            False: "at work",
            None: "holds a lease",
        }
        since = duration(max(0.0, surveyed.seen_unix_s - lease.started_unix_s))
        out.print(f"driver {driver} on {lease.host}, pid {lease.pid}, for {since}: {alive[surveyed.gone[driver]]}")
        out.print(f"  {' '.join(lease.argv)}")
    if not surveyed.leases:
        out.print("no driver is at work")
    for message in surveyed.damaged_plans.values():
        out.print(f"damaged: {message}")
    _show_counts(surveyed, out)
    ended = _end_times(surveyed)
    if surveyed.wanted:
        out.print(_outlook(surveyed, ended).text)
    for key in _running(surveyed):
        out.print(f"running: {surveyed.stages[key].name}  {running_stage(surveyed.progress(key))}")
    for state in GIVEN_UP:
        failures = surveyed.failures(state)
        for failure in failures[:FAILURES]:
            out.print(
                f"{state}: {failure.name}  {failure.error_type}: {failure.message}  ({failure.cause}; {failure.log})"
            )
        if len(failures) > FAILURES:
            out.print(f"and {len(failures) - FAILURES} more {state}")
    if ended:
        ago = duration(max(0.0, surveyed.seen_unix_s - max(ended)))
        out.print(f"{_ended_last_hour(surveyed, ended)} stages ended in the last hour; the last one {ago} ago")


def _show_counts(surveyed: Survey, out: Console) -> None:
    if not surveyed.wanted:
        out.print("no sweep has planned anything in this store")
        return
    table = UncutTable(["kind"], [state.value for state in StageStatus])
    for kind, counts in _counts_by_kind(surveyed).items():
        table.add(kind, *(str(counts[state]) for state in StageStatus))
    total = Counter(surveyed.state[key] for key in surveyed.wanted)
    table.add("all", *(str(total[state]) for state in StageStatus), style="bold")
    print_table(out, table)


def _counts_by_kind(surveyed: Survey) -> dict[str, Counter[StageStatus]]:
    counts: dict[str, Counter[StageStatus]] = {}
    for key, stage in surveyed.stages.items():
        if key in surveyed.wanted:
            counts.setdefault(stage.kind, Counter())[surveyed.state[key]] += 1
    return counts


def _by_state(counts: Counter[StageStatus]) -> dict[str, int]:
    return {state.value: counts[state] for state in StageStatus}


def _running(surveyed: Survey) -> list[str]:
    """Keys of the running stages, sorted by name."""
    keys = [key for key, state in surveyed.state.items() if state is StageStatus.RUNNING]
    return sorted(keys, key=lambda key: surveyed.stages[key].name)


def _end_times(surveyed: Survey) -> list[float]:
    """When each record was written, by the listing: reading every record would take a request for each."""
    entries = (stage.files.get(RECORD) for stage in surveyed.files.values())
    return [entry.modified_unix_s for entry in entries if entry is not None and entry.modified_unix_s is not None]


def _outlook(surveyed: Survey, ended: list[float]) -> Outlook:
    counts = Counter(surveyed.state[key] for key in surveyed.wanted)
    return outlook(
        ended,
        unfinished=counts[StageStatus.RUNNING] + counts[StageStatus.WAITING],
        given_up=sum(counts[state] for state in (*GIVEN_UP, StageStatus.BLOCKED)),
        at_work=bool(surveyed.living),
    )


def _ended_last_hour(surveyed: Survey, ended: list[float]) -> int:
    return sum(surveyed.seen_unix_s - end_unix_s < HOUR_S for end_unix_s in ended)


def _bytes(surveyed: Survey) -> int:
    stages = sum(entry.size_bytes for stage in surveyed.files.values() for entry in stage.files.values())
    return stages + sum(entry.size_bytes for entry in surveyed.other_files.values())


if __name__ == "__main__":
    app()
