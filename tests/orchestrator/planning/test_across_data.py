"""Tickets of other data sets in a plan: no further chain, a fresh classifier, and labels of their own."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from orchestrator.planning.algorithm import count_stages, expand
from orchestrator.planning.plan import Node, Plan
from orchestrator.recipes.experiments import Experiment
from tests.orchestrator.recipes.small_recipes import plan_of, recipe
from tickets import RETRAIN, SIGNED
from workers.stages import PairProbe, Pretrain, Probe, Round, Train

NAMES = ("north", "south", "west")


def across(*data_sets: str, **changes: Any) -> Plan:
    """Plan data sets that lend each other their tickets."""
    recipes = [recipe(dataset=name, tickets_from=data_sets, seeds=2, chains=2, **changes) for name in data_sets]
    return expand(Experiment(each, f"fingerprint of {each.dataset}") for each in recipes)


def trainings(plan: Plan, method: str) -> list[Node]:
    return [node for node in plan if isinstance(node.stage, Train) and node.labels.method == method]


def test_no_chain_is_run_for_the_tickets_of_another_data_set() -> None:
    chains = [node for node in across(*NAMES) if isinstance(node.stage, Pretrain | Round)]
    alone = plan_of(recipe(dataset="north", seeds=2, chains=2))
    assert len(chains) == len(NAMES) * sum(isinstance(node.stage, Pretrain | Round) for node in alone)


def test_a_data_sets_own_stages_keep_their_keys() -> None:
    own = {node.key for node in across("north", "south") if "@" not in (node.labels.method or "")}
    without = [recipe(dataset=name, seeds=2, chains=2) for name in ("north", "south")]
    assert own == {node.key for node in expand(Experiment(r, f"fingerprint of {r.dataset}") for r in without)}


def test_a_ticket_goes_to_every_other_data_set_with_its_chain_and_round() -> None:
    plan = across(*NAMES)
    for node in trainings(plan, "aws@north"):
        ticket = plan.nodes[node.inputs["ticket"]]
        assert isinstance(ticket.stage, Round)
        assert (ticket.labels.dataset, ticket.labels.method) == ("north", "aws")
        assert (ticket.labels.chain, ticket.labels.round) == (node.labels.chain, node.labels.round)
        assert node.stage.setting.data.name == node.labels.dataset
    targets = Counter(node.labels.dataset for node in trainings(plan, "aws@north"))
    assert targets.keys() == {"south", "west"}
    assert len(set(targets.values())) == 1


def test_the_classifier_is_fresh_and_every_other_part_keeps_its_source() -> None:
    by_start = {node.labels.transfer: node.stage.transfer for node in trainings(across("north", "south"), "lrr@south")}
    for start, whole in (("signed", SIGNED), ("retrain", RETRAIN)):
        transfer = by_start[start]
        assert transfer.classifier == "fresh"
        parts = ("mask", "signs", "magnitudes", "psi", "biases", "statistics")
        assert [getattr(transfer, part) for part in parts] == [getattr(whole, part) for part in parts]


def test_a_stability_pair_differs_in_its_sgd_seed_alone() -> None:
    """Retrains with fresh classifiers differ between seeds in these too, so only twins are pairs."""
    plan = across("north", "south")
    pairs = [node for node in plan if isinstance(node.stage, Probe) and node.labels.probe == "stability"]
    assert any("@" in node.labels.method for node in pairs)
    for pair in pairs:
        a, b = (plan.nodes[pair.inputs[slot]].stage for slot in "ab")
        assert isinstance(a, Train)
        assert isinstance(b, Train)
        assert (a.init_seed, a.transfer) == (b.init_seed, b.transfer)
        assert a.sgd_seed != b.sgd_seed


def test_a_transfer_is_probed_against_the_retrain_on_its_own_data_set() -> None:
    plan = across("north", "south", probes=("weight_distance",))
    probes = [node for node in plan if isinstance(node.stage, Probe | PairProbe) and node.labels.probe == "lmc"]
    assert any("@" in node.labels.method for node in probes)
    for probe in probes:
        a, b = (plan.nodes[probe.inputs[slot]] for slot in "ab")
        assert b.labels.transfer == "retrain"
        assert a.inputs["ticket"] == b.inputs["ticket"]
        assert {probe.labels.dataset, a.labels.dataset, b.labels.dataset} == {probe.stage.setting.data.name}


def test_sources_of_a_transfer_are_the_tickets_own_chains() -> None:
    plan = across("north", "south", transfers=("rewound",), twins=())
    rewound = [node for node in trainings(plan, "aws@north") if node.labels.transfer == "rewound"]
    assert rewound
    for node in rewound:
        initialisation = plan.nodes[node.inputs["epoch_0"]]
        assert initialisation.labels.dataset == "north"
        assert initialisation.labels.chain == node.labels.chain
        assert node.stage.transfer.classifier == "fresh"


@pytest.mark.parametrize("data_sets", [NAMES[:2], NAMES])
def test_the_stages_are_counted_before_they_are_planned(data_sets: tuple[str, ...]) -> None:
    plan = across(*data_sets, methods=("aws",))
    fields: dict[str, Any] = {"tickets_from": data_sets, "seeds": 2, "chains": 2, "methods": ("aws",)}
    counted = sum(count_stages(recipe(dataset=name, **fields)) for name in data_sets)
    assert len(plan) <= counted <= 1.1 * len(plan)
