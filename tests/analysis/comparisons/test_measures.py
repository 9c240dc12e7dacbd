"""Measures that only some studies have: a study's question about one is answered, and no other report changes."""

from __future__ import annotations

import json
from math import isnan, sqrt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import load
from analysis.comparisons import headline
from analysis.comparisons.answers import comparisons
from analysis.comparisons.judgements import judgements
from analysis.comparisons.measures import numbers
from analysis.comparisons.sentences import NEGLIGIBLE, NOT_SHOWN, SHOWN
from analysis.comparisons.stores import ComparedPart, compare_parts
from analysis.comparisons.study import study_of
from analysis.figures import differences
from analysis.frames.sections import Section, sections
from analysis.frames.several import disagreements, open_reader
from analysis.page.export import export
from analysis.page.rendering import render
from orchestrator.store import Store
from orchestrator.store.plans import PlannedStage, PlannedStudy, StoredPlan
from tests.analysis.conftest import SETTING, SyntheticStore

SPARSEST = {"round": 10, "seed": 1}
T2 = 4.3027  # Student's 97.5 % quantile for two degrees of freedom
T2_AT_4 = 4.8487  # two-sided level of 4 %: what a planned look may spend
FLATTER = "curvature_of_aws_signed_minus_lrr_signed"
EIGENVALUES = {"aws": (8.0, 16.0, 8.0), "lrr": (16.0, 64.0, 64.0)}
DOUBLINGS = (-1.0, -2.0, -3.0)


def probe(store: SyntheticStore, name: str, numbers: dict[str, float], pair: str = "lmc", **labels: Any) -> None:
    """A probe of one pair besides its barrier."""
    results = {"density": 0.8**10, **{f"{name}_{word}": value for word, value in numbers.items()}}
    store.stage("pair_probe", {**SPARSEST, "probe": pair, **labels}, results, science={"probe": name})


def curved(store: SyntheticStore, eigenvalues: dict[str, tuple[float, ...]] = EIGENVALUES) -> None:
    """Curvatures of signed transfers, by method and chain; the other ends of the pairs differ."""
    for method, values in eigenvalues.items():
        for chain, value in enumerate(values, start=1):
            pair = {"method": method, "chain": chain, "transfer": "signed"}
            ends = {"a_top_eigenvalue": value, "b_top_eigenvalue": 1000.0, "a_trace": 500.0}
            probe(store, "curvature", ends, **pair)
            probe(store, "curvature", {**ends, "a_top_eigenvalue": 3.0}, pair="stability", **pair)


def flipped(store: SyntheticStore, percents: dict[str, tuple[float, ...]]) -> None:
    """Final trainings of AWS's tickets with their share of flipped signs, by start and chain."""
    for start, values in percents.items():
        for chain, percent in enumerate(values, start=1):
            labels = {"method": "aws", "chain": chain, "transfer": start, **SPARSEST}
            results = {"density": 0.8**10, "test_accuracy_percent": 60.0 + chain, "sign_flips_percent": percent}
            store.stage("train", labels, results)


def asked(store: SyntheticStore, *primary: str, margin_points: float | None = None) -> SyntheticStore:
    """Store the plan of all that is done, of a study with these questions."""
    for chain in (1, 2, 3):
        store.stage("round", {"method": "aws", "chain": chain}, {})
    stages = [
        PlannedStage(key=key, kind=record.kind, name=record.name, labels=record.labels)
        for key, record in Store(store.root).records().items()
    ]
    study = PlannedStudy(**SETTING, primary=[*primary], looks=[3], margin_points=margin_points)
    Store(store.root).write_plan(StoredPlan(argv=["sweep"], started_unix_s=1.0, stages=stages, studies=[study]))
    return store


def only(store: SyntheticStore) -> Section:
    [section] = sections(load(store.root))
    return section


def answer(store: SyntheticStore, question: str) -> dict[str, Any]:
    compared = comparisons(only(store))
    [row] = compared[compared["question"] == question].to_dict("records")
    return {str(name): value for name, value in row.items()}


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_curvatures_differ_by_their_ratio_in_doublings(store: SyntheticStore) -> None:
    curved(store)
    row = answer(asked(store, FLATTER), FLATTER)
    half, adjusted = T2 / sqrt(3), T2_AT_4 / sqrt(3)  # of -1, -2 and -3
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((-2.0, -2 - half, -2 + half), rel=1e-4)
    assert (row["adjusted_low"], row["adjusted_high"]) == pytest.approx((-2 - adjusted, -2 + adjusted), rel=1e-4)
    assert (row["a_mean"], row["b_mean"]) == pytest.approx((10 / 3, 16 / 3))  # mean log2 of the eigenvalues
    assert (row["unit"], row["difference_unit"], row["primary"]) == ("log2 nats", "doublings", True)
    assert row["outcome"] == NOT_SHOWN
    assert plain(row["sentence"]) == (
        "Not shown that AWS signed transfer has a lower largest Hessian eigenvalue than LRR signed transfer at density "
        "0.107 on digits: −2.0 doublings [−4.5, 0.5], adjusted [−4.8, 0.8], n = 3 pairs in 3 chains (3.3 ± 0.6 against "
        "5.3 ± 1.2 log2 nats); about 8 chains would show a difference of this size (power 80 %)."
    )


