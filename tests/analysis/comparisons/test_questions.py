"""Comparisons, and the sentences read off them, against numbers worked out by hand."""

from __future__ import annotations

from math import hypot, isnan, sqrt
from typing import TYPE_CHECKING, Any

import pytest

from analysis import load
from analysis.comparisons import headline
from analysis.comparisons.answers import comparisons
from analysis.comparisons.measures import ACCURACY, MEASURES, numbers
from analysis.comparisons.questions import QUESTIONS, Arm, Question
from analysis.comparisons.sentences import NOT_SHOWN, REVERSE, SHOWN, UNJUDGED, adjustment, answers
from analysis.comparisons.study import study_of
from analysis.frames.sections import Section, sections
from orchestrator.store import plans

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

SPACE = "\N{NO-BREAK SPACE}"
T1, T2 = 12.7062, 4.3027  # Student's 97.5 % quantile for one and two degrees of freedom
T2_AT_4 = 4.8487  # two degrees of freedom, two-sided level of 4 %: what a planned look may spend
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


def verdict(section: Section) -> tuple[str, str]:
    claim, ground = headline.verdict(section, comparisons(section), study_of(section))
    return plain(claim), plain(ground)


def asked(section: Section) -> str:
    return headline.asked(section, comparisons(section), study_of(section))


def plain(text: str) -> str:
    return text.replace(SPACE, " ")


def carry(store: SyntheticStore, gains: dict[int, float], method: str = "aws", round_: int = 10) -> None:
    """One pair of a signed and a mask transfer per chain; the mask reaches 50."""
    for chain, gain in gains.items():
        labels = {"method": method, "chain": chain, "round": round_, "seed": 1}
        store.train("signed", 50.0 + gain, **labels)
        store.train("mask", 50.0, **labels)


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
    assert (aws["pairs"], aws["chains"]) == (3, 1)
    assert aws["density"] == pytest.approx(0.8**10)
    assert isnan(aws["standard_error"])


def test_one_chain_shows_nothing_however_many_its_seeds(sweep: SyntheticStore) -> None:
    compared = comparisons(only(sweep))
    assert set(compared["outcome"]) == {UNJUDGED}
    assert compared["adjusted_low"].isna().all()
    aws = rows(sweep, SIGNS)[1]
    assert plain(aws["sentence"]) == (
        "Not judged yet whether signs carry accuracy that masks do not under AWS at density 0.107 on digits: +10.0 "
        "points [7.5, 12.5], n = 3 pairs in 1 chain, which says nothing about other tickets (62.0 ± 2.0 against "
        "52.0 ± 1.0 %)."
    )
    assert answers(compared, QUESTIONS)[0].startswith(
        "Preliminary: test accuracy +0.0 to +10.0 points (signs − mask alone)"
    )
    assert adjustment(compared, study_of(only(sweep))) == ""
    assert verdict(only(sweep))[0] == "Preliminary: 1 of 1 chain, 75 of 75 stages"


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
    half, adjusted = T2 / sqrt(3), T2_AT_4 / sqrt(3)
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((5.0, 5 - half, 5 + half), rel=1e-4)
    assert (row["adjusted_low"], row["adjusted_high"]) == pytest.approx((5 - adjusted, 5 + adjusted), rel=1e-4)
    assert plain(row["sentence"]) == (
        "AWS's signed mask transfers better than LRR's at density 0.0352 on digits: +5.0 points [2.5, 7.5], adjusted "
        "[2.2, 7.8], n = 6 pairs in 3 chains (85.0 ± 1.0 against 80.0 ± 0.0 %)."
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
        "[5.0, 5.4], adjusted [4.8, 5.6], n = 3 pairs in 3 chains (10.2 ± 0.1 against 5.0 ± 0.0 points, the probes' "
        "standard error 0.1)."
    )
    assert stability["sentence"].startswith("LRR's signed mask is more stable under SGD's noise than AWS's at")


def test_a_lower_barrier_supports_the_claim(store: SyntheticStore) -> None:
    for chain in (1, 2, 3):
        for method, middle in (("aws", 31.0), ("lrr", 60.0 + chain)):
            store.probe("lmc", "signed", (30.0, middle, 30.0), method=method, chain=chain, round=10, seed=1)
    [row] = rows(store, "barrier_of_aws_signed_minus_lrr_signed")
    assert (row["difference"], row["outcome"]) == (pytest.approx(-31.0), SHOWN)


