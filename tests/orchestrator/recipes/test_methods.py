"""Methods as data: how each trains, prunes and rewinds, and what it shares with the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.planning.plan import Node, Plan
from orchestrator.recipes.methods import METHODS, Method
from orchestrator.recipes.resolution import resolve
from tests.orchestrator.recipes.small_recipes import plan_of, recipe
from tickets import Transfer
from workers.stages import Criterion, MaskRule, Pretrain, Pruning, Round, Rule, Rules, Schedule, Train, Training

FINAL = Schedule("steps", (2,))


def plan_with(method: str, **changes: object) -> Plan:
    fields = {"methods": (method,), "pretrain_epochs": 4, "round_epochs": 2, "final_epochs": 3, **changes}
    return plan_of(recipe(**fields))


def rounds(plan: Plan) -> list[tuple[Node, Round]]:
    nodes = [(node, node.stage) for node in plan if isinstance(node.stage, Round)]
    return sorted(nodes, key=lambda pair: pair[1].round)


def trainings(plan: Plan) -> tuple[Training, list[Training]]:
    """Return the trainings of round 0 and of the later rounds."""
    (zero,) = (node.stage for node in plan if isinstance(node.stage, Pretrain) and node.labels.round == 0)
    return zero.training, [stage.training for _, stage in rounds(plan)]


def test_aws_and_lrr_follow_the_paper() -> None:
    for name, psi in (("aws", "interpolated"), ("lrr", "plain")):
        plan = plan_with(name)
        zero, later = trainings(plan)
        assert (zero.span, zero.schedule) == (range(4), Schedule())
        assert [(training.span, training.schedule) for training in later] == [(range(2), Schedule())] * 2
        for node, stage in rounds(plan):
            assert (stage.pruning, stage.psi, set(node.inputs)) == (Pruning(), psi, {"previous"})


def test_a_rewound_schedule_trains_every_round_to_completion() -> None:
    zero, later = trainings(plan_with("lrr_rewound_schedule"))
    assert (zero.span, zero.schedule) == (range(3), FINAL)
    assert later == [zero, zero]


def test_weight_rewinding_resets_weights_and_schedule_to_an_epoch() -> None:
    plan = plan_with("weight_rewinding")
    zero, later = trainings(plan)
    assert later == [replace(zero, first_epoch=1)] * 2
    for node, _ in rounds(plan):
        reset = plan.nodes[node.inputs["reset"]].stage
        assert isinstance(reset, Pretrain)
        assert reset.training == replace(zero, stop_after=1)


def test_a_start_of_an_epoch_may_train_only_the_epochs_that_are_left() -> None:
    at_once, later = ({"first_epochs": first} for first in ({}, {"rewound_to_1": 1}))
    own = {"rewound_to_1": Transfer(signs="epoch_1", magnitudes="epoch_1"), "all_epochs": Transfer(signs="epoch_1")}
    transfers = {"own_transfers": own, "transfers": (*own,), "twins": ("rewound_to_1",)}
    before, after = (plan_of(recipe(methods=("lrr",), **transfers, **first)) for first in (at_once, later))
    moved = {node.name: node for node in after if node.key not in before.nodes}
    trained = {name: node.stage for name, node in moved.items() if isinstance(node.stage, Train)}
    assert {node.labels.transfer for name, node in moved.items() if name in trained} == {"rewound_to_1"}
    assert any(node.labels.twin for node in moved.values())
    for stage in trained.values():
        assert stage.training.span == range(1, 3)
        assert stage.training.schedule == FINAL  # the milestone is still epoch 2 of the schedule


def test_imp_resets_to_the_initialisation_and_trains_in_full() -> None:
    plan = plan_with("imp")
    zero, later = trainings(plan)
    assert later == [zero, zero]
    (reset,) = {node.inputs["reset"] for node, _ in rounds(plan)}
    assert list(plan.nodes[reset].stage.training.span) == []  # type: ignore[union-attr]


def test_fine_tuning_continues_at_the_last_learning_rate() -> None:
    plan = plan_with("fine_tuning")
    _, later = trainings(plan)
    assert all("reset" not in node.inputs for node, _ in rounds(plan))
    for training in later:
        assert (training.span, training.schedule) == (range(2), Schedule())
        assert training.optimizer.learning_rate == pytest.approx(0.1 * 0.1)  # the recipe's, after its one milestone


def test_one_shot_prunes_round_zero_each_time() -> None:
    plan = plan_with("one_shot")
    (zero,) = {node.inputs["previous"] for node, _ in rounds(plan)}
    assert isinstance(plan.nodes[zero].stage, Pretrain)
    shares = [stage.pruning.share(stage.prune_fraction, stage.round) for _, stage in rounds(plan)]
    assert shares == pytest.approx([0.2, 1 - 0.8**2])


@pytest.mark.parametrize(
    ("name", "criterion", "steps"),
    [
        ("random_at_init", "random", 1),
        ("erk_at_init", "erk", 1),
        ("magnitude_at_init", "magnitude", 1),
        ("snip", "snip", 1),
        ("synflow", "synflow", 100),
    ],
)
def test_pruning_at_initialisation_trains_nothing_before_the_final_training(
    name: str, criterion: str, steps: int
) -> None:
    plan = plan_with(name)
    zero, later = trainings(plan)
    assert [list(training.span) for training in (zero, *later)] == [[], [], []]
    for _, stage in rounds(plan):
        assert (stage.pruning.criterion, stage.pruning.steps) == (Criterion(criterion), steps)


@pytest.mark.parametrize(("name", "criterion", "rule"), [("set", "er", "set"), ("rigl", "erk", "rigl")])
def test_sparse_training_prunes_the_initialisation_and_trains_each_density_in_full(
    name: str, criterion: str, rule: str
) -> None:
    plan = plan_with(name)
    zero, later = trainings(plan)
    assert (list(zero.span), zero.rules) == ([], Rules())
    assert [(training.span, training.schedule) for training in later] == [(range(3), FINAL)] * 2
    assert [training.rules.mask_rule.name for training in later if training.rules.mask_rule] == [rule] * 2
    for node, stage in rounds(plan):
        assert stage.pruning.criterion == Criterion(criterion)
        assert isinstance(plan.nodes[node.inputs["previous"]].stage, Pretrain)
    finals = [node.stage for node in plan if isinstance(node.stage, Train)]
    assert all(stage.training.rules == Rules() for stage in finals)


def test_rules_act_where_the_recipe_says_and_dense_networks_have_no_mask_rule() -> None:
    warm_up, mask_rule, sign_in = Rule("linear"), MaskRule("set"), Rule("sign_in")
    own = {"mine": {"training": Rules(reparametrisation=sign_in, mask_rule=MaskRule("rigl"))}}
    changes = {"round_training": Rules(warm_up=warm_up, mask_rule=mask_rule), "final_training": Rules(None, Rule("l1"))}
    plan = plan_with("mine", methods=("mine", "lrr", "snip"), own_methods=own, dense_same_budget=True, **changes)
    found = {
        (node.labels.method or node.labels.transfer, node.stage.kind): {
            kind: rule.name for kind, rule in vars(node.stage.training.rules).items() if rule is not None
        }
        for node in plan
        if isinstance(node.stage, Pretrain | Round | Train)
    }
    of_mine = {"reparametrisation": "sign_in", "warm_up": "linear"}
    assert found == {
        ("dense", "train"): {"regulariser": "l1"},
        ("dense_same_budget", "train"): {"regulariser": "l1"},
        ("mine", "pretrain"): of_mine,
        ("mine", "round"): {**of_mine, "mask_rule": "rigl"},
        ("mine", "train"): {"regulariser": "l1"},
        ("lrr", "pretrain"): {"warm_up": "linear"},
        ("lrr", "round"): {"warm_up": "linear", "mask_rule": "set"},
        ("lrr", "train"): {"regulariser": "l1"},
        ("snip", "pretrain"): {},  # nothing is trained, so nothing happens
        ("snip", "round"): {},
        ("snip", "train"): {"regulariser": "l1"},
    }


def test_methods_with_equal_psi_training_share_round_zero_and_its_first_epochs() -> None:
    plan = plan_with("imp", methods=("imp", "weight_rewinding", "fine_tuning", "one_shot", "lrr_rewound_schedule"))
    zeros = [node for node in plan if isinstance(node.stage, Pretrain)]
    assert sorted(len(node.stage.training.span) for node in zeros) == [0, 1, 3]  # type: ignore[union-attr]
    assert len(rounds(plan)) == 5 * 2  # and none of the rounds


def test_the_first_epochs_of_round_zero_are_no_round() -> None:
    (beginning,) = (node for node in plan_with("imp") if node.name.endswith("epoch000"))
    assert beginning.labels.round is None


def test_a_users_method_runs_like_a_built_in_one() -> None:
    methods = {"sparse_aws": {"interpolate_psi": True, "criterion": "snip", "reset_to": 2, "steps": 3}}
    plan = plan_with("sparse_aws", own_methods=methods)
    for node, stage in rounds(plan):
        assert stage.psi == "interpolated"
        assert stage.pruning == Pruning("sparse_aws", Criterion("snip"), reset_to=2, steps=3)
        assert set(node.inputs) == {"previous", "reset"}
        assert node.labels.method == "sparse_aws"


def test_every_built_in_method_fits_every_built_in_recipe() -> None:
    for dataset in ("mnist1d", "cifar100", "tiny-imagenet", "imagenet"):
        resolved = resolve(dataset, None, "sound", [{"methods": list(METHODS)}])
        assert resolved.methods == tuple(METHODS)


def test_the_same_method_under_another_name_has_its_own_tickets() -> None:
    named = Method().pruning("renamed")
    assert named == replace(Method().pruning("lrr"), ticket_method="renamed")
