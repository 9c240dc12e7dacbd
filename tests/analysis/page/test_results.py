"""Results as one JSON document: its schema, its numbers, and what to cite."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pandas as pd
import pytest
from pydantic import ValidationError

from analysis import load
from analysis.comparisons.judgements import judgements
from analysis.page.export import export
from analysis.page.results import Results, citation, results

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

OF_EXPORT = ("numbers", "command", "recipe")
FAQ = Path(__file__).parents[3] / "docs" / "faq.md"


def test_the_file_fits_its_schema_and_says_what_the_report_says(sweep: SyntheticStore, tmp_path: Path) -> None:
    export(load(sweep.root), tmp_path / "tables")
    content, schema = (
        json.loads((tmp_path / "tables" / name).read_text()) for name in ("results.json", "results.schema.json")
    )
    jsonschema.validate(content, schema)
    [part] = content["parts"]
    [judged] = judgements(load(sweep.root))
    assert {name: value for name, value in part.items() if name not in OF_EXPORT} == judged
    [signed] = [
        row for row in part["numbers"] if (row["method"], row["transfer"], row["round"]) == ("aws", "signed", 10)
    ]
    assert signed["measures"]["accuracy"]["mean"] == pytest.approx(62.0)
    assert signed["measures"]["barrier"]["mean"] == pytest.approx(2.0)
    assert "stability" not in next(row for row in part["numbers"] if row["transfer"] == "dense")["measures"]
    assert (content["git_commits"], content["packages"]) == (["abc123"], {"torch": ["2.11"]})


def test_numbers_are_those_of_the_table(sweep: SyntheticStore, tmp_path: Path) -> None:
    export(load(sweep.root), tmp_path / "tables")
    table = pd.read_csv(tmp_path / "tables" / "numbers.csv")
    [part] = Results.model_validate_json((tmp_path / "tables" / "results.json").read_bytes()).parts
    assert [row.measures["accuracy"].low for row in part.numbers] == pytest.approx(table["accuracy_low"].tolist())


def test_a_reader_of_another_version_notices(sweep: SyntheticStore) -> None:
    content = results(load(sweep.root)).model_dump()
    with pytest.raises(ValidationError):
        Results.model_validate({**content, "schema_version": 2})


def test_a_sweep_that_has_only_begun_has_no_parts(store: SyntheticStore) -> None:
    store.plan(("digits/first", "a" * 32))
    assert results(load(store.root)).parts == []


def test_the_paper_and_the_software_are_cited(sweep: SyntheticStore) -> None:
    text = citation(load(sweep.root))
    assert text.startswith(re.findall(r"```bibtex\n(.*?)```", FAQ.read_text(), re.S)[0])
    assert "note    = {Commit abc123}" in text
    assert text.count("{") == text.count("}")


def test_a_text_that_is_no_commit_is_not_cited(store: SyntheticStore) -> None:
    store.stage("train", {"transfer": "dense", "seed": 1}, {}, provenance={"git_commit": "a}b"})
    assert "The commit was not recorded" in citation(load(store.root))
