"""``winning-sign verify``: checks all files of a store, quarantines the broken ones, and runs stages again."""

from __future__ import annotations

import secrets
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrator.operating.garbage import to_recompute
from orchestrator.operating.survey import StageStatus, survey
from orchestrator.operating.verification import VerificationReport, check, quarantine
from orchestrator.store import Store, StoreError
from orchestrator.store.layout import BADGE, KEY_DIGITS, RERUN
from orchestrator.terminal.command import STORE_ERRORS, open_existing
from orchestrator.terminal.units import size
from workers.terminal.command import AsJson, add_command, console, new_app, one_sentence, print_json
from workers.terminal.console import Console
from workers.terminal.options import StageOptions, StorePath, option

AGAIN = "Run stages again"
EXAMPLES = """
winning-sign verify sweeps
winning-sign verify s3://bucket/sweeps --check-only --json
winning-sign verify sweeps --rerun 5
winning-sign verify sweeps --rerun 5 --seed 7 --data-root ~/data --scratch /tmp
"""
app = new_app()


@add_command(app, EXAMPLES)
def verify(
    *,
    store: StorePath,
    check_only: Annotated[bool, typer.Option("--check-only", help="Report broken files and change nothing.")] = False,
    rerun: Annotated[
        int | None,
        option(AGAIN, "Run N random finished stages again and compare all bits, except timings.", metavar="N", min=1),
    ] = None,
    seed: Annotated[
        int | None,
        option(AGAIN, "With --rerun: draw the stages with this seed. Default: a random one.", metavar="N", min=0),
    ] = None,
    scratch: Annotated[
        Path | None,
        option(
            AGAIN,
            "With --rerun: folder to run in; the output of stages that differ stays there. Default: a temporary one.",
            metavar="FOLDER",
        ),
    ] = None,
    badge: Annotated[
        Path | None,
        option(AGAIN, f"With --rerun: folder for {BADGE} and {RERUN}. Default: the store.", metavar="FOLDER"),
    ] = None,
    json_: AsJson = False,
    options: StageOptions,
) -> None:
    """Check all files of a store and quarantine the broken ones.

    Hashes every artifact again, and reads every record, plan, ticket and table of results. Broken records and plans
    move to set-aside/, and so do named pipes and links that lead out of the store; nothing is deleted. The next sweep
    that needs such a stage computes it again. The exit code is 1 if a file was broken.

    With --rerun, N finished stages are then computed again on this machine, from their inputs in the store, and every
    bit of their output is compared. If all are the same, a badge says so. Otherwise the differences are stated. The
    exit code is 1 if a stage differs on the kind of machine that recorded it; on another kind, last digits may differ,
    and it is 0.
    """
    with one_sentence(*STORE_ERRORS):
        opened = open_existing(store)
        _check_options(opened, rerun, check_only, seed, scratch, badge, options)
        drawn = None
        if rerun is not None:
            from orchestrator.session.rerun.running import draw_prepared, run_sample  # here: torch takes seconds

            # from a store of its own, because a store keeps what it has read, and the check reads every file anew
            drawn = draw_prepared(open_existing(store), rerun, secrets.randbits(32) if seed is None else seed, options)
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
        out = console(quiet=json_)
        _show(out, report, recomputed, check_only=check_only)
        made = None
        if drawn and report.faults:
            out.print("Nothing was run again: mend the store first, by its sweep's command.")
        elif drawn:
            made = run_sample(opened, *drawn, scratch, badge, out)
    if json_:
        document = {**asdict(report), "set_aside": bool(report.faults) and not check_only, "made_anew": recomputed}
        print_json({**document, "rerun": made.model_dump(mode="json") if made else None})
    raise typer.Exit(1 if report.faults or (made and made.outcome == "failed") else 0)


def _check_options(
    store: Store,
    rerun: int | None,
    check_only: bool,
    seed: int | None,
    scratch: Path | None,
    badge: Path | None,
    options: StageOptions,
) -> None:
    """Raise StoreError or OSError if options do not fit each other, or a folder cannot be used."""
    if rerun is None:
        given = {"seed": seed, "scratch": scratch, "badge": badge}
        named = [name for name, value in given.items() if value is not None]
        named += [each.name for each in fields(options) if getattr(options, each.name) != each.default]
        if named:
            raise StoreError(f"--{named[0].replace('_', '-')} is for stages that run again; give --rerun N with it")
        return
    if check_only and badge is None:
        raise StoreError(
            "--check-only changes nothing, and --rerun writes a badge into the store; give --badge FOLDER, or leave "
            "out --check-only"
        )
    if scratch is not None and not scratch.is_dir():
        raise NotADirectoryError(f"--scratch {scratch}: there is no such folder; create it first")
    folder = store.storage.folder
    if scratch is not None and folder is not None and scratch.resolve().is_relative_to(folder.resolve()):
        raise StoreError(f"--scratch {scratch} lies in the store, which is only read; give a folder outside")
    if badge is not None and not badge.is_dir():
        raise NotADirectoryError(f"--badge {badge}: there is no such folder; create it first")
    if badge is None:
        store.open_for_writing()


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
