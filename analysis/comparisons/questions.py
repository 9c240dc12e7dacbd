"""The method's claims: which sides are compared, by which measure. To ask a question, add it to questions.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml

from analysis.comparisons.measures import MEASURES, Measure


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


QUESTIONS = tuple(_question(**entry) for entry in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_bytes()))
SIGNS_CARRY = QUESTIONS[0]
