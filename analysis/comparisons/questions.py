"""The method's claims: which sides are compared, by which measure. To ask a question, add it to questions.yaml."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml

from analysis.comparisons.labels import method_name, transfer_name
from analysis.comparisons.measures import ACCURACY, MEASURES, Measure
from orchestrator.store.plans import parse_question


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: a transfer, of one method or of each method."""

    transfer: str
    method: str | None = None

    def of(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of this side."""
        rows = rows[rows["transfer"] == self.transfer]
        return rows if self.method is None else rows[rows["method"] == self.method]


@dataclass(frozen=True)
class Question:
    """The difference a - b of one measure, over pairs of trainings or probes, for each density and group.

    A question is two-sided: its reverse is shown as readily as its claim.

    Attributes:
        title: the comparison in few words, such as "signs − masks".
        supported_by: whether a higher or a lower a supports the claim.
        claim: stated if the interval supports the claim, as it reads within a sentence.
        reverse: stated if the interval lies on the other side of 0.
    """

    a: Arm
    b: Arm
    measure: Measure
    supported_by: Literal["higher", "lower"]
    title: str
    claim: str
    reverse: str

    @property
    def partners(self) -> tuple[str, ...]:
        """Labels that both sides of a pair share, besides density and method; dense trainings have no chain."""
        return ("seed",) if self.b.transfer.startswith("dense") else ("chain", "seed")

    @property
    def name(self) -> str:
        """The question's unique name, in tables and files."""
        sides = [f"{arm.method or ''}_{arm.transfer}".strip("_") for arm in (self.a, self.b)]
        return f"{self.measure.name}_of_{'_minus_'.join(sides)}"

    @property
    def by(self) -> list[str]:
        """Labels with a comparison each: the round, and the method unless the question compares methods."""
        return ["round"] if self.a.method else ["round", "method"]

    def supports(self, difference: float) -> bool:
        """Whether a difference lies on the claim's side of 0."""
        return difference > 0 if self.supported_by == "higher" else difference < 0


def _question(a: dict[str, str], b: dict[str, str], measure: str, **rest: Any) -> Question:
    return Question(Arm(**a), Arm(**b), {each.name: each for each in MEASURES}[measure], **rest)


def question_named(name: str, methods: Collection[str], transfers: Collection[str]) -> Question | None:
    """Return a question that a study names, as MEASURE_of_A_minus_B; None if it names no two known sides.

    Args:
        methods, transfers: names that the sides may have; a side is a transfer, or a method and a transfer.
    """
    try:
        measure_name, sides = parse_question(name, methods, transfers)
    except ValueError:
        return None
    measure = {each.name: each for each in MEASURES}[measure_name]
    one, other = arms = [Arm(transfer, method) for method, transfer in sides]
    a, b = (f"{method_name(arm.method) if arm.method else ''} {transfer_name(arm.transfer)}".strip() for arm in arms)
    claim, reverse = (f"{a} has a {word} {measure.title} than {b}" for word in ("higher", "lower"))
    if measure == ACCURACY:
        return Question(one, other, measure, "higher", f"{a} − {b}", claim, reverse)
    return Question(one, other, measure, "lower", f"{a} − {b}", reverse, claim)


QUESTIONS = tuple(_question(**entry) for entry in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_bytes()))
SIGNS_CARRY = QUESTIONS[0]


def questions_of(primary: Collection[str], stages: pd.DataFrame) -> tuple[Question, ...]:
    """Return the questions of a section: those that only its study names, then the method's.

    Args:
        primary: names of the study's primary questions.
        stages: the section's frame.
    """
    known = {question.name for question in QUESTIONS}
    methods, transfers = (set(stages[label].dropna()) for label in ("method", "transfer"))
    asked = (question_named(name, methods, transfers) for name in primary if name not in known)
    return (*filter(None, asked), *QUESTIONS)
