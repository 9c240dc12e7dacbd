"""``python -m orchestrator.verify``: checks all artifacts of a store, and sets aside what is broken."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrator.operating.garbage import to_recompute
from orchestrator.operating.survey import StageStatus, survey
from orchestrator.operating.verification import VerificationReport, check, quarantine
from orchestrator.store import Store
from orchestrator.store.layout import KEY_DIGITS
from orchestrator.terminal.command import AsJson, StorePath, console, new_app, one_sentence, open_existing, print_json
from orchestrator.terminal.units import size
from workers.terminal.console import Console

EXAMPLES = """
Examples:

  python -m orchestrator.verify sweeps

  python -m orchestrator.verify s3://bucket/sweeps --check-only --json
"""
app = new_app()


@app.command(epilog=EXAMPLES)
def verify(
    store: StorePath,
    check_only: Annotated[bool, typer.Option("--check-only", help="Set nothing aside.")] = False,
    json_: AsJson = False,
) -> None:
    """Hash all artifacts again, check all records and plans, and set aside what is broken: a sweep makes it anew.

    The exit code is 1 if something was broken. Nothing is deleted.
    """
    with one_sentence():
        opened = open_existing(store)
        bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=json_ or not Console(stderr=True).is_terminal,
        )
        with bars:
            bar = bars.add_task("checking", total=None)
            found = check(opened, lambda done, total: bars.update(bar, completed=done, total=total))
        if not check_only:
            quarantine(opened, found.faults)
        anew = _made_anew(opened, found)
    if json_:
        print_json({**asdict(found), "set_aside": bool(found.faults) and not check_only, "made_anew": anew})
    else:
        _show(console(), found, anew, check_only=check_only)
    raise typer.Exit(1 if found.faults else 0)


def _made_anew(store: Store, found: VerificationReport) -> list[str]:
    """Names of the planned stages that the next sweep makes again, with inputs that were collected."""
    seen = survey(store)
    store.records({})
    broken = {fault.key[:KEY_DIGITS] for fault in found.faults if fault.kind != "copy"}
    lacking = [key for key in seen.wanted if key[:KEY_DIGITS] in broken]
    unfinished = [key for key in seen.wanted if seen.state[key] is not StageStatus.DONE]
    inputs = {key: seen.stages[key].inputs.values() for key in seen.wanted}
    again = to_recompute(inputs, [*lacking, *unfinished], store.collected())
    return sorted(seen.stages[key].name for key in {*lacking, *again})


def _show(out: Console, found: VerificationReport, anew: list[str], *, check_only: bool) -> None:
    for fault in found.faults:
        out.print(f"broken: {fault.message}")
    for name, keys in found.missing_inputs.items():
        out.print(f"note: {name} read {', '.join(keys)}, of which there is no record; it is valid without")
    collected = f"; {found.collected} files were collected by orchestrator.gc" if found.collected else ""
    broken = len(found.faults) or "nothing"
    out.print(f"{found.records} records, {found.files} files, {size(found.size_bytes)}: {broken} broken{collected}")
    if not found.faults:
        return
    if check_only:
        out.print("Nothing was set aside; without --check-only it is.")
    else:
        out.print("What is broken was set aside; its files stay for whoever looks.")
    for name in anew:
        out.print(f"the next sweep makes anew: {name}")
    if anew:
        out.print("What was made from it stays: the same key gives the same bits.")


if __name__ == "__main__":
    app()
