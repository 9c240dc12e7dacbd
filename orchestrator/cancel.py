"""``python -m orchestrator.cancel``: asks stages, or all sweeps of a store, to checkpoint and stop."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.operating.selection import find_stages
from orchestrator.operating.survey import StageStatus, Survey, survey
from orchestrator.store import Store
from orchestrator.terminal.command import AsJson, StorePath, console, new_app, one_sentence, open_existing, print_json

EXAMPLES = """
Examples:

  python -m orchestrator.cancel sweeps

  python -m orchestrator.cancel sweeps 'cifar10/resnet20/aws/*' 3f2a
"""
app = new_app()


@app.command(epilog=EXAMPLES)
def cancel(
    store: StorePath,
    stages: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY|NAME…]", help="Stages, by name, part, pattern or key; none: all sweeps here."),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Ask sweeps to stop, or running stages alone; what ran has a checkpoint, and the next sweep goes on from it."""
    with one_sentence():
        opened = open_existing(store)
        seen = survey(opened)
        if stages:
            keys = dict.fromkeys(key for text in stages for key in find_stages(seen.stages, seen.wanted, text))
            asked = [cancel_stage(opened, seen, key) for key in keys]
        else:
            asked = [cancel_driver(opened, driver) for driver in sorted(seen.living)]
    if json_:
        print_json({"drivers" if not stages else "stages": asked})
        return
    out = console()
    if not asked:
        out.print("No driver is at work here; there is nothing to cancel.")
    for one in asked:
        out.print(one["said"])
    if any(one["asked"] for one in asked):
        out.print(
            "A cancelled stage blocks what reads it in this sweep; the next sweep tries it again, from its checkpoint."
            if stages
            else "Running stages checkpoint and stop; the same sweep command goes on from there."
        )


def cancel_driver(store: Store, driver: str) -> dict[str, Any]:
    """Ask a driver to stop."""
    store.storage.write(f"drivers/{driver}/stop", b"cancelled")
    return {"driver": driver, "asked": True, "said": f"Asked driver {driver} to stop."}


def cancel_stage(store: Store, seen: Survey, key: str) -> dict[str, Any]:
    """Ask a running stage to stop; one that does not run is left as it is."""
    name, state = seen.stages[key].name, seen.state[key]
    if state is StageStatus.RUNNING:
        attempt = seen.attempts[key]
        store.storage.write(f"{attempt.folder}/stop", b"cancelled")
        said = f"Asked attempt {attempt.number} of {name} to stop."
    else:
        said = f"{name} is {state}, not running; nothing was done."
    return {"key": key, "name": name, "state": state.value, "asked": state is StageStatus.RUNNING, "said": said}


if __name__ == "__main__":
    app()
