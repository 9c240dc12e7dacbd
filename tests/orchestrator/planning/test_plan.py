"""The plan: complete, minimal, acyclic, deterministic, and paired as the method requires."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.planning.algorithm import count_stages, expand
from orchestrator.planning.identity import stage_key
from orchestrator.planning.landscape import reestimation
from orchestrator.planning.plan import Node, Plan, describe
from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.recipe import Recipe
from orchestrator.recipes.resolution import resolve
from orchestrator.scheduling.rank import cost_epochs
from tests.orchestrator.recipes.small_recipes import TRANSFER_NAMES, plan_of, recipe, recipes
from tickets import TRANSFERS
from workers.probing import PROBES, probe
from workers.stages import UNIFORM, Alpha, Landscape, PairProbe, Pretrain, Probe, Round, Train, to_science

ANY_RECIPES = given(recipes())
MANY = settings(max_examples=25, deadline=None)


def expected_counts(recipe_: Recipe) -> Counter[str]:
    """The number of stages by kind, from the method and not from the planner."""
    chains = recipe_.chains * len(recipe_.methods)
    tickets = chains * len({*recipe_.transfer_rounds, *recipe_.probe_rounds})
    probed = chains * len(set(recipe_.probe_rounds))
    seeds = recipe_.seeds
    counts = Counter({"train dense": seeds, "pretrain": chains, "round": chains * recipe_.rounds})
    counts["train retrain"] = tickets * seeds
    if "rewound" in recipe_.transfers and tickets:
        counts["pretrain"] += chains  # the chain's initialisation
    # neighbouring retrains are a pair, so none is trained for stability alone
    counts["probe stability"] = probed * (seeds - 1)
    for transfer in recipe_.transfers:
        counts[f"train {transfer}"] = tickets * seeds
        counts["probe lmc"] += probed * seeds
        if transfer in recipe_.twins:
            counts[f"train {transfer}"] += probed * seeds
            counts["probe stability"] += probed * seeds
    return +counts


def upstream(plan: Plan, node: Node, slot: str) -> Node:
    return plan.nodes[node.inputs[slot]]


def of_kind(plan: Plan, *kinds: type) -> list[Node]:
    return [node for node in plan if isinstance(node.stage, kinds)]


@MANY
@ANY_RECIPES
def test_every_node_stands_after_its_inputs(recipe_: Recipe) -> None:
    seen: set[str] = set()
    for node in plan_of(recipe_):
        assert set(node.inputs.values()) <= seen
        seen.add(node.key)


@MANY
@ANY_RECIPES
def test_the_plan_is_complete_and_holds_nothing_else(recipe_: Recipe) -> None:
    assert plan_of(recipe_).counts() == expected_counts(recipe_)


@MANY
@ANY_RECIPES
def test_every_stage_has_the_inputs_that_its_kind_reads(recipe_: Recipe) -> None:
    plan = plan_of(recipe_)
    reads = {"dense": set[str](), "rewound": {"ticket", "epoch_0"}}
    reads |= {name: {"ticket", "round_0", "dense"} for name in ("permuted", "permuted_signed")}
    for node in plan:
        stage = node.stage
        slots = {
            Pretrain: set(),
            Round: {"previous"},
            Train: reads.get(node.labels.transfer or "", {"ticket"}),
            Probe: {"a", "b"},
        }[type(stage)]
        assert set(node.inputs) == slots
        if isinstance(stage, Round):
            before = upstream(plan, node, "previous").stage
            assert (before.round if isinstance(before, Round) else 0) == stage.round - 1
            assert isinstance(before, Pretrain | Round)
            assert before.psi == stage.psi
        if isinstance(stage, Train):
            assert stage.transfer == TRANSFERS[node.labels.transfer or ""]
        if isinstance(stage, Probe):
            assert all(isinstance(upstream(plan, node, slot).stage, Train) for slot in "ab")


@MANY
@ANY_RECIPES
def test_keys_are_those_of_the_content_and_names_are_unique(recipe_: Recipe) -> None:
    plan = plan_of(recipe_)
    assert all(node.key == stage_key(node.stage, node.inputs) for node in plan)
    assert len({node.name for node in plan}) == len(plan)
    assert len({node.labels for node in plan}) == len(plan)


@MANY
@ANY_RECIPES
def test_the_same_recipe_gives_the_same_plan(recipe_: Recipe) -> None:
    again = Recipe.model_validate(recipe_.model_dump())
    assert list(plan_of(recipe_)) == list(plan_of(again))


def test_further_probes_measure_the_same_pairs_and_change_no_other_stage() -> None:
    without, plan = plan_of(recipe()), plan_of(recipe(probes=("disagreement", "weight_distance")))
    assert names(without).items() <= names(plan).items()
    pairs = {node.name: node for node in without if isinstance(node.stage, Probe)}
    added = {node.name: node for node in plan if node.key not in without.nodes}
    assert added.keys() == {f"{name}/{each}" for name in pairs for each in ("disagreement", "weight_distance")}
    for name, node in added.items():
        pair, _, measure = name.rpartition("/")
        assert node.stage == PairProbe(pairs[pair].stage.setting, measure)
        assert (node.inputs, node.labels) == (pairs[pair].inputs, pairs[pair].labels)
    assert plan.counts()["probe disagreement"] == len(pairs)


def test_successive_rounds_are_probed_without_changing_another_stage() -> None:
    without = plan_of(recipe(rounds=3))
    probed = recipe(rounds=3, probe_successive_rounds=True, probes=("weight_distance",))
    plan = plan_of(probed)
    assert without.nodes.keys() <= plan.nodes.keys()
    pairs = [node for node in plan if node.labels.probe == "successive"]
    barriers = [node for node in pairs if isinstance(node.stage, Probe)]
    assert len(barriers) == probed.chains * len(probed.methods) * 3 == len(pairs) / 2
    for node in barriers:
        a, b = upstream(plan, node, "a").labels, upstream(plan, node, "b").labels
        assert (a.method, a.chain, a.round) == (b.method, b.chain, (b.round or 0) + 1)
        assert (node.labels.method, node.labels.chain, node.labels.round) == (a.method, a.chain, a.round)
        assert node.stage == next(each.stage for each in without if each.labels.probe == "lmc")
    assert {tuple(node.inputs.items()) for node in pairs} == {tuple(node.inputs.items()) for node in barriers}
    planned_more = count_stages(probed) - count_stages(recipe(rounds=3, probes=("disagreement",)))
    assert planned_more == len(pairs)


def test_a_probe_registered_for_paths_evaluates_them_as_the_barrier_beside_it() -> None:
    probe("bend", path=True)(lambda pair: {"points": 1})
    try:
        plan = plan_of(recipe(probes=("bend", "disagreement"), probe_points=5, bn_images=77, bn_momentum=0.1))
    finally:
        del PROBES["bend"]
    by_name = {node.name: node.stage for node in plan}
    barriers = {name: stage for name, stage in by_name.items() if isinstance(stage, Probe)}
    assert barriers
    for name, barrier in barriers.items():
        science = to_science(barrier)
        assert to_science(by_name[f"{name}/bend"])["path"] == {k: v for k, v in science.items() if k != "setting"}
        assert to_science(by_name[f"{name}/disagreement"])["path"] is None
        assert cost_epochs(by_name[f"{name}/bend"]) > cost_epochs(barrier)


def test_a_permuted_ticket_is_matched_by_two_dense_solutions_and_rewound_along_its_own_seeds_training() -> None:
    rewound = {"mask": "permuted", "signs": "dense_2", "magnitudes": "dense_2", "psi": "dense_3"}
    changes = {"own_transfers": {"mine": rewound}, "transfers": ("permuted", "mine", "mask"), "twins": ("mine",)}
    found = recipe(**changes, seeds=2, methods=("lrr",))
    plan = plan_of(found)
    assert len(plan) == count_stages(found)
    by_name = {node.name: node for node in plan}
    for seed in (1, 2):
        dense = by_name[f"tiny/resnet1d/dense/seed{seed}"]
        begun = by_name[f"tiny/resnet1d/dense/seed{seed}/epoch002"]
        assert begun.stage == replace(
            dense.stage, training=replace(dense.stage.training, stop_after=2), read_test_set=False
        )
        round_ = "tiny/resnet1d/lrr/chain1/round02"
        two = {"round_0": by_name["tiny/resnet1d/lrr/chain1/round00"].key, "dense": dense.key}
        ticket = {"ticket": by_name[round_].key}
        assert by_name[f"{round_}/permuted/seed{seed}"].inputs == ticket | two
        for name in (f"{round_}/mine/seed{seed}", f"{round_}/mine/seed{seed}/twin"):
            assert by_name[name].inputs == ticket | two | {"dense_2": begun.key, "dense_3": dense.key}  # all 3 epochs
        assert by_name[f"{round_}/mask/seed{seed}"].inputs == ticket


def test_landscapes_are_probes_of_three_solutions_and_change_no_other_stage() -> None:
    changes = {"seeds": 2, "landscape_points": 4, "landscape_margin": 0.5, "bn_images": 77}
    without = plan_of(recipe(**changes))
    plan = plan_of(recipe(**changes, landscapes=(("retrain", "signed", "mask"), ("mask", "signed", "retrain"))))
    assert names(without).items() <= names(plan).items()
    added = {node.name: node for node in plan if node.key not in without.nodes}
    assert added.keys() == {
        f"tiny/resnet1d/{method}/chain1/round02/landscape/{starts.format(seed=seed)}"
        for method in ("aws", "lrr")
        for seed in (1, 2)
        for starts in (
            "retrain-seed{seed}+signed-seed{seed}+mask-seed{seed}",
            "mask-seed{seed}+signed-seed{seed}+retrain-seed{seed}",
        )
    }
    for node in added.values():
        assert node.stage == Landscape(next(iter(plan)).stage.setting, 4, 0.5, 32, 77, None)
        assert (node.labels.round, node.labels.transfer, node.labels.probe) == (2, None, None)
        starts = {upstream(plan, node, slot).labels.transfer for slot in "abc"}
        assert starts == {"retrain", "signed", "mask"}
    assert plan.counts()["landscape"] == len(added)


def names(plan: Plan) -> dict[str, str]:
    return {node.key: node.name for node in plan}


@MANY
@given(recipes(), st.sampled_from(["seeds", "rounds", "chains"]))
def test_more_seeds_rounds_or_chains_keep_every_stage(recipe_: Recipe, field: str) -> None:
    larger = Recipe.model_validate({**recipe_.model_dump(), field: getattr(recipe_, field) + 1})
    before, after = names(plan_of(recipe_)), names(plan_of(larger))
    assert before.items() <= after.items()
    assert len(before) < len(after)


@MANY
@ANY_RECIPES
def test_another_method_keeps_every_stage(recipe_: Recipe) -> None:
    both = names(plan_of(recipe_.model_copy(update={"methods": ("aws", "lrr")})))
    alone = [names(plan_of(recipe_.model_copy(update={"methods": (method,)}))) for method in ("aws", "lrr")]
    assert alone[0] | alone[1] == both
    shared = alone[0].keys() & alone[1].keys()
    assert all(name.split("/")[2] == "dense" for name in (both[key] for key in shared))


@MANY
@given(recipes(), st.sampled_from(TRANSFER_NAMES))
def test_another_transfer_keeps_every_stage(recipe_: Recipe, transfer: str) -> None:
    more = recipe_.model_copy(update={"transfers": (*recipe_.transfers, transfer)})
    assert names(plan_of(recipe_)).items() <= names(plan_of(more)).items()


@MANY
@ANY_RECIPES
def test_lmc_joins_a_transfer_and_the_retrain_of_the_same_ticket_and_seed(recipe_: Recipe) -> None:
    plan = plan_of(recipe_)
    for node in of_kind(plan, Probe):
        if node.labels.probe == "lmc":
            a, b = upstream(plan, node, "a"), upstream(plan, node, "b")
            assert a.inputs["ticket"] == b.inputs["ticket"]
            assert (a.labels.transfer, b.labels.transfer) == (node.labels.transfer, "retrain")
            assert a.labels.seed == b.labels.seed == node.labels.seed
            assert not a.labels.twin


@MANY
@ANY_RECIPES
def test_a_stability_pair_differs_in_its_sgd_seed_only(recipe_: Recipe) -> None:
    plan = plan_of(recipe_)
    for node in of_kind(plan, Probe):
        if node.labels.probe == "stability":
            a, b = upstream(plan, node, "a"), upstream(plan, node, "b")
            assert isinstance(a.stage, Train)
            assert isinstance(b.stage, Train)
            assert a.stage.sgd_seed != b.stage.sgd_seed
            assert a.stage == replace(b.stage, sgd_seed=a.stage.sgd_seed)
            assert a.inputs == b.inputs


@MANY
@ANY_RECIPES
def test_both_methods_start_a_chain_from_one_initialisation_and_see_the_same_draws(recipe_: Recipe) -> None:
    plan = plan_of(recipe_.model_copy(update={"methods": ("aws", "lrr")}))
    chains: dict[str, dict[tuple[int | None, int | None], tuple[int, ...]]] = {"aws": {}, "lrr": {}}
    for node in of_kind(plan, Pretrain, Round):
        stage = node.stage
        if node.labels.round is None:
            continue
        seeds = (stage.init_seed, stage.sgd_seed) if isinstance(stage, Pretrain) else (stage.sgd_seed,)  # type: ignore[union-attr]
        chains[node.labels.method or ""][node.labels.chain, node.labels.round] = seeds
    assert chains["aws"] == chains["lrr"]
    drawn = list(chains["aws"].values())
    assert len(set(drawn)) == len(drawn)  # no two rounds and no two chains share theirs


@MANY
@ANY_RECIPES
def test_transfers_start_from_initialisations_that_no_chain_uses(recipe_: Recipe) -> None:
    plan = plan_of(recipe_)
    chains = {node.stage.init_seed for node in of_kind(plan, Pretrain)}  # type: ignore[union-attr]
    assert len(chains) == recipe_.chains
    fresh = [node for node in of_kind(plan, Train) if node.labels.transfer not in ("retrain", "rewound")]
    assert not chains & {node.stage.init_seed for node in fresh}  # type: ignore[union-attr]
    by_seed = {(node.labels.seed, node.stage.init_seed) for node in fresh}  # type: ignore[union-attr]
    assert len(by_seed) == recipe_.seeds == len({init for _, init in by_seed})


@MANY
@ANY_RECIPES
def test_transfers_of_one_seed_are_paired_with_each_other_and_with_the_dense_training(recipe_: Recipe) -> None:
    draws: dict[int | None, set[tuple[int, int]]] = {}
    for node in of_kind(plan_of(recipe_), Train):
        if node.labels.transfer not in ("retrain", "rewound") and not node.labels.twin:
            stage = node.stage
            assert isinstance(stage, Train)
            draws.setdefault(node.labels.seed, set()).add((stage.init_seed, stage.sgd_seed))
    assert all(len(pairs) == 1 for pairs in draws.values())


@MANY
@ANY_RECIPES
def test_presets_share_no_result(recipe_: Recipe) -> None:
    sound, reference = (plan_of(recipe_.model_copy(update={"preset": name})) for name in ("sound", "reference"))
    assert not sound.nodes.keys() & reference.nodes.keys()


@pytest.mark.parametrize("other", [{"dataset": "other"}, {"arch": "resnet20"}, {"model": {"width": 4}}])
def test_data_sets_and_networks_share_no_result(other: dict[str, object]) -> None:
    one, two = plan_of(recipe()), plan_of(recipe(**other))
    assert not one.nodes.keys() & two.nodes.keys()
    assert len(plan_of(recipe(), recipe(**other))) == len(one) + len(two)


def test_other_data_under_the_same_name_shares_no_result() -> None:
    one, two = (expand([Experiment(recipe(), print_)]) for print_ in ("parquet-1", "parquet-2"))
    assert not one.nodes.keys() & two.nodes.keys()


def test_a_changed_network_shares_no_result() -> None:
    one, two = (expand([Experiment(recipe(), "parquet-1", version)]) for version in (1, 2))
    assert not one.nodes.keys() & two.nodes.keys()


@pytest.mark.parametrize(
    ("dataset", "arch", "options", "pretrain"),
    [
        ("cifar100", "resnet50", {"stem_init": "normal"}, "06e9a5e919f8e0c385e8714bfb73ee97"),
        ("imagenet", "resnet50", {}, "af1010853df363e46f8c98cdbf71d766"),
        ("cifar100", "resnet20", {}, "44188e8eda6ce7c09feb1839e5c083f6"),
    ],
)
def test_networks_keep_the_keys_of_the_draws_that_older_stores_hold(
    dataset: str, arch: str, options: dict[str, str], pretrain: str
) -> None:
    plan = expand([Experiment(resolve(dataset, arch, "sound", [{"model": options}]), "fingerprint-1")])
    assert next(iter(plan.nodes)) == pretrain


@pytest.mark.parametrize(("preset", "resets"), [("reference", True), ("sound", False)])
def test_a_probe_with_a_momentum_resets_statistics_first(preset: str, resets: bool) -> None:
    """Without a momentum they are reset anyway, and the field stays out of the keys of ``sound``."""
    plan = expand([Experiment(resolve("cifar100", "resnet20", preset, []), "fingerprint-1")])
    probes = [node.stage for node in plan if isinstance(node.stage, Probe)]
    assert probes
    assert {probe.bn_reset for probe in probes} == {resets}
    assert {probe.bn_momentum is not None for probe in probes} == {resets}
    before = replace(probes[0], bn_momentum=0.1, bn_reset=False)  # of an older store: its landscape does as it does
    assert reestimation(before)["bn_reset"] is False


def test_an_experiment_named_twice_is_planned_once() -> None:
    assert names(plan_of(recipe(), recipe())) == names(plan_of(recipe()))


def test_a_trials_share_of_a_gpu_is_in_no_key() -> None:
    assert plan_of(recipe(gpus_per_trial=0.5)).nodes == plan_of(recipe()).nodes


def test_exactly_one_round_can_be_planned() -> None:  # the released code could not run it
    plan = plan_of(resolve("mnist1d", None, "sound", [{"rounds": 1, "seeds": 1, "chains": 1}]))
    assert plan.counts()["round"] == 2
    assert plan.counts()["probe lmc"] == 4


def test_the_dense_baseline_is_in_every_plan() -> None:  # the released code could not run it
    assert plan_of(recipe(seeds=2)).counts()["train dense"] == 2


def test_dense_training_is_shared_by_methods_and_chains() -> None:
    assert plan_of(recipe(chains=3, seeds=2)).counts()["train dense"] == 2


def test_the_last_round_is_not_pruned_again() -> None:
    rounds = [node.stage.round for node in of_kind(plan_of(recipe(rounds=3)), Round)]  # type: ignore[union-attr]
    assert Counter(rounds) == {1: 2, 2: 2, 3: 2}


def test_a_field_of_the_final_training_leaves_the_chains_alone() -> None:
    one, two = plan_of(recipe()), plan_of(recipe(final_epochs=4))
    kept = {describe(one.nodes[key]) for key in one.nodes.keys() & two.nodes.keys()}
    assert kept == {"pretrain", "round"}


def test_a_field_of_the_probe_leaves_every_training_alone() -> None:
    one, two = plan_of(recipe()), plan_of(recipe(probe_points=5))
    changed = {one.nodes[key].stage.kind for key in one.nodes.keys() - two.nodes.keys()}
    assert changed == {"probe"}


def test_names_describe_their_stages() -> None:
    planned = set(names(plan_of(recipe(seeds=2))).values())
    assert {
        "tiny/resnet1d/dense/seed1",
        "tiny/resnet1d/aws/chain1/round00",
        "tiny/resnet1d/lrr/chain1/round02",
        "tiny/resnet1d/aws/chain1/round01/signed/seed2",
        "tiny/resnet1d/aws/chain1/round02/signed/seed2/twin",
        "tiny/resnet1d/aws/chain1/round02/signed/lmc/seed1",
        "tiny/resnet1d/aws/chain1/round02/retrain/stability/seed2",
    } <= planned


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bfloat16"},
        {"image_size": 96},
        {"pixel_mean": (0.5,)},
        {"pixel_std": (0.2,)},
        {"augmentation": "resized_crop_flip"},
        {"compile_from_epochs": 1},
    ],
)
def test_fields_that_change_every_number_change_every_training(changes: dict[str, object]) -> None:
    plain, changed = plan_of(recipe()), plan_of(recipe(**changes))
    assert not set(plain.nodes) & set(changed.nodes)


def test_only_long_trainings_are_compiled() -> None:
    stages = [node.stage for node in plan_of(recipe(compile_from_epochs=3))]
    compiled = {stage.training.epochs: stage.training.compiled for stage in stages if not isinstance(stage, Probe)}
    assert compiled == {1: False, 2: False, 3: True}


def test_alpha_changes_only_aws_chains_and_their_descendants() -> None:
    beta = Alpha("beta", (2.0, 5.0))
    usual, other = plan_of(recipe()), plan_of(recipe(alpha=beta))
    changed = {node.name for node in other if node.key not in usual.nodes}
    # downstream of a changed chain everything is new; LRR and the dense trainings are as they were
    assert changed == {node.name for node in usual if node.labels.method == "aws"}
    for node in of_kind(other, Pretrain, Round):
        assert isinstance(node.stage, Pretrain | Round)
        assert node.stage.alpha == (beta if node.labels.method == "aws" else UNIFORM)


@ANY_RECIPES
@MANY
def test_stages_are_counted_without_planning_them(recipe_: Recipe) -> None:
    assert count_stages(recipe_) == len(plan_of(recipe_))
