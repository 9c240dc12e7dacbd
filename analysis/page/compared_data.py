"""The comparison of two stores as data: one JSON document with a schema, and tables.

``Compared.model_json_schema()`` is the schema; an export holds it as ``compared.schema.json``. A later version of this
software may add fields, and raises ``schema_version`` if it changes or removes one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field

from analysis.comparisons.measures import DifferenceUnit, Unit
from analysis.comparisons.stores import (
    DIFFERS,
    NO_INTERVAL,
    NOT_SHOWN,
    UNJUDGED,
    ComparedPart,
    compare_parts,
    parts_of_one,
)
from analysis.frames.load import Frames
from analysis.page.compared import names_of, recipe, sureness, verdict
from analysis.page.export import with_setting_first, write_files, write_table
from analysis.page.results import Document, plain


class DifferingField(Document):
    """A field of the resolved recipe that differs; a value is null if that store's recipe has no such field."""

    field: Annotated[str, Field(description="Dotted, such as optimizer.learning_rate.")]
    a: Any
    b: Any


class ComparedResult(Document):
    """One result that both stores have: of the first store, a, and of the second one, b."""

    result: Annotated[str, Field(description="Name of a measure, such as accuracy, or of a question.")]
    measure: Annotated[str, Field(description="In words, such as test accuracy.")]
    of: Annotated[str, Field(description="The start or the question in words.")]
    unit: Annotated[Unit | DifferenceUnit, Field(description="Of the means.")]
    difference_unit: Annotated[DifferenceUnit, Field(description="Of the difference and its intervals.")]
    method: Annotated[str | None, Field(description="Null for dense trainings, and if the question has none.")]
    transfer: Annotated[str | None, Field(description="Null for a question.")]
    density: Annotated[float | None, Field(description="Surviving fraction of the prunable weights; null if dense.")]
    a_mean: float
    a_sd: Annotated[float | None, Field(description="Over chains (dense: over trainings); null for one.")]
    a_low: Annotated[float | None, Field(description="Lower end of the mean's 95 % t interval; null for one chain.")]
    a_high: float | None
    a_trainings: Annotated[int, Field(description="Trainings, or pairs of trainings for a question.")]
    a_chains: Annotated[int, Field(description="0 for dense trainings.")]
    a_keys: Annotated[str, Field(description="First 16 digits of the stages' keys, comma-separated.")]
    b_mean: float
    b_sd: float | None
    b_low: float | None
    b_high: float | None
    b_trainings: int
    b_chains: int
    b_keys: str
    difference: Annotated[float, Field(description="b - a.")]
    low: Annotated[float | None, Field(description="Lower end of its 95 % interval (Welch).")]
    high: float | None
    adjusted_low: Annotated[float | None, Field(description="As low, for all results of the part; it decides.")]
    adjusted_high: float | None
    primary: Annotated[bool, Field(description="Whether it is one of those that share 80 % of the 5 %.")]
    outcome: Literal[DIFFERS, NOT_SHOWN, NO_INTERVAL, UNJUDGED]  # type: ignore[valid-type]  # their values
    sentence: str


class PartOfBoth(Document):
    """One data set, architecture and preset that both stores have."""

    dataset: str
    architecture: str
    preset: str
    verdict: str
    recipe: Annotated[str, Field(description="What differs in the recipes, as a sentence.")]
    sureness: Annotated[str, Field(description="What the intervals are over, and what they are adjusted for.")]
    replication: Annotated[
        bool, Field(description="Whether all stages of the same name have the same recipe, seeds and data.")
    ]
    equal_fields: Annotated[int | None, Field(description="Equal fields of the recipe; null if a store has no recipe.")]
    fields: list[DifferingField]
    stages: Annotated[int, Field(description="Stages that both stores hold by name.")]
    same: Annotated[int, Field(description="Of those, the stages with the same key.")]
    unequal: Annotated[int, Field(description="Of those with the same key, the stages with other files or numbers.")]
    most_points: Annotated[
        float | None,
        Field(description="Largest difference of accuracies or barriers of the same key; null if none has the same."),
    ]
    results: list[ComparedResult]
    only: Annotated[dict[str, list[str]], Field(description="By store, the results that only it has, in words.")]


class Compared(Document):
    """What differs between two stores."""

    schema_version: Literal[1] = 1
    stores: Annotated[list[str], Field(min_length=2, max_length=2, description="Their roots: of a, then of b.")]
    parts: list[PartOfBoth]
    only: Annotated[dict[str, list[str]], Field(description="By store, the titles of the parts that only it has.")]


def export_compared(a: Frames, b: Frames, unequal: pd.DataFrame, folder: Path) -> None:
    """Write the comparison of two stores into a folder, replacing files of the same names.

    ``compared.json`` is a ``Compared``, and ``compared.schema.json`` its schema. ``compared_results`` and
    ``compared_recipes`` are the tables of all parts as CSV and Parquet.

    Args:
        unequal: the stages that both hold with different results: the frame ``disagreements`` of both.

    Raises:
        OSError: the folder cannot be made or written.
    """
    names = names_of((a.stores[0], b.stores[0]))
    parts = compare_parts(a, b, unequal, names)
    document = Compared(
        stores=[*a.stores, *b.stores], parts=[_part(part) for part in parts], only=parts_of_one(a, b, names)
    )
    schema = json.dumps(Compared.model_json_schema(), indent=1)

    def write(place: Path) -> None:
        (place / "compared.json").write_text(document.model_dump_json(indent=1), encoding="utf-8")
        (place / "compared.schema.json").write_text(schema, encoding="utf-8")
        for name in ("results", "fields"):
            table = with_setting_first([(part.a, getattr(part, name)) for part in parts], name)
            write_table(table, place, f"compared_{'recipes' if name == 'fields' else name}")

    write_files(folder, write)


def _part(part: ComparedPart) -> PartOfBoth:
    return PartOfBoth(
        **{name: getattr(part.a, name) for name in ("dataset", "architecture", "preset")},
        verdict=verdict(part),
        recipe=recipe(part),
        sureness=sureness(part),
        **{name: getattr(part, name) for name in ("replication", "equal_fields", "stages", "same", "unequal", "only")},
        most_points=plain(part.most_points),
        fields=[
            DifferingField(field=row["field"], **{side: _value(row[side]) for side in "ab"})
            for row in part.fields.to_dict("records")
        ],
        results=[
            ComparedResult.model_validate({name: plain(value) for name, value in row.items()})
            for row in part.results.to_dict("records")
        ],
    )


def _value(text: Any) -> Any:
    """Read a field's value; null where that store's recipe has no such field."""
    return json.loads(text) if isinstance(text, str) else None