def test_a_curvature_without_a_logarithm_has_no_pair(store: SyntheticStore) -> None:
    curved(store, {"aws": (8.0, 0.0, 8.0), "lrr": (16.0, 64.0, 32.0)})
    row = answer(asked(store, FLATTER), FLATTER)
    assert (row["pairs"], row["difference"], row["a_trainings"], row["b_trainings"]) == (2, -1.5, 2, 3)


def test_a_margin_in_points_makes_no_curvature_negligible(store: SyntheticStore) -> None:
    curved(store)
    assert answer(asked(store, FLATTER, margin_points=50), FLATTER)["outcome"] == NOT_SHOWN


def test_a_margin_in_points_is_one_of_percentages_too(store: SyntheticStore) -> None:
    flipped(store, {"signed": (1.0, 1.1, 1.2), "mask": (1.1, 1.1, 1.1)})
    name = "sign_flips_of_signed_minus_mask"
    assert answer(asked(store, name, margin_points=5), name)["outcome"] == NEGLIGIBLE


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("aligned_barrier", "barrier after weight matching"),
        ("activation_aligned_barrier", "barrier after activation matching"),
        ("repaired_barrier", "barrier after weight matching and REPAIR"),
    ],
)
def test_barriers_after_matching_are_of_their_own_probe_and_of_pairs_to_the_solution(
    store: SyntheticStore, name: str, title: str
) -> None:
    for chain, signed in enumerate((1.0, 2.0, 3.0), start=1):
        for start, points in (("signed", signed), ("mask", 20.0)):
            labels = {"method": "aws", "chain": chain, "transfer": start}
            for each in ("aligned_barrier", "activation_aligned_barrier", "repaired_barrier"):
                own = {"points": points if each == name else 90.0, "standard_error_points": 0.3}
                probe(store, each, own, **labels)
                probe(store, each, {"points": 80.0, "standard_error_points": 0.3}, pair="stability", **labels)
            store.probe("lmc", errors=(30.0, 70.0, 30.0), **SPARSEST, **labels)
    question = f"{name}_of_signed_minus_mask"
    row = answer(asked(store, question), question)
    assert (row["difference"], row["a_mean"], row["b_mean"]) == pytest.approx((-18.0, 2.0, 20.0))
    assert row["standard_error"] == pytest.approx(0.3 * sqrt(2))
    assert (row["measure"], row["unit"], row["difference_unit"]) == (title, "points", "points")
    assert row["outcome"] == SHOWN
    assert row["sentence"].startswith(f"Signed transfer has a lower {title} than mask transfer under AWS at density")


def test_the_share_of_flipped_signs_is_compared_in_points(store: SyntheticStore) -> None:
    flipped(store, {"signed": (2.0, 3.0, 4.0), "mask": (20.0, 22.0, 21.0)})
    name = "sign_flips_of_signed_minus_mask"
    row = answer(asked(store, name), name)
    half = T2 / sqrt(3)  # of -18, -19 and -17
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((-18.0, -18 - half, -18 + half), rel=1e-4)
    assert isnan(row["standard_error"])
    assert row["outcome"] == SHOWN
    [part] = judgements(load(store.root))
    assert part["verdict"] == "Signed transfer has a lower share of signs flipped than mask transfer"
    assert "share of signs flipped: signed transfer 3.0 % (AWS), mask transfer 21.0 % (AWS)" in plain(part["ground"])
    assert part["answers"][0] == (
        "Signed transfer has a lower share of signs flipped than mask transfer: shown in 1 of 1 comparison, share of "
        "signs flipped −18.0 points."
    )
    assert part["decided"]


def test_the_first_words_are_about_the_curvature_that_a_study_asks_about(store: SyntheticStore) -> None:
    curved(store, {"aws": (8.0, 16.0, 8.0), "lrr": (32.0, 65.0, 33.0)})
    section = only(asked(store, FLATTER))
    compared, study = comparisons(section), study_of(section)
    claim = "AWS signed transfer has a lower largest Hessian eigenvalue than LRR signed transfer"
    assert headline.asked(section, compared, study) == f"Is it shown that {claim}?"
    said, ground = headline.verdict(section, compared, study)
    assert said == claim
    assert "largest Hessian eigenvalue: AWS signed transfer 3.3 log2 nats, LRR signed transfer 5.4 log2 nats" in ground
    assert "−2.0 doublings, adjusted interval [−2.1, −2.0]" in headline.sureness(section, compared, study)
    [axis] = [differences(load(store.root)).layout.xaxis.title.text]
    assert axis == "difference (doublings)"