def test_nothing_is_shown_against_a_single_dense_training(store: SyntheticStore) -> None:
    store.train("dense_same_budget", 70.0, seed=1)
    for chain in (1, 2):
        store.train("signed", 78.0 + chain, method="aws", chain=chain, round=10, seed=1)
    [row] = rows(store, "accuracy_of_signed_minus_dense_same_budget")
    assert row["outcome"] == NOT_SHOWN
    assert isnan(row["low"])
    assert isnan(row["adjusted_low"])
    assert "2 pairs in 2 chains, all against one dense training, which gives no interval; --seeds 2" in row["sentence"]


def test_dense_is_paired_by_seed_and_its_seeds_widen_the_interval(store: SyntheticStore) -> None:
    for seed, accuracy in ((1, 70.0), (2, 72.0)):
        store.train("dense_same_budget", accuracy, seed=seed)
        for chain in (1, 2):
            store.train("signed", 78.0 + 2 * chain, method="aws", chain=chain, round=10, seed=seed)
    [row] = rows(store, "accuracy_of_signed_minus_dense_same_budget")
    # differences 10, 8 and 12, 10: chains' means 9 and 11, seeds' means 11 and 9, each with half an interval of T1
    assert (row["difference"], row["low"]) == pytest.approx((10.0, 10 - hypot(T1, T1)), rel=1e-4)
    assert (row["pairs"], row["chains"], row["b_trainings"], row["b_chains"]) == (4, 2, 2, 0)


def test_a_transfer_is_not_compared_with_a_dense_training_of_fewer_epochs(sweep: SyntheticStore) -> None:
    assert not comparisons(only(sweep))["question"].str.endswith("dense").any()


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
    for chain in (1, 2):
        labels = {"method": "aws", "chain": chain, "round": 10, "seed": 1}
        store.train(better, 80.0 + chain, **labels)
        store.train(worse, 70.0 + chain, **labels)
    [row] = rows(store, f"accuracy_of_{better}_minus_{worse}")
    assert (row["difference"], row["outcome"]) == (pytest.approx(10.0), SHOWN)
    assert row["sentence"].startswith(said)


def test_psi_kept_lowers_barriers(store: SyntheticStore) -> None:
    for chain in (1, 2):
        labels = {"method": "lrr", "chain": chain, "round": 10, "seed": 1}
        for probe in ("lmc", "stability"):
            store.probe(probe, "signed_psi_kept", (30.0, 31.0, 30.0), **labels)
            store.probe(probe, "signed", (30.0, 35.0, 30.0), **labels)
    for measure in ("barrier", "stability"):
        [row] = rows(store, f"{measure}_of_signed_psi_kept_minus_signed")
        assert (row["difference"], row["outcome"]) == (pytest.approx(-4.0), SHOWN)


def test_one_pair_gives_no_interval_and_no_claim(store: SyntheticStore) -> None:
    carry(store, {1: 20.0})
    [row] = rows(store, SIGNS)
    assert (row["difference"], row["pairs"], row["outcome"]) == (20.0, 1, UNJUDGED)
    assert isnan(row["low"])
    assert row["sentence"].endswith(": +20.0 points from one pair, which gives no interval.")


def test_unpaired_trainings_are_not_compared(store: SyntheticStore) -> None:
    store.train("signed", 60.0, method="aws", chain=1, round=10, seed=1)
    store.train("mask", 40.0, method="aws", chain=1, round=10, seed=2)
    [row] = rows(store, SIGNS)
    assert (row["pairs"], row["outcome"]) == (0, UNJUDGED)
    assert row["sentence"].endswith(": no pair with the same chain and seed is done yet.")
    assert answers(comparisons(only(store)), QUESTIONS) == []


