"""When results are judged: planned looks, looks that extend a study, and what an unfinished study may say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from analysis import load
from analysis.comparisons.answers import comparisons
from analysis.comparisons.headline import asked, sureness, verdict
from analysis.comparisons.power import chains_needed
from analysis.comparisons.sentences import NEGLIGIBLE, NOT_SHOWN, SHOWN, UNJUDGED
from analysis.comparisons.study import shares, study_of
from analysis.frames.sections import Section, sections
from orchestrator.store import Store
from orchestrator.store.plans import PlannedStage, PlannedStudy, StoredPlan
from orchestrator.store.record import Labels
from tests.analysis.conftest import SETTING

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

GAINS = {1: 9.0, 2: 10.0, 3: 11.0, 4: 9.5, 5: 10.5, 6: 10.0}


class Studies:
    """Writes plans of some chains into a store, and the stages of some of them."""

    def __init__(self, store: SyntheticStore) -> None:
        self.store = store
        self._plans = 0

    def chain(self, number: int, gain: float, seeds: int = 1) -> None:
        """Commit a chain: its round, and a signed and a mask transfer per seed."""
        labels = {"method": "aws", "chain": number, "round": 10}
        self.store.stage("round", labels, {"density": 0.1})
        for seed in range(1, seeds + 1):
            self.store.train("signed", 50.0 + gain, **labels, seed=seed)
            self.store.train("mask", 50.0, **labels, seed=seed)

    def plan(self, chains: int, seeds: int = 1, study: PlannedStudy | None = None, first: int = 1) -> None:
        """Store a sweep's plan: every stage that is done, and those of chains that are not."""
        done = Store(self.store.root).records()
        stages = [
            PlannedStage(key=key, kind=record.kind, name=record.name, labels=record.labels)
            for key, record in done.items()
            if first <= (record.labels.chain or 1) <= chains and (record.labels.seed or 1) <= seeds
        ]
        there = {(stage.labels.chain, stage.labels.seed) for stage in stages if stage.kind == "train"}
        stages += [
            PlannedStage(
                key=f"{chain:016x}{seed:016x}",
                kind="train",
                name=f"{chain}-{seed}",
                labels=Labels(**SETTING, method="aws", chain=chain, round=10, transfer="signed", seed=seed),
            )
            for chain in range(first, chains + 1)
            for seed in range(1, seeds + 1)
            if (chain, seed) not in there
        ]
        self._plans += 1
        plan = StoredPlan(
            argv=["sweep"], started_unix_s=float(self._plans), stages=stages, studies=[study] if study else []
        )
        Store(self.store.root).write_plan(plan)

    def section(self) -> Section:
        [section] = sections(load(self.store.root))
        return section

    def outcome(self) -> tuple[str, object]:
        """How the only comparison came out, and at how many chains."""
        [row] = comparisons(self.section()).to_dict("records")
        return row["outcome"], row["judged_chains"]


@pytest.fixture
def studies(store: SyntheticStore) -> Studies:
    return Studies(store)


def declared(**fields: object) -> PlannedStudy:
    return PlannedStudy.model_validate({**SETTING, **fields})


def test_an_unfinished_plan_is_preliminary(studies: Studies) -> None:
    for chain in (1, 2):
        studies.chain(chain, GAINS[chain])
    studies.plan(3)
    section = studies.section()
    assert studies.outcome()[0] == UNJUDGED
    study = study_of(section)
    claim, ground = verdict(section, comparisons(section), study)
    assert claim == "Preliminary: 2 of 3 chains, 6 of 7 stages"
    assert ground.startswith("So far, at density 0.107")


def test_the_chains_of_the_first_plan_are_the_look(studies: Studies) -> None:
    for chain in (1, 2, 3):
        studies.chain(chain, GAINS[chain])
    studies.plan(3)
    assert studies.outcome() == (SHOWN, 3)
    [look] = study_of(studies.section()).looks
    assert (look.chains, look.planned, look.spent) == (3, True, 0.8)


def test_more_chains_of_a_finished_study_are_a_new_look_and_the_page_says_so(studies: Studies) -> None:
    gains = {1: 1.0, 2: 6.0, 3: 4.0, 4: 5.0, 5: 4.0, 6: 5.0}
    for chain in (1, 2, 3):
        studies.chain(chain, gains[chain])
    studies.plan(3)
    assert studies.outcome() == (NOT_SHOWN, 3)
    for chain in (4, 5, 6):
        studies.chain(chain, gains[chain])
    studies.plan(6)
    study = study_of(studies.section())
    assert [(look.chains, look.planned) for look in study.looks] == [(3, True), (6, False)]
    first, second = study.levels(1.0)
    assert first == pytest.approx(0.04)
    assert 0.005 < second < 0.01  # half of what is left, and what the first look would have seen too
    assert study.level_left(1.0) == pytest.approx(0.05 * (1 - 0.9) / 2)
    [row] = comparisons(studies.section()).to_dict("records")
    assert row["low"] > 1.5 > row["adjusted_low"]
    assert "Extended after that to 6 chains and 1 seed: a look that was not planned" in study.plan()


