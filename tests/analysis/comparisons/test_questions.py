"""Comparisons, and the sentences read off them, against numbers worked out by hand."""

from __future__ import annotations

from math import hypot, isnan, sqrt
from typing import TYPE_CHECKING, Any

import pytest

from analysis import load
from analysis.comparisons.answers import NOT_SHOWN, REVERSE, SHOWN, answers, by_chance, comparisons, verdict
from analysis.comparisons.measures import ACCURACY, numbers
from analysis.comparisons.questions import QUESTIONS, Arm, Question
from analysis.frames.sections import Section, sections

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

SPACE = "\N{NO-BREAK SPACE}"
T1, T2 = 12.7062, 4.3027  # Student's 97.5 % quantile for one and two degrees of freedom
SIGNS = "accuracy_of_signed_minus_mask"


def only(store: SyntheticStore) -> Section:
    [section] = sections(load(store.root))
    return section


def rows(store: SyntheticStore, question: str) -> list[dict[str, Any]]:
    compared = comparisons(only(store))
    return [
        {str(name): value for name, value in row.items()}
        for row in compared.to_dict("records")
        if row["question"] == question
    ]


def plain(text: str) -> str:
    return text.replace(SPACE, " ")


def test_a_difference_pairs_chain_and_seed_and_has_an_interval(sweep: SyntheticStore) -> None:
    lrr, aws, *denser = rows(sweep, SIGNS)
    assert [(row["round"], row["method"]) for row in (lrr, aws, *denser)] == [
        (10, "lrr"),
        (10, "aws"),
        (5, "lrr"),
        (5, "aws"),
    ]
    half = T2 * 1.0 / sqrt(3)  # differences 9, 10, 11
    assert (aws["difference"], aws["low"], aws["high"]) == pytest.approx((10.0, 10 - half, 10 + half), rel=1e-4)
    assert (aws["a_mean"], aws["a_sd"], aws["a_trainings"]) == (62.0, 2.0, 3)
    assert (aws["b_mean"], aws["b_sd"], aws["b_chains"]) == (52.0, 1.0, 1)
    assert (aws["pairs"], aws["chains"], aws["outcome"], lrr["outcome"]) == (3, 1, SHOWN, NOT_SHOWN)
    assert aws["density"] == pytest.approx(0.8**10)
    assert isnan(aws["standard_error"])
    assert plain(aws["sentence"]) == (
        "Signs carry accuracy that masks do not under AWS at density 0.107 on digits: +10.0 points [7.5, 12.5], "
        "n = 3 pairs in 1 chain, which says nothing about other tickets (62.0 ± 2.0 against 52.0 ± 1.0 %)."
    )
    assert plain(lrr["sentence"]).startswith(
        "Not shown that signs carry accuracy that masks do not under LRR at density 0.107 on digits: +0.0 points "
        "[−2.5, 2.5], n = 3 pairs"
    )


def test_a_comparison_knows_the_stages_of_both_sides(store: SyntheticStore) -> None:
    labels = {"method": "aws", "chain": 1, "round": 10}
    keys = {
        (transfer, seed): store.train(transfer, 60.0, **labels, seed=seed)
        for transfer in ("signed", "mask")
        for seed in (1, 2)
    }
    [row] = rows(store, SIGNS)
    assert set(row["a_keys"].split(",")) == {keys["signed", seed][:16] for seed in (1, 2)}
    assert set(row["b_keys"].split(",")) == {keys["mask", seed][:16] for seed in (1, 2)}


def test_methods_are_compared_over_chains(store: SyntheticStore) -> None:
    gains = {1: (3.0, 5.0), 2: (4.0, 6.0), 3: (5.0, 7.0)}  # means of chains: 4, 5, 6
    for chain, by_seed in gains.items():
        for seed, gain in enumerate(by_seed, start=1):
            store.train("signed", 80.0, method="lrr", chain=chain, round=15, seed=seed)
            store.train("signed", 80.0 + gain, method="aws", chain=chain, round=15, seed=seed)
    [row] = rows(store, "accuracy_of_aws_signed_minus_lrr_signed")
    half = T2 / sqrt(3)
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((5.0, 5 - half, 5 + half), rel=1e-4)
    assert plain(row["sentence"]).startswith(
        "AWS's signed mask transfers better than LRR's at density 0.0352 on digits: +5.0 points [2.5, 7.5], "
        "n = 6 pairs in 3 chains (85.0 ± 1.4 against 80.0 ± 0.0 %)"
    )


