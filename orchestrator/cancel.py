"""``winning-sign cancel``: asks sweeps or single stages to checkpoint and stop."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.operating.selection import find_stages
from orchestrator.operating.survey import StageStatus, Survey, survey
from orchestrator.store import Store
from orchestrator.terminal.command import STORE_ERRORS, open_existing
from workers.terminal.command import AsJson, add_command, console, new_app, one_sentence, print_json
from workers.terminal.options import StorePath

EXAMPLES = """
winning-sign cancel sweeps
winning-sign cancel sweeps 'cifar10/resnet20/aws/*' 3f2a
"""
app = new_app()


@add_command(app, EXAMPLES)
def cancel(
    store: StorePath,
    stages: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STAGE…", help="Stages by name, part of the name, pattern or key. Default: all sweeps of the store."
        ),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Stop sweeps or single stages after a checkpoint.

    The next sweep continues each stage from its checkpoint.
    """
    with one_sentence(*STORE_ERRORS):
        opened = open_existing(store)
        surveyed = survey(opened)
        if stages:
            keys = dict.fromkeys(key for text in stages for key in find_stages(surveyed.stages, surveyed.wanted, text))
            answers = [cancel_stage(opened, surveyed, key) for key in keys]
        else:
            answers = [cancel_driver(opened, driver) for driver in sorted(surveyed.living)]
    if json_:
        print_json({"stages" if stages else "drivers": answers})
        return
    out = console()
    if not answers:
        out.print("No driver is at work in this store; there is nothing to cancel.")
    for answer in answers:
        out.print(answer["said"])
    if any(answer["asked"] for answer in answers):
        out.print(
            "A cancelled stage blocks the stages that read it in this sweep; the next sweep continues it from its "
            "checkpoint."
            if stages
            else "Running stages checkpoint and stop; the same sweep command continues them."
        )


def cancel_driver(store: Store, driver: str) -> dict[str, Any]:
    """Ask a driver to stop."""
    store.storage.write(f"drivers/{driver}/stop", b"cancelled")
    return {"driver": driver, "asked": True, "said": f"Asked driver {driver} to stop."}


def cancel_stage(store: Store, surveyed: Survey, key: str) -> dict[str, Any]:
    """Ask a stage to stop if it is running."""
    name, state = surveyed.stages[key].name, surveyed.state[key]
    if state is StageStatus.RUNNING:
        attempt = surveyed.attempts[key]
        store.storage.write(f"{attempt.folder}/stop", b"cancelled")
        sentence = f"Asked attempt {attempt.number} of {name} to stop."
    else:
        sentence = f"{name} is {state}, not running; nothing was done."
    return {"key": key, "name": name, "state": state.value, "asked": state is StageStatus.RUNNING, "said": sentence}


if __name__ == "__main__":
    app()