def test_no_report_asks_about_a_measure_that_no_study_named(store: SyntheticStore) -> None:
    flipped(store, {"signed": (2.0, 3.0, 4.0), "mask": (20.0, 22.0, 21.0)})
    before = comparisons(only(asked(store)))
    curved(store)
    after = comparisons(only(store))
    assert set(after["measure"]) == {"test accuracy"}
    columns = ["difference", "low", "high", "adjusted_low", "adjusted_high"]
    pd.testing.assert_frame_equal(after[columns], before[columns])


def test_a_question_whose_measure_is_not_taken_yet_waits(store: SyntheticStore) -> None:
    flipped(store, {"signed": (2.0, 3.0, 4.0)})
    section = only(asked(store, FLATTER))
    compared = comparisons(section)
    assert compared.empty
    [part] = judgements(load(store.root))
    assert (part["comparisons"], part["decided"]) == ([], False)


def test_a_probe_of_an_older_version_has_no_standard_error(store: SyntheticStore) -> None:
    for start in ("signed", "mask"):
        probe(store, "aligned_barrier", {"points": 5.0}, method="aws", chain=1, transfer=start)
    name = "aligned_barrier_of_signed_minus_mask"
    row = answer(asked(store, name), name)
    assert (row["difference"], row["outcome"]) == (0.0, NOT_SHOWN)
    assert isnan(row["standard_error"])


def test_tables_have_the_measures_that_the_section_has(store: SyntheticStore, tmp_path: Path) -> None:
    flipped(store, {"signed": (2.0, 3.0, 4.0)})
    table = numbers(only(store))
    assert {"accuracy_mean", "stability_mean", "sign_flips_mean"} <= {*table.columns}
    assert "curvature_mean" not in table
    curved(asked(store, FLATTER))
    frames = load(store.root)
    table = numbers(only(store))
    [aws] = table[table["method"] == "aws"].to_dict("records")
    assert aws["curvature_mean"] == pytest.approx((3 + 4 + 3) / 3)
    assert aws["curvature_low"] < 3  # of a logarithm: no value is too small
    assert aws["sign_flips_mean"] == 3.0
    export(frames, tmp_path / "tables")
    document = json.loads((tmp_path / "tables" / "results.json").read_text())
    [of_aws] = [row for row in document["parts"][0]["numbers"] if row["method"] == "aws"]
    assert of_aws["measures"]["curvature"]["mean"] == pytest.approx(10 / 3)
    [compared] = document["parts"][0]["comparisons"]
    assert (compared["question"], compared["difference_unit"]) == (FLATTER, "doublings")
    latex = (tmp_path / "tables" / "numbers.tex").read_text()
    assert r"share of signs flipped (\%)" in latex
    assert "largest Hessian eigenvalue (log2 nats)" in latex
    assert "REPAIR" not in latex
    page = render(frames, str(store.root), str, catalogue=())
    assert "<td>3.33" in page
    assert "doublings" in page
    assert "barrier after weight matching" not in page


def compared_stores(root: Path, *primary: str) -> ComparedPart:
    """Compare two stores; the second one's curvatures of AWS are four times as high, and only its study asks."""
    stores = [SyntheticStore(root / name) for name in ("mine", "theirs")]
    for store, factor in zip(stores, (1.0, 4.0), strict=True):
        flipped(store, {"signed": (2.0, 3.0, 4.0)})
        curved(store, {**EIGENVALUES, "aws": tuple(factor * value for value in EIGENVALUES["aws"])})
    asked(stores[0])
    asked(stores[1], *primary)
    both = open_reader([store.root for store in stores])
    both.records({})
    a, b = (load(store.root) for store in stores)
    [part] = compare_parts(a, b, disagreements(both), ("mine", "theirs"))
    return part


def test_two_stores_are_compared_by_the_measures_that_a_study_asks_about(tmp_path: Path) -> None:
    assert set(compared_stores(tmp_path / "silent").results["result"]) == {"accuracy"}
    part = compared_stores(tmp_path / "asking", FLATTER)
    assert set(part.results["result"]) == {"accuracy", "curvature", FLATTER}
    assert part.only == {"mine": [], "theirs": []}
    rows = part.results.set_index(["result", part.results["method"].fillna("")])
    of_aws, of_both = rows.loc["curvature", "aws"], rows.loc[FLATTER, ""]
    assert (of_aws["difference"], of_both["difference"]) == pytest.approx((2.0, 2.0))
    assert (of_aws["unit"], of_both["unit"]) == ("log2 nats", "doublings")
    for row in (of_aws, of_both):
        assert "theirs − mine is +2.00 doublings" in row["sentence"]
    assert "−2.00" in plain(of_both["sentence"])  # of the pairs in mine
