"""Parts that stages share: kept once, and never taken for others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from orchestrator.store import Store
from orchestrator.store.values import MOST_VALUES, Parts, Provenance, Science
from tests.orchestrator.store.stores import SmallStore, planned_stage

SCALARS = st.sampled_from([1, True, 1.0, "1", 0, False, 0.0, -0.0, None, "", 2**40])
PARTS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner))


@given(st.lists(st.dictionaries(st.sampled_from(["x", "y", "z"]), PARTS), max_size=6))
def test_sharing_changes_no_value_and_no_type(stages: list[dict[str, Any]]) -> None:
    parts: Parts = {}
    for fields in (Science, Provenance):
        read = [TypeAdapter(fields).validate_python(stage, context=parts) for stage in stages]
        assert json.dumps(read) == json.dumps(stages)


def test_a_part_is_checked_for_each_field_that_it_stands_in() -> None:
    science, parts = TypeAdapter(Science), Parts()
    steps = {"epochs": "many"}
    assert science.validate_python({"plugin": steps}, context=parts) == {"plugin": steps}
    for _ in range(2):  # a refused part is not remembered either
        with pytest.raises(ValidationError, match="epochs"):
            science.validate_python({"training": steps}, context=parts)


def test_known_parts_count_to_the_most_values_of_a_stage() -> None:
    science, parts = TypeAdapter(Science), Parts()
    halves = {name: [0] * (MOST_VALUES // 2 - 3) for name in "ab"}
    for name, half in halves.items():
        science.validate_python({name: half}, context=parts)
    for context in (None, parts):
        assert science.validate_python(halves, context=context) == halves
        with pytest.raises(ValidationError, match="more than 20,000 values"):
            science.validate_python({**halves, "c": 0}, context=context)


def test_records_keep_equal_parts_once(tmp_path: Path) -> None:
    small = SmallStore(tmp_path)
    for name in "ab":
        small.commit(planned_stage(name))
    for indexed in (False, True):
        first, second = (record.science["training"] for record in Store(tmp_path).records(index=indexed).values())
        assert first is second
        assert first == planned_stage("a").science["training"]
        small.store.write_index()
