"""``winning-sign verify``: checks all files of a store and quarantines the broken ones."""

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
from orchestrator.terminal.command import STORE_ERRORS, open_existing
from orchestrator.terminal.units import size
from workers.terminal.command import AsJson, add_command, console, new_app, one_sentence, print_json
from workers.terminal.console import Console
from workers.terminal.options import StorePath

EXAMPLES = """
winning-sign verify sweeps
winning-sign verify s3://bucket/sweeps --check-only --json
"""
app = new_app()


@add_command(app, EXAMPLES)
def verify(
    store: StorePath,
    check_only: Annotated[bool, typer.Option("--check-only", help="Report broken files and change nothing.")] = False,
    json_: AsJson = False,
) -> None:
    """Check all files of a store and quarantine the broken ones.

    Hashes every artifact again, and reads every record, plan, ticket and table of results. Broken records and plans
    move to set-aside/, and so do named pipes and links that lead out of the store; nothing is deleted. The next sweep
    that needs such a stage computes it again. The exit code is 1 if a file was broken.
    """
    with one_sentence(*STORE_ERRORS):
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
            report = check(opened, lambda done, total: bars.update(bar, completed=done, total=total))
        if not check_only:
            quarantine(opened, report.faults)
        recomputed = _recomputed(opened, report)
    if json_:
        print_json({**asdict(report), "set_aside": bool(report.faults) and not check_only, "made_anew": recomputed})
    else:
        _show(console(), report, recomputed, check_only=check_only)
    raise typer.Exit(1 if report.faults else 0)


def _recomputed(store: Store, report: VerificationReport) -> list[str]:
    """Names of the planned stages that the next sweep computes again, including inputs whose weights gc removed."""
    surveyed = survey(store)
    store.records({})
    broken = {fault.key[:KEY_DIGITS] for fault in report.faults if fault.kind != "copy"}
    lost = [key for key in surveyed.wanted if key[:KEY_DIGITS] in broken]
    unfinished = [key for key in surveyed.wanted if surveyed.state[key] is not StageStatus.DONE]
    inputs = {key: surveyed.stages[key].inputs.values() for key in surveyed.wanted}
    again = to_recompute(inputs, [*lost, *unfinished], store.collected())
    return sorted(surveyed.stages[key].name for key in {*lost, *again})


def _show(out: Console, report: VerificationReport, recomputed: list[str], *, check_only: bool) -> None:
    for fault in report.faults:
        out.print(f"broken: {fault.message}")
    for name, keys in report.missing_inputs.items():
        out.print(f"note: {name} is valid, but its input {', '.join(keys)} has no record any more")
    collected = f"; gc removed {report.collected} files before" if report.collected else ""
    broken = len(report.faults) or "nothing"
    out.print(f"{report.records} records, {report.files} files, {size(report.size_bytes)}: {broken} broken{collected}")
    if not report.faults:
        return
    if check_only:
        out.print("Nothing was changed; run verify without --check-only to quarantine the broken records and plans.")
    else:
        out.print("Broken records and plans were moved to set-aside/; the stages' files stay where they are.")
    for name in recomputed:
        out.print(f"the next sweep computes again: {name}")
    if recomputed:
        out.print("Stages computed from these stay valid: the same key gives the same bits.")


if __name__ == "__main__":
    app()
