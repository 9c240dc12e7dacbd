"""Upper limits of a recipe's fields, and the reason of each, which the sentence that refuses a value says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

MOST_STAGES = 100_000
"""Of a sweep: the driver plans them all, and status, gc and the report read a record of each."""

MOST_ROUNDS = 100_000


def at_most(limit: int, why: str) -> AfterValidator:
    """Refuse values above a limit."""

    def check(value: int | float) -> int | float:
        if value > limit:
            raise ValueError(f"at most {limit:,}, because {why}; this is {value:,}")
        return value

    return AfterValidator(check)


def once(items: Sequence[Hashable]) -> Sequence[Hashable]:
    """Return the items; ValueError if one stands twice."""
    if len(set(items)) < len(items):
        twice = next(item for item, count in Counter(items).items() if count > 1)
        shown = f"[{', '.join(twice)}]" if isinstance(twice, tuple) else twice
        raise ValueError(f"{shown} stands twice; name each once")
    return items


Once = AfterValidator(once)
Epochs = Annotated[int, Field(ge=1), at_most(1_000_000, "a training that long does not end")]
Rounds = Annotated[int, Field(ge=1), at_most(MOST_ROUNDS, "no network has weights for more rounds")]
Chains = Annotated[int, Field(ge=1), at_most(MOST_STAGES, f"a sweep has at most {MOST_STAGES:,} stages")]
BatchSize = Annotated[int, Field(ge=2), at_most(1_000_000, "a batch must fit in memory")]
ImageSize = Annotated[int, Field(ge=8), at_most(4_096, "a batch of larger images fits in no memory")]
PathPoints = Annotated[int, Field(ge=3), at_most(10_001, "each point evaluates the test set")]
GridPoints = Annotated[int, Field(ge=2), at_most(501, "the grid evaluates the test set at the square of this number")]
Margin = Annotated[float, Field(ge=0), at_most(100, "the solutions would be one point of the grid")]
Steps = Annotated[int, Field(ge=1), at_most(10_000, "each step scores all weights anew")]
Images = Annotated[int, Field(ge=2), at_most(1_000_000_000, "no data set is larger; give null for all images")]