def test_a_reversed_outcome_has_its_own_sentence(store: SyntheticStore) -> None:
    for chain in (1, 2, 3):
        for method, middle in (("aws", 40.0 + chain / 10), ("lrr", 35.0)):
            labels = {"method": method, "chain": chain, "round": 10, "seed": 1}
            store.probe("lmc", "signed", (30.0, middle, 30.0), **labels)
            store.probe("stability", "signed", (30.0, middle, 30.0), **labels)
    [barrier] = rows(store, "barrier_of_aws_signed_minus_lrr_signed")
    [stability] = rows(store, "stability_of_aws_signed_minus_lrr_signed")
    assert barrier["outcome"] == stability["outcome"] == REVERSE
    assert barrier["difference"] == pytest.approx(5.2)
    assert barrier["standard_error"] == pytest.approx(hypot(0.1, 0.1))  # each probe's own is 0.1
    assert plain(barrier["sentence"]) == (
        "LRR's signed mask meets a lower barrier to the solution than AWS's at density 0.107 on digits: +5.2 points "
        "[5.0, 5.4], n = 3 pairs in 3 chains (10.2 ± 0.1 against 5.0 ± 0.0 points, the probes' standard error 0.1)."
    )
    assert stability["sentence"].startswith("LRR's signed mask is more stable under SGD's noise than AWS's at")


def test_a_lower_barrier_supports_the_claim(sweep: SyntheticStore) -> None:
    for row in rows(sweep, "barrier_of_aws_signed_minus_lrr_signed"):
        assert (row["difference"], row["outcome"]) == (pytest.approx(-30.0), SHOWN)


def test_dense_is_paired_by_seed_and_its_seeds_widen_the_interval(store: SyntheticStore) -> None:
    for seed, accuracy in ((1, 70.0), (2, 72.0)):
        store.train("dense", accuracy, seed=seed)
        for chain in (1, 2):
            store.train("signed", 78.0 + 2 * chain, method="aws", chain=chain, round=10, seed=seed)
    [row] = rows(store, "accuracy_of_signed_minus_dense")
    # differences 10, 8 and 12, 10: chains' means 9 and 11, seeds' means 11 and 9, each with half an interval of T1
    assert (row["difference"], row["low"]) == pytest.approx((10.0, 10 - hypot(T1, T1)), rel=1e-4)
    assert (row["pairs"], row["chains"], row["b_trainings"], row["b_chains"]) == (4, 2, 2, 0)


def test_a_single_dense_training_is_named_as_single(store: SyntheticStore) -> None:
    store.train("dense", 70.0, seed=1)
    for chain in (1, 2):
        store.train("signed", 78.0 + chain, method="aws", chain=chain, round=10, seed=1)
    [row] = rows(store, "accuracy_of_signed_minus_dense")
    assert "all against one training, whose own spread the interval does not include" in row["sentence"]


@pytest.mark.parametrize(
    ("better", "worse", "said"),
    [
        ("signed_psi_kept", "signed", "Keeping ψ raises the accuracy of a signed transfer under"),
        ("signed_psi_signs", "signed", "The signs of ψ raise the accuracy of a signed transfer under"),
        ("signed", "random_signs", "A ticket's signs carry more accuracy than random signs on its mask under"),
        ("signed", "shuffled", "A signed mask carries more accuracy than the same one shuffled within each layer"),
        (
            "signed",
            "flipped_quarter",
            "A signed mask carries more accuracy than the same one with a quarter of its signs flipped",
        ),
    ],
)
def test_further_transfers_and_controls(store: SyntheticStore, better: str, worse: str, said: str) -> None:
    for seed in (1, 2):
        labels = {"method": "aws", "chain": 1, "round": 10, "seed": seed}
        store.train(better, 80.0 + seed, **labels)
        store.train(worse, 70.0 + seed, **labels)
    [row] = rows(store, f"accuracy_of_{better}_minus_{worse}")
    assert (row["difference"], row["outcome"]) == (pytest.approx(10.0), SHOWN)
    assert row["sentence"].startswith(said)