def test_more_seeds_are_a_new_look_too(studies: Studies) -> None:
    for chain in (1, 2, 3):
        studies.chain(chain, GAINS[chain], seeds=2)
    studies.plan(3, seeds=1)
    studies.plan(3, seeds=2)
    assert [(look.chains, look.seeds, look.planned) for look in study_of(studies.section()).looks] == [
        (3, 1, True),
        (3, 2, False),
    ]


def test_repeating_the_first_sweep_leaves_the_later_look_unplanned(studies: Studies) -> None:
    for chain in (1, 2, 3, 4):
        studies.chain(chain, GAINS[chain])
    for chains in (3, 4, 3):
        studies.plan(chains)
    assert [(look.chains, look.planned) for look in study_of(studies.section()).looks] == [(3, True), (4, False)]


def test_what_a_look_has_shown_stands(studies: Studies) -> None:
    gains = {1: 9.9, 2: 10.0, 3: 10.1, 4: -30.0}
    for chain, gain in gains.items():
        studies.chain(chain, gain)
    studies.plan(3)
    studies.plan(4)
    assert studies.outcome() == (SHOWN, 3)


def test_a_pilot_of_one_chain_is_no_look(studies: Studies) -> None:
    studies.chain(1, GAINS[1])
    studies.plan(1)
    assert "one chain says nothing about other tickets" in study_of(studies.section()).plan()
    for chain in (2, 3):
        studies.chain(chain, GAINS[chain])
    studies.plan(3)
    [look] = study_of(studies.section()).looks
    assert (look.chains, look.planned) == (3, True)


def test_declared_looks_judge_the_chains_that_they_name(studies: Studies) -> None:
    study = declared(looks=[3, 6], primary=["accuracy_of_signed_minus_mask"])
    for chain in (1, 2, 3, 4):
        studies.chain(chain, {**GAINS, 3: 2.0, 4: -40.0}[chain])
    studies.plan(4, study=study)
    judged = study_of(studies.section())
    assert [(look.chains, look.done) for look in judged.looks] == [(3, True), (6, False)]
    assert judged.looks[0].spent == pytest.approx(0.8 / 4)  # with the square of the chains
    assert judged.level_left(1.0) == judged.levels(1.0)[1]
    assert studies.outcome() == (NOT_SHOWN, 3)
    [row] = comparisons(studies.section()).to_dict("records")
    assert row["adjusted_low"] > -90 < row["difference"]  # the fourth chain waits for the look at six


def test_the_first_declaration_counts(studies: Studies) -> None:
    for chain in (1, 2, 3):
        studies.chain(chain, GAINS[chain])
    studies.plan(3, study=declared(looks=[3, 6]))
    studies.plan(3, study=declared(looks=[3]))
    study = study_of(studies.section())
    assert [look.chains for look in study.looks] == [3, 6]
    assert study.plan().endswith("The study was declared anew later; the first declaration counts.")


def test_a_plan_without_a_common_round_begins_a_new_study(studies: Studies) -> None:
    studies.chain(1, 1.0)
    studies.plan(1)
    for chain in (2, 3):
        studies.chain(chain, GAINS[chain])
    studies.plan(3, first=2, study=declared(looks=[5]))
    assert [look.chains for look in study_of(studies.section()).looks] == [5]


@pytest.mark.parametrize(("margin", "outcome"), [(1.0, NEGLIGIBLE), (0.1, NOT_SHOWN)])
def test_a_difference_within_the_margin_is_negligible(studies: Studies, margin: float, outcome: str) -> None:
    for chain, gain in enumerate((0.1, -0.1, 0.05, -0.05), start=1):
        studies.chain(chain, gain)
    studies.plan(4, study=declared(margin_points=margin))
    assert studies.outcome() == (outcome, 4)


def test_primary_comparisons_share_four_fifths() -> None:
    assert shares(4, {0, 1}) == pytest.approx([0.4, 0.4, 0.1, 0.1])
    assert shares(2, set()) == shares(2, {0, 1}) == [0.5, 0.5]


@pytest.mark.parametrize(
    ("difference", "sd", "level", "chains"),
    [  # the first two as by R's power.t.test(delta, sd, type = "one.sample"): 9.9 and 33.4
        (1.0, 1.0, 0.05, 10),
        (0.5, 1.0, 0.05, 34),
        (2.0, 1.0, 0.01, 7),
        (0.0, 1.0, 0.05, None),
        (0.01, 1.0, 0.05, None),
        (1.0, 0.0, 0.05, 2),
    ],
)
def test_chains_needed(difference: float, sd: float, level: float, chains: int | None) -> None:
    assert chains_needed(difference, sd, level) == chains


