"""The method's claims as data: which sides are compared, by which measure. To ask a new question, add a value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import pandas as pd

from analysis.comparisons.measures import ACCURACY, BARRIER, STABILITY, Measure


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
        partners: labels that both sides of a pair share, besides density and method: "seed" alone if b has no chain.
    """

    a: Arm
    b: Arm
    measure: Measure
    supported_by: Literal["higher", "lower"]
    title: str
    claim: str
    reverse: str
    partners: tuple[str, ...] = ("chain", "seed")

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


SIGNED, DENSE = Arm("signed"), Arm("dense")
_against_mask = partial(Question, SIGNED, Arm("mask"))
_aws_against_lrr = partial(Question, Arm("signed", "aws"), Arm("signed", "lrr"))
_psi_kept = partial(Question, Arm("signed_psi_kept"), SIGNED)

SIGNS_CARRY = _against_mask(
    ACCURACY,
    "higher",
    "signs − mask alone",
    "signs carry accuracy that masks do not",
    "masks alone carry more accuracy than signed masks",
)
QUESTIONS = (
    SIGNS_CARRY,
    _against_mask(
        BARRIER,
        "lower",
        "signs − mask alone",
        "signs lead nearer to the solution than masks do",
        "masks alone lead nearer to the solution than signed masks",
    ),
    _aws_against_lrr(
        ACCURACY,
        "higher",
        "AWS − LRR",
        "AWS's signed mask transfers better than LRR's",
        "LRR's signed mask transfers better than AWS's",
    ),
    _aws_against_lrr(
        BARRIER,
        "lower",
        "AWS − LRR",
        "AWS's signed mask meets a lower barrier to the solution than LRR's",
        "LRR's signed mask meets a lower barrier to the solution than AWS's",
    ),
    _aws_against_lrr(
        STABILITY,
        "lower",
        "AWS − LRR",
        "AWS's signed mask is more stable under SGD's noise than LRR's",
        "LRR's signed mask is more stable under SGD's noise than AWS's",
    ),
    Question(
        SIGNED,
        DENSE,
        ACCURACY,
        "higher",
        "signs − dense",
        "a signed transfer ends above dense training",
        "a signed transfer ends below dense training",
        partners=("seed",),
    ),
    _psi_kept(
        ACCURACY,
        "higher",
        "ψ kept − ψ fresh",
        "keeping ψ raises the accuracy of a signed transfer",
        "keeping ψ lowers the accuracy of a signed transfer",
    ),
    _psi_kept(
        BARRIER,
        "lower",
        "ψ kept − ψ fresh",
        "keeping ψ lowers the barrier of a signed transfer to the solution",
        "keeping ψ raises the barrier of a signed transfer to the solution",
    ),
    _psi_kept(
        STABILITY,
        "lower",
        "ψ kept − ψ fresh",
        "keeping ψ makes a signed transfer more stable under SGD's noise",
        "keeping ψ makes a signed transfer less stable under SGD's noise",
    ),
    Question(
        Arm("signed_psi_signs"),
        SIGNED,
        ACCURACY,
        "higher",
        "signs of ψ − ψ fresh",
        "the signs of ψ raise the accuracy of a signed transfer",
        "the signs of ψ lower the accuracy of a signed transfer",
    ),
    Question(
        SIGNED,
        Arm("random_signs"),
        ACCURACY,
        "higher",
        "signs − random signs",
        "a ticket's signs carry more accuracy than random signs on its mask",
        "random signs on a ticket's mask carry more accuracy than the ticket's own",
    ),
    Question(
        SIGNED,
        Arm("shuffled"),
        ACCURACY,
        "higher",
        "signs − shuffled",
        "a signed mask carries more accuracy than the same one shuffled within each layer",
        "a signed mask shuffled within each layer carries more accuracy than the same one in place",
    ),
    Question(
        SIGNED,
        Arm("flipped_quarter"),
        ACCURACY,
        "higher",
        "signs − a quarter flipped",
        "a signed mask carries more accuracy than the same one with a quarter of its signs flipped",
        "a signed mask with a quarter of its signs flipped carries more accuracy than the unflipped one",
    ),
)
