"""Judge every part of a store: its verdict, its looks, and every comparison, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from analysis.comparisons.answers import comparisons
from analysis.comparisons.headline import verdict
from analysis.comparisons.questions import questions_of
from analysis.comparisons.sentences import NEGLIGIBLE, REVERSE, SHOWN, answers
from analysis.comparisons.study import study_of
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections

DECIDED = (SHOWN, REVERSE, NEGLIGIBLE)


def judgements(frames: Frames, compared: Sequence[pd.DataFrame] | None = None) -> list[dict[str, Any]]:
    """Judge every part of a store.

    Args:
        compared: the comparisons of each section, by a caller that has computed them.

    Returns:
        For each data set, architecture and preset: its labels; ``verdict`` and ``ground``; ``answers``; ``study``: when
        results are judged; ``looks``, each with ``chains``, ``seeds``, ``spent``, ``planned``, ``done``; ``decided``:
        whether every primary comparison is shown, its reverse is, or it is negligible; ``chains_needed``: the most that
        a primary comparison still needs (None if unknown); ``comparisons``: the rows of
        ``analysis.comparisons.answers.comparisons``.
    """
    parts = sections(frames)
    compared = list(map(comparisons, parts)) if compared is None else compared
    return [_judged(section, rows) for section, rows in zip(parts, compared, strict=True)]


def _judged(section: Section, compared: pd.DataFrame) -> dict[str, Any]:
    study = study_of(section)
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
