"""``winning-sign judge``: what the results of a store show, at the looks of its studies.

>>> analysis.judge.judgements(analysis.load("runs/mnist1d"))    # or: winning-sign judge runs/mnist1d
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pandas as pd

from analysis.comparisons.answers import comparisons
from analysis.comparisons.questions import questions_of
from analysis.comparisons.sentences import NEGLIGIBLE, REVERSE, SHOWN, answers, verdict
from analysis.comparisons.study import study_of
from analysis.frames.load import Frames, load
from analysis.frames.sections import Section, sections
from orchestrator.store import StoreError
from workers.terminal.command import AsJson, add_command, console, new_app, one_sentence, print_json, tell_left_out
from workers.terminal.options import StorePath

EXAMPLES = """
winning-sign judge sweeps
winning-sign judge s3://bucket/sweeps --json
"""
DECIDED = (SHOWN, REVERSE, NEGLIGIBLE)
app = new_app()


def judgements(frames: Frames) -> list[dict[str, Any]]:
    """Judge every part of a store.

    Returns:
        For each data set, architecture and preset: its labels; ``verdict`` and ``ground``; ``answers``; ``study``: when
        results are judged; ``looks``, each with ``chains``, ``seeds``, ``spent``, ``planned``, ``done``; ``decided``:
        whether every primary comparison is shown, its reverse is, or it is negligible; ``chains_needed``: the most that
        a primary comparison still needs (None if unknown); ``comparisons``: the rows of
        ``analysis.comparisons.answers.comparisons``.
    """
    return [_judged(section) for section in sections(frames)]


def _judged(section: Section) -> dict[str, Any]:
    study, compared = study_of(section), comparisons(section)
    claim, ground = verdict(section, compared, study)
    primary = compared[compared["primary"]]
    needed = primary["chains_needed"]
    return {
        "dataset": section.dataset,
        "architecture": section.architecture,
        "preset": section.preset,
        "verdict": claim,
        "ground": ground,
        "answers": answers(compared, questions_of(study.primary, section.frames.stages)),
        "study": study.plan(),
        "looks": [asdict(look) for look in study.looks],
        "decided": bool(len(primary)) and bool(primary["outcome"].isin(DECIDED).all()),
        "chains_needed": None if needed.isna().all() else int(needed.max()),
        "comparisons": [_plain(row) for row in compared.to_dict("records")],
    }


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    """Turn a row into JSON: missing values become null."""
    return {str(name): None if pd.isna(value) else value for name, value in row.items()}


@add_command(app, EXAMPLES)
def judge(store: StorePath, json_: AsJson = False) -> None:
    """Say what the results of a store show, and how sure it is.

    Results are judged at the looks that the study planned: by default once, when all its chains are done. Before that
    they are preliminary.
    """
    with one_sentence(StoreError, OSError):
        frames = load(store, tickets=False, leave_out=True)
        tell_left_out(frames.left_out, store)
        if frames.stages.empty:
            raise StoreError(f"{store}: no stage is done in this folder; give the folder of a sweep's store")
        parts = judgements(frames)
    if json_:
        print_json({"store": store, "parts": parts})
        return
    out = console()
    for part in parts:
        out.print(f"{part['dataset']} · {part['architecture']} · {part['preset']}", style="bold")
        for line in (f"{part['verdict']}. {part['ground']}", part["study"], *part["answers"]):
            out.print(line, soft_wrap=True)


if __name__ == "__main__":
    app()