def test_answers_count_every_comparison_of_their_question(store: SyntheticStore) -> None:
    for round_ in (5, 10):
        carry(store, {1: 10.0, 2: 10.0, 3: 10.1}, "aws", round_)
        carry(store, {1: -0.1, 2: 0.0, 3: 0.1}, "lrr", round_)
    assert [plain(sentence) for sentence in answers(comparisons(only(store)), QUESTIONS)] == [
        "Signs carry accuracy that masks do not: shown in 2 of 4 comparisons, test accuracy +0.0 to +10.0 points.",
        "AWS's signed mask transfers better than LRR's: shown in 2 of 2 comparisons, test accuracy +10.0 points.",
    ]


def test_results_in_both_directions_are_mixed(store: SyntheticStore) -> None:
    for round_, gain in ((5, 3.0), (10, -2.0)):
        for chain in (1, 2):
            labels = {"chain": chain, "round": round_, "seed": 1}
            store.train("signed", 70.0, method="lrr", **labels)
            store.train("signed", 70.0 + gain, method="aws", **labels)
    [sentence] = answers(comparisons(only(store)), QUESTIONS)
    assert plain(sentence) == (
        "Mixed: AWS's signed mask transfers better than LRR's in 1, and LRR's signed mask transfers better than AWS's "
        "in 1 of 2 comparisons; test accuracy −2.0 to +3.0 points."
    )


def test_what_is_not_shown_says_how_many_chains_would_show_it(store: SyntheticStore) -> None:
    carry(store, {1: 1.0, 2: 3.0, 3: 8.0})  # mean 4, sd 3.6: by the noncentral t, 15 chains at 0.5 %
    [row] = rows(store, SIGNS)
    assert row["outcome"] == NOT_SHOWN
    assert row["chains_needed"] == 15
    assert row["sentence"].endswith("; about 15 chains would show a difference of this size (power 80 %).")
    [answer] = answers(comparisons(only(store)), QUESTIONS)
    assert plain(answer) == (
        "Not shown that signs carry accuracy that masks do not: test accuracy +4.0 points in 1 comparison, and every "
        "adjusted interval includes 0. About 15 chains would show the clearest of them."
    )


def test_the_page_says_how_many_intervals_exclude_0_before_and_after_the_adjustment(store: SyntheticStore) -> None:
    carry(store, {1: 9.0, 2: 10.0, 3: 12.0}, "aws", 10)
    carry(store, {1: 9.0, 2: 10.0, 3: 14.0}, "aws", 5)
    compared = comparisons(only(store))
    assert compared["primary"].tolist() == [True, False]
    assert compared["outcome"].tolist() == [SHOWN, NOT_SHOWN]
    assert plain(adjustment(compared, study_of(only(store)))) == (
        "Of 2 comparisons, 2 exclude 0 by the 95 % interval alone (without any effect, about 0.1 would), and 1 "
        "excludes 0 by the interval adjusted for all comparisons and 1 look. The adjusted interval decides."
    )


def test_the_verdict_makes_the_point_with_its_numbers(store: SyntheticStore) -> None:
    carry(store, {1: 38.0, 2: 39.0, 3: 38.5}, "lrr")
    carry(store, {1: 34.0, 2: 35.0, 3: 34.5}, "aws")
    store.train("dense", 95.1, seed=1)
    assert verdict(only(store)) == (
        "The signs of a pruned network carry accuracy that its mask alone does not",
        "At density 0.107 (10.7 % of the prunable weights) a random initialisation with the signed mask reaches 88.5 % "
        "(LRR) and 84.5 % (AWS), with the mask alone 50.0 % (LRR) and 50.0 % (AWS); dense training reaches 95.1 %.",
    )


