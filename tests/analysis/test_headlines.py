"""Sentences claim what the intervals allow, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis import load
from analysis.headlines import accuracy_by_method, barrier_by_method, dense, lead, signs_carry
from analysis.numbers import numbers
from analysis.sections import Section, sections

if TYPE_CHECKING:
    from conftest import SyntheticStore

SPACE = "\N{NO-BREAK SPACE}"


def only(store: SyntheticStore) -> Section:
    [section] = sections(load(store.root))
    return section


def test_signs_carry_where_the_interval_leaves_out_zero(sweep: SyntheticStore) -> None:
    lrr, aws, *_ = (sentence.replace(SPACE, " ") for sentence in signs_carry(only(sweep)))
    assert aws.startswith("AWS at density 0.107: signed transfer reaches 62.00 ± 2.00 % (n = 3 trainings in 1 chain)")
    assert "mask transfer 52.00 ± 1.00 %" in aws
    # differences 9, 10, 11: 10 ± 4.303 / sqrt(3)
    assert "signs carry +10.00 points (95 % interval +7.52 to +12.48 over 3 pairs of one chain" in aws
    assert "which cannot tell about other tickets" in aws
    assert "not shown: +0.00 points (95 % interval −2.48 to +2.48" in lrr


def test_the_lead_counts_every_comparison(sweep: SyntheticStore) -> None:
    signs, barriers, accuracies = (sentence.replace(SPACE, " ") for sentence in lead(only(sweep)))
    shown = [sentence for sentence in signs_carry(only(sweep)) if "signs carry +" in sentence]
    assert f"shown in {len(shown)} of {len(signs_carry(only(sweep)))} comparisons" in signs
    lower = [sentence for sentence in barrier_by_method(only(sweep)) if "lower for AWS" in sentence]
    higher = [sentence for sentence in barrier_by_method(only(sweep)) if "higher for AWS" in sentence]
    assert (f"shown in {len(lower)} of {len(barrier_by_method(only(sweep)))} comparison" in barriers) == bool(lower)
    assert (f"the reverse in {len(higher)}" in barriers) == bool(higher)
    lower = [sentence for sentence in accuracy_by_method(only(sweep)) if "lower for AWS" in sentence]
    assert (f"the reverse in {len(lower)}" in accuracies) == bool(lower)
    assert f"{len(accuracy_by_method(only(sweep)))} comparison" in accuracies


def test_the_lead_leaves_open_what_is_not_shown(store: SyntheticStore) -> None:
    for chain, other in ((1, 79.0), (2, 81.0)):
        store.train("signed", 80.0, method="aws", chain=chain, round=15, seed=1)
        store.train("signed", other, method="lrr", chain=chain, round=15, seed=1)
    assert lead(only(store)) == [
        "Not shown either way: AWS's signed masks reach a higher accuracy than LRR's (1 comparison)."
    ]


def test_an_accuracy_that_is_lower_for_aws_is_said_to_be(store: SyntheticStore) -> None:
    for chain in (1, 2, 3):
        store.train("signed", 80.0 + chain / 10, method="aws", chain=chain, round=15, seed=1)
        store.train("signed", 84.0, method="lrr", chain=chain, round=15, seed=1)
    [sentence] = accuracy_by_method(only(store))
    assert "lower for AWS: AWS minus LRR −3.80 points" in sentence.replace(SPACE, " ")
    assert lead(only(store)) == [
        "AWS's signed masks reach a higher accuracy than LRR's: shown in 0 of 1 comparison, the reverse in 1."
    ]


def test_the_lead_says_nothing_where_nothing_is_compared(store: SyntheticStore) -> None:
    store.train("dense", 70.0, seed=1)
    assert lead(only(store)) == []


def test_barrier_is_lower_only_where_shown(sweep: SyntheticStore) -> None:
    first = barrier_by_method(only(sweep))[0].replace(SPACE, " ")
    assert first.startswith("At density 0.107 the barrier of a signed transfer to the solution is 2.00 ± 1.00 points")
    assert "32.00 ± 1.00 points (n = 3 probes in 1 chain) for LRR: lower for AWS: AWS minus LRR −30.00" in first


def test_a_barrier_that_is_higher_for_aws_is_said_to_be(store: SyntheticStore) -> None:
    for chain in (1, 2, 3):
        for method, middle in (("aws", 40.0 + chain / 10), ("lrr", 35.0)):
            store.probe("lmc", "signed", (30.0, middle, 30.0), method=method, chain=chain, round=10, seed=1)
    [sentence] = barrier_by_method(only(store))
    assert "higher for AWS: AWS minus LRR +5.20 points" in sentence
    assert "over 3 chains, 3 pairs" in sentence


def test_a_barrier_difference_across_zero_is_not_shown(store: SyntheticStore) -> None:
    for seed, middle in ((1, 34.0), (2, 36.5)):
        store.probe("lmc", "signed", (30.0, middle, 30.0), method="aws", chain=1, round=10, seed=seed)
        store.probe("lmc", "signed", (30.0, 35.0, 30.0), method="lrr", chain=1, round=10, seed=seed)
    [sentence] = barrier_by_method(only(store))
    assert "not distinguishable, a difference is not shown" in sentence


def test_one_pair_gives_no_interval_and_no_claim(store: SyntheticStore) -> None:
    store.train("signed", 60.0, method="aws", chain=1, round=10, seed=1)
    store.train("mask", 40.0, method="aws", chain=1, round=10, seed=1)
    [sentence] = signs_carry(only(store))
    assert sentence.endswith("not shown: +20.00 points from one pair, which gives no interval.")


def test_unpaired_trainings_are_not_compared(store: SyntheticStore) -> None:
    store.train("signed", 60.0, method="aws", chain=1, round=10, seed=1)
    store.train("mask", 40.0, method="aws", chain=1, round=10, seed=2)
    [sentence] = signs_carry(only(store))
    assert "no pair of the same chain and seed" in sentence


def test_dense_comes_first(sweep: SyntheticStore) -> None:
    assert dense(only(sweep)) == [f"Dense training reaches 72.00{SPACE}±{SPACE}1.00 % (n = 3 trainings)."]


def test_the_table_has_dense_on_top_and_the_sparsest_next(sweep: SyntheticStore) -> None:
    table = numbers(only(sweep))
    assert table["transfer"].tolist() == ["dense", *(["retrain", "signed", "mask"] * 4)]
    assert table["round"].tolist()[1:] == [10] * 6 + [5] * 6
    aws_signed = table[(table["method"] == "aws") & (table["transfer"] == "signed")].iloc[0]
    assert aws_signed[["accuracy_mean", "barrier_mean", "stability_mean"]].tolist() == [62.0, 2.0, 2.0]
    assert aws_signed[["barrier_trainings", "barrier_chains"]].tolist() == [3, 1]