def test_a_study_may_ask_a_question_of_its_own(studies: Studies) -> None:
    for chain in (1, 2, 3):
        studies.chain(chain, GAINS[chain])
        studies.store.train("retrain", 70.0 + chain / 10, method="aws", chain=chain, round=10, seed=1)
    studies.plan(3, study=declared(primary=["accuracy_of_retrain_minus_signed"]))
    first, second = comparisons(studies.section()).to_dict("records")
    assert (first["question"], first["primary"], first["outcome"]) == ("accuracy_of_retrain_minus_signed", True, SHOWN)
    assert first["sentence"].startswith("Retrain has a higher test accuracy than signed transfer under AWS at density")
    assert (second["question"], second["primary"]) == ("accuracy_of_signed_minus_mask", False)
    section, study = studies.section(), study_of(studies.section())
    compared = comparisons(section)
    claim, ground = verdict(section, compared, study)
    assert asked(section, compared, study) == (
        "Is it shown that retrain has a higher test accuracy than signed transfer?"
    )
    assert claim == "Retrain has a higher test accuracy than signed transfer"
    assert "test accuracy: retrain 70.2" in ground
    assert sureness(section, compared, study).startswith("Test accuracy, retrain − signed transfer: +10.2 points under")


def test_tickets_from_elsewhere_are_no_look_and_do_not_displace_the_primary_comparison(studies: Studies) -> None:
    for chain in (1, 2, 3):
        studies.chain(chain, GAINS[chain])
    studies.plan(3, study=declared(looks=[3], primary=["accuracy_of_signed_minus_mask"]))
    for number in (1, 2, 3, 4, 5):
        for transfer in ("signed", "mask"):
            studies.store.train(transfer, 40.0 + number, method="aws@theirs", chain=number, round=20, seed=1)
    studies.plan(5)
    study = study_of(studies.section())
    assert ([look.chains for look in study.looks], study.chains_done, study.chains) == ([3], 3, 3)
    rows = {row["method"]: row for row in comparisons(studies.section()).to_dict("records")}
    assert (rows["aws"]["primary"], rows["aws"]["outcome"]) == (True, SHOWN)
    assert rows["aws@theirs"]["primary"]


def test_a_landscape_that_is_added_later_takes_no_judgement_back(studies: Studies) -> None:
    for chain in (1, 2, 3):
        studies.chain(chain, GAINS[chain])
    studies.plan(3, study=declared(looks=[3]))
    judged = studies.outcome()
    assert judged == (SHOWN, 3)
    studies.store.plan(("landscape", "1" * 32), kind="landscape")
    assert studies.outcome() == judged


def test_the_first_words_hold_every_primary_question(studies: Studies) -> None:
    """A barrier that only a denser round has is primary too, and the answer waits for it."""
    for chain in (1, 2, 3):
        studies.chain(chain, GAINS[chain])
        for transfer, middle in (("signed", 31.0), ("mask", 32.0 + 2 * chain)):
            studies.store.probe("lmc", transfer, (30.0, middle, 30.0), method="aws", chain=chain, round=5, seed=1)
    studies.plan(3, study=declared(primary=["barrier_of_signed_minus_mask", "accuracy_of_signed_minus_mask"]))
    section, study = studies.section(), study_of(studies.section())
    compared = comparisons(section)
    assert compared["primary"].all()
    assert asked(section, compared, study) == (
        "Is it shown that signs lead nearer to the solution than masks do, and that the signs of a pruned network "
        "carry accuracy that its mask alone does not?"
    )
    assert verdict(section, compared, study)[0] == (
        "It is not shown that signs lead nearer to the solution than masks do; the signs of a pruned network carry "
        "accuracy that its mask alone does not"
    )


def test_the_first_words_of_a_study_without_transfers_are_about_what_it_trains(studies: Studies) -> None:
    for method in ("imp", "fine_tuning"):
        for chain in (1, 2, 3):
            studies.store.train("round_end", 90.0 + chain, method=method, chain=chain, round=10, seed=1)
    section, study = studies.section(), study_of(studies.section())
    compared = comparisons(section)
    assert asked(section, compared, study) == "Which test accuracy do the networks of this study reach?"
    claim, ground = verdict(section, compared, study)
    assert claim.replace("\N{NO-BREAK SPACE}", " ") == (
        "At density 0.107 test accuracy is 92.0 % (fine-tuning end of round, n = 3 trainings in 3 chains), 92.0 % (IMP "
        "end of round, n = 3 trainings in 3 chains)"
    )
    assert ground == ""
    assert "false claim" not in sureness(section, compared, study)
    studies.store.plan(("more", "0" * 32))
    section, study = studies.section(), study_of(studies.section())
    claim, ground = verdict(section, comparisons(section), study)
    assert claim.startswith("Preliminary: ")
    assert ground.startswith("At density 0.107 test accuracy is 92.0")