@pytest.mark.parametrize(
    ("lrr", "aws", "claim"),
    [
        (
            {1: -1.0, 2: 1.0, 3: 0.0},
            {1: 34.0, 2: 35.0, 3: 34.5},
            "The signs of a pruned network carry accuracy that its mask alone does not under AWS, but this is not "
            "shown under LRR",
        ),
        (
            {1: -1.0, 2: 1.0, 3: 0.0},
            {1: -2.0, 2: 1.0, 3: 0.0},
            "It is not shown that the signs of a pruned network carry accuracy that its mask alone does not",
        ),
        (
            {1: -10.0, 2: -9.5, 3: -9.8},
            {1: -10.0, 2: -9.5, 3: -9.8},
            "The signs of a pruned network cost accuracy that its mask alone keeps",
        ),
        (
            {1: -10.0, 2: -9.5, 3: -9.8},
            {1: 34.0, 2: 35.0, 3: 34.5},
            "Mixed: the signs of a pruned network carry accuracy that its mask alone does not under AWS, but the "
            "reverse is shown under LRR",
        ),
        (
            {1: -10.0, 2: -9.5, 3: -9.8},
            {1: -2.0, 2: 1.0, 3: 0.0},
            "It is not shown that the signs of a pruned network carry accuracy that its mask alone does not under AWS, "
            "but the reverse is shown under LRR",
        ),
    ],
)
def test_the_verdict_claims_no_more_than_the_intervals(
    store: SyntheticStore, lrr: dict[int, float], aws: dict[int, float], claim: str
) -> None:
    carry(store, lrr, "lrr")
    carry(store, aws, "aws")
    assert verdict(only(store))[0] == claim


def test_the_verdict_waits_for_a_pair(store: SyntheticStore) -> None:
    for chain in (1, 2):
        store.train("signed", 80.0, method="aws", chain=chain, round=15, seed=1)
    store.train("mask", 50.0, method="aws", chain=1, round=15, seed=2)
    store.train("dense", 95.0, seed=1)
    assert verdict(only(store)) == (
        "Whether the signs of a pruned network carry accuracy that its mask alone does not is not yet known: too few "
        "pairs of a signed and a mask transfer are done",
        "Dense training reaches 95.0 % (n = 1 training).",
    )


def test_without_transfers_of_signs_the_verdict_states_accuracies(store: SyntheticStore) -> None:
    store.train("dense", 95.0, seed=1)
    assert verdict(only(store)) == ("Dense training reaches 95.0 % (n = 1 training)", "")
    for chain in (1, 2):
        store.train("retrain", 80.0 + chain, method="lrr", chain=chain, round=10, seed=1)
    assert asked(only(store)) == "Which test accuracy do the networks of this study reach?"
    claim, ground = verdict(only(store))
    assert claim == "At density 0.107 test accuracy is 81.5 % (LRR retrain, n = 2 trainings in 2 chains)"
    assert ground == "Dense training reaches 95.0 % (n = 1 training)."
    for start in ("signed", "mask"):
        store.train(start, 82.0, method="lrr", chain=1, round=10, seed=1)
    assert asked(only(store)) == "Do the signs of a pruned network carry accuracy that its mask alone does not?"


def test_a_new_question_is_one_value(sweep: SyntheticStore) -> None:
    retrain = Question(
        Arm("retrain"), Arm("mask"), ACCURACY, "higher", "retrain − mask", "a retrain beats a mask", "it does not"
    )
    compared = comparisons(only(sweep), [retrain])
    assert compared["difference"].tolist() == pytest.approx([16.0] * 4)
    assert compared["sentence"].str.startswith("Not judged yet whether a retrain beats a mask under ").all()


def test_a_study_can_name_every_measure() -> None:
    assert tuple(measure.name for measure in MEASURES) == plans.MEASURES


def test_questions_have_names_of_their_own() -> None:
    assert len({question.name for question in QUESTIONS}) == len(QUESTIONS)


def test_nothing_is_compared_in_an_empty_section(store: SyntheticStore) -> None:
    store.train("dense", 70.0, seed=1)
    assert comparisons(only(store)).empty
    assert answers(comparisons(only(store)), QUESTIONS) == []


def test_the_table_has_dense_on_top_and_the_sparsest_next(sweep: SyntheticStore) -> None:
    table = numbers(only(sweep))
    assert table["transfer"].tolist() == ["dense", *(["retrain", "signed", "mask"] * 4)]
    assert table["round"].tolist()[1:] == [10] * 6 + [5] * 6
    aws_signed = table[(table["method"] == "aws") & (table["transfer"] == "signed")].iloc[0]
    assert aws_signed[["accuracy_mean", "barrier_mean", "stability_mean"]].tolist() == [62.0, 2.0, 2.0]
    assert aws_signed[["barrier_trainings", "barrier_chains"]].tolist() == [3, 1]
