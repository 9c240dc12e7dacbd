"""What differs between two stores: recipes field by field, results with intervals, and what one alone has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from analysis import load
from analysis.comparisons.stores import DIFFERS, NO_INTERVAL, NOT_SHOWN, UNJUDGED, ComparedPart, compare_parts
from analysis.frames.several import disagreements, open_reader
from analysis.page.compared import recipe, sureness, verdict
from analysis.report import app
from orchestrator.store import Store
from orchestrator.store.plans import PlannedRecipe, PlannedStage, StoredPlan
from tests.analysis.conftest import SETTING, SyntheticStore

SPARSEST = {"method": "aws", "round": 10, "seed": 1}
EARLIER = {"epochs": 3}
DOCUMENT = Path(__file__).parents[3] / "docs" / "report.md"


def filled(root: Path, signed: tuple[float, ...], mask: tuple[float, ...] = (), **fields: Any) -> SyntheticStore:
    """A store with a signed and a mask transfer in each chain; fields of the recipe change the keys."""
    store = SyntheticStore(root)
    for transfer, accuracies in (("signed", signed), ("mask", mask)):
        for chain, accuracy in enumerate(accuracies, start=1):
            store.train(transfer, accuracy, science={**EARLIER, **fields}, chain=chain, **SPARSEST)
    recipe = PlannedRecipe(**SETTING, fields={**EARLIER, "chains": 3, **fields}, builtin={})
    stages = [
        PlannedStage(key=key, kind=record.kind, name=record.name, labels=record.labels)
        for key, record in Store(root).records().items()
    ]
    plan = StoredPlan(argv=["sweep"], started_unix_s=1.0, stages=stages, recipes=[recipe])
    (root / "plans").mkdir()
    (root / "plans" / "plan.json").write_text(plan.sealed().model_dump_json())
    return store


def compared(*stores: SyntheticStore) -> ComparedPart:
    roots = [store.root for store in stores]
    both = open_reader(roots)
    both.records({})
    a, b = (load(root) for root in roots)
    [part] = compare_parts(a, b, disagreements(both), ("mine", "theirs"))
    return part


def result(part: ComparedPart, of: str) -> dict[str, Any]:
    [row] = part.results[part.results["of"] == of].to_dict("records")
    return {str(name): value for name, value in row.items()}


def test_the_difference_is_unpaired_over_chains(tmp_path: Path) -> None:
    mine, theirs = (60.0, 61.0, 62.5), (70.0, 74.0, 71.0, 73.0)
    part = compared(
        filled(tmp_path / "mine", mine, (50.0, 51.0, 50.5)),
        filled(tmp_path / "theirs", theirs, (50.0, 52.0, 51.0, 49.0), epochs=4),
    )
    row = result(part, "signed transfer")
    welch = stats.ttest_ind(theirs, mine, equal_var=False).confidence_interval()
    assert row["difference"] == pytest.approx(72.0 - 61.1666667)
    assert (row["low"], row["high"]) == pytest.approx((welch.low, welch.high))
    adjusted = stats.ttest_ind(theirs, mine, equal_var=False).confidence_interval(1 - 0.05 * 0.8 / 2)
    assert (row["adjusted_low"], row["adjusted_high"]) == pytest.approx((adjusted.low, adjusted.high))  # 2 are primary
    assert (row["outcome"], row["primary"], row["a_chains"], row["b_chains"]) == (DIFFERS, True, 3, 4)
    sides = "61.17 ± 1.26 in mine (3 chains) against 72.00 ± 1.83 in theirs (4 chains)"
    assert f"differs: {sides}" in row["sentence"].replace("\N{NO-BREAK SPACE}", " ")
    gains = stats.ttest_ind((20.0, 22.0, 20.0, 24.0), (10.0, 10.0, 12.0), equal_var=False).confidence_interval()
    gain = result(part, "signs − mask alone")
    assert (gain["low"], gain["high"]) == pytest.approx((gains.low, gains.high))
    assert result(part, "mask transfer")["outcome"] == NOT_SHOWN
    assert verdict(part) == "2 of 3 results differ."


def test_recipes_are_compared_field_by_field(tmp_path: Path) -> None:
    stores = (filled(tmp_path / "mine", (60.0,)), filled(tmp_path / "theirs", (60.0,), epochs=4, momentum=0.9))
    part = compared(*stores)
    assert part.fields.to_numpy(na_value="").tolist() == [["epochs", "3", "4"], ["momentum", "", "0.9"]]
    assert recipe(part) == "2 fields of the recipe differ: epochs, momentum."
    assert not part.replication


def test_the_same_recipe_is_a_replication_check(tmp_path: Path) -> None:
    part = compared(filled(tmp_path / "mine", (60.0, 61.0)), filled(tmp_path / "theirs", (60.0, 61.5, 63.0)))
    assert (part.replication, part.same, part.unequal, part.most_points) == (True, 2, 1, pytest.approx(0.5))
    assert "this is a replication check: 2 of 2 stages of the same name" in recipe(part)
    assert "1 of these have other results, by at most 0.50 points" in recipe(part)
    equal = compared(filled(tmp_path / "a", (60.0, 61.0)), filled(tmp_path / "b", (60.0, 61.0)))
    assert "and these have equal results. Beyond that: All 2 fields of the recipe are equal." in recipe(equal)


def test_one_chain_gives_no_interval(tmp_path: Path) -> None:
    part = compared(filled(tmp_path / "mine", (60.0, 61.0, 62.0)), filled(tmp_path / "theirs", (80.0,), epochs=4))
    [row] = part.results.to_dict("records")
    assert row["outcome"] == NO_INTERVAL
    assert pd.isna([row["low"], row["adjusted_low"], row["b_sd"], row["b_low"]]).all()
    assert row["sentence"].endswith("against 80.00 in theirs (1 chain), in %; theirs − mine is +19.00 points.")
    assert verdict(part) == "No result has an interval: a store has a single chain."
    assert "1 result without an interval" in sureness(part)


def test_nothing_is_judged_before_both_are_complete(tmp_path: Path) -> None:
    theirs = filled(tmp_path / "theirs", (80.0, 81.0, 82.0), epochs=4)
    theirs.plan(("late", "a" * 32))
    part = compared(filled(tmp_path / "mine", (60.0, 61.0, 62.0)), theirs)
    assert part.results["outcome"].tolist() == [UNJUDGED]
    assert verdict(part).startswith("Preliminary: theirs has 3 of 4 stages.")


def test_the_page_and_the_data_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = filled(tmp_path / "mine", (60.0, 61.0, 62.5), (50.0, 51.0, 50.5))
    theirs = filled(tmp_path / "theirs", (70.0, 74.0, 71.0), epochs=4)
    theirs.train("dense", 90.0, seed=1, dataset="letters")
    page, folder = tmp_path / "page.html", tmp_path / "numbers"
    words = [str(mine.root), str(theirs.root), "--compare", "--out", str(page), "--export", str(folder)]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, done.stdout.split()) == (0, [str(folder), str(page)])
    html = page.read_text()
    assert "1 of 1 result differs." in html
    assert "test accuracy, mask transfer under AWS at density 0.107" in html  # only in mine
    assert "letters · tiny · sound" in html
    folders = json.loads(html.split('id="stages">', 1)[1].split("</script>", 1)[0])["columns"]["folder"]
    assert all((tmp_path / each / "record.json").exists() for each in folders)
    document, schema = (json.loads((folder / name).read_text()) for name in ("compared.json", "compared.schema.json"))
    jsonschema.validate(document, schema)
    described = {part["title"] for part in schema["$defs"].values() if part["description"]}
    assert described == {"ComparedResult", "DifferingField", "PartOfBoth"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "stores": document["stores"][:1]}, schema)
    [part] = document["parts"]
    assert (part["fields"], document["only"]["theirs"]) == (
        [{"field": "epochs", "a": 3, "b": 4}],
        ["letters · tiny · sound"],
    )
    assert pd.read_parquet(folder / "compared_results.parquet")["outcome"].tolist() == [DIFFERS]
    [in_python] = re.findall(r"```python\n(.*?compare_parts.*?)```", DOCUMENT.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(in_python.replace("\nfigures", "\nfigure = figures"), names)
    assert "1 result of mine and theirs; 1 differ." in names["figure"].layout.meta["summary"]