def test_psi_kept_lowers_barriers(store: SyntheticStore) -> None:
    for seed in (1, 2):
        labels = {"method": "lrr", "chain": 1, "round": 10, "seed": seed}
        for probe in ("lmc", "stability"):
            store.probe(probe, "signed_psi_kept", (30.0, 31.0, 30.0), **labels)
            store.probe(probe, "signed", (30.0, 35.0, 30.0), **labels)
    for measure in ("barrier", "stability"):
        [row] = rows(store, f"{measure}_of_signed_psi_kept_minus_signed")
        assert (row["difference"], row["outcome"]) == (pytest.approx(-4.0), SHOWN)


def test_one_pair_gives_no_interval_and_no_claim(store: SyntheticStore) -> None:
    store.train("signed", 60.0, method="aws", chain=1, round=10, seed=1)
    store.train("mask", 40.0, method="aws", chain=1, round=10, seed=1)
    [row] = rows(store, SIGNS)
    assert (row["difference"], row["pairs"], row["outcome"]) == (20.0, 1, NOT_SHOWN)
    assert isnan(row["low"])
    assert row["sentence"].startswith("Not shown that signs carry")
    assert row["sentence"].endswith(": +20.0 points from one pair, which gives no interval.")
    assert answers(comparisons(only(store))) == [
        "Not shown that signs carry accuracy that masks do not: test accuracy +20.0 points in 1 comparison, "
        "and one pair gives no interval."
    ]
    assert by_chance(comparisons(only(store))) == ""


def test_unpaired_trainings_are_not_compared(store: SyntheticStore) -> None:
    store.train("signed", 60.0, method="aws", chain=1, round=10, seed=1)
    store.train("mask", 40.0, method="aws", chain=1, round=10, seed=2)
    [row] = rows(store, SIGNS)
    assert (row["pairs"], row["outcome"]) == (0, NOT_SHOWN)
    assert row["sentence"].endswith(": no pair with the same chain and seed is done yet.")
    assert answers(comparisons(only(store))) == []


def test_answers_count_every_comparison_of_their_question(sweep: SyntheticStore) -> None:
    assert [plain(sentence) for sentence in answers(comparisons(only(sweep)))] == [
        "Signs carry accuracy that masks do not: shown in 2 of 4 comparisons, test accuracy +0.0 to +10.0 points.",
        "AWS's signed mask transfers better than LRR's: shown in 2 of 2 comparisons, test accuracy +10.0 points.",
        "AWS's signed mask meets a lower barrier to the solution than LRR's: shown in 2 of 2 comparisons, "
        "barrier to the solution −30.0 points.",
        "Not shown that AWS's signed mask is more stable under SGD's noise than LRR's: barrier between SGD seeds "
        "+0.0 points in 2 comparisons, and every interval includes 0.",
        "A signed transfer ends below dense training: shown in 4 of 4 comparisons, test accuracy −20.0 to "
        "−10.0 points.",
    ]


def test_an_answer_names_both_directions(store: SyntheticStore) -> None:
    for round_, gain in ((5, 3.0), (10, -2.0)):
        for seed in (1, 2):
            labels = {"chain": 1, "round": round_, "seed": seed}
            store.train("signed", 70.0, method="lrr", **labels)
            store.train("signed", 70.0 + gain, method="aws", **labels)
    [sentence] = answers(comparisons(only(store)))
    assert plain(sentence) == (
        "AWS's signed mask transfers better than LRR's: shown in 1 of 2 comparisons, the reverse in 1, "
        "test accuracy −2.0 to +3.0 points."
    )


def test_the_answer_says_how_many_intervals_exclude_0_by_chance(sweep: SyntheticStore) -> None:
    compared = comparisons(only(sweep))
    assert len(compared) == 14
    assert (compared["outcome"] != NOT_SHOWN).sum() == 10
    assert plain(by_chance(comparisons(only(sweep)))) == (
        "Of 14 comparisons with an interval, 10 exclude 0; without any effect, about 0.7 (5 %) would exclude 0 by "
        "chance."
    )


def _accuracies(store: SyntheticStore, method: str, signed: tuple[float, ...], round_: int = 10) -> None:
    """Signed transfers of one chain by seed, with mask transfers of 50."""
    for seed, accuracy in enumerate(signed, start=1):
        store.train("signed", accuracy, method=method, chain=1, round=round_, seed=seed)
        store.train("mask", 50.0, method=method, chain=1, round=round_, seed=seed)


def test_the_verdict_makes_the_point_with_its_numbers(store: SyntheticStore) -> None:
    _accuracies(store, "lrr", (88.0, 89.0))
    _accuracies(store, "aws", (84.0, 85.0))
    store.train("dense", 95.1, seed=1)
    assert plain(verdict(only(store), comparisons(only(store)))) == (
        "The signs of a pruned network carry accuracy that its mask alone does not: at density 0.107 (10.7 % of the "
        "prunable weights) a random initialisation with the signed mask reaches 88.5 % (LRR) and 84.5 % (AWS), with "
        "the mask alone 50.0 % (LRR) and 50.0 % (AWS); dense training reaches 95.1 %."
    )


@pytest.mark.parametrize(
    ("lrr", "aws", "beginning"),
    [
        (
            (49.0, 51.0),
            (84.0, 85.0),
            "The signs of a pruned network carry accuracy that its mask alone does not under AWS, but this is not "
            "shown under LRR: at density 0.107",
        ),
        (
            (49.0, 51.0),
            (48.0, 51.0),
            "It is not shown that the signs of a pruned network carry accuracy that its mask alone does not: at",
        ),
        (
            (40.0, 41.0),
            (40.0, 41.0),
            "The signs of a pruned network cost accuracy that its mask alone keeps: at density 0.107",
        ),
        (
            (40.0, 41.0),
            (48.0, 51.0),
            "It is not shown that the signs of a pruned network carry accuracy that its mask alone does not under "
            "AWS, but the reverse is shown under LRR: at",
        ),
    ],
)
def test_the_verdict_claims_no_more_than_the_intervals(
    store: SyntheticStore, lrr: tuple[float, ...], aws: tuple[float, ...], beginning: str
) -> None:
    _accuracies(store, "lrr", lrr)
    _accuracies(store, "aws", aws)
    assert verdict(only(store), comparisons(only(store))).startswith(beginning)


def test_the_verdict_waits_for_an_interval(store: SyntheticStore) -> None:
    _accuracies(store, "aws", (80.0,), round_=15)
    store.train("dense", 95.0, seed=1)
    assert plain(verdict(only(store), comparisons(only(store)))) == (
        "Whether the signs of a pruned network carry accuracy that its mask alone does not is not yet known: too few "
        "pairs of a signed and a mask transfer are done. Dense training reaches 95.0 % (n = 1 training)."
    )
    for round_ in (5, 10):
        _accuracies(store, "aws", (84.0, 85.0), round_=round_)
    assert "at density 0.107" in verdict(only(store), comparisons(only(store)))  # the sparsest that has an interval


def test_a_new_question_is_one_value(sweep: SyntheticStore) -> None:
    retrain = Question(
        Arm("retrain"), Arm("mask"), ACCURACY, "higher", "retrain − mask", "a retrain beats a mask", "it does not"
    )
    compared = comparisons(only(sweep), [retrain])
    assert compared["difference"].tolist() == pytest.approx([16.0] * 4)
    assert compared["sentence"].str.startswith("A retrain beats a mask under ").all()


def test_questions_have_names_of_their_own() -> None:
    assert len({question.name for question in QUESTIONS}) == len(QUESTIONS)


def test_nothing_is_compared_in_an_empty_section(store: SyntheticStore) -> None:
    store.train("dense", 70.0, seed=1)
    assert comparisons(only(store)).empty
    assert answers(comparisons(only(store))) == []


def test_the_table_has_dense_on_top_and_the_sparsest_next(sweep: SyntheticStore) -> None:
    table = numbers(only(sweep))
    assert table["transfer"].tolist() == ["dense", *(["retrain", "signed", "mask"] * 4)]
    assert table["round"].tolist()[1:] == [10] * 6 + [5] * 6
    aws_signed = table[(table["method"] == "aws") & (table["transfer"] == "signed")].iloc[0]
    assert aws_signed[["accuracy_mean", "barrier_mean", "stability_mean"]].tolist() == [62.0, 2.0, 2.0]
    assert aws_signed[["barrier_trainings", "barrier_chains"]].tolist() == [3, 1]
