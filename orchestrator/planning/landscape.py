"""Error landscapes in a plan: through starts that a recipe names, or through any three trainings of a store. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict
from itertools import takewhile
from math import isfinite
from typing import TypedDict

from orchestrator.planning.comparison import changes
from orchestrator.planning.plan import Node, Plan
from orchestrator.recipes.recipe import Recipe
from orchestrator.recipes.resolution import resolve
from orchestrator.store import StoreError
from orchestrator.store.record import Labels, StageIdentity, inputs_first
from workers.stages import Augmentation, Landscape, Pretrain, Probe, Round, Setting, Stage, Train, to_science
from workers.stages.job import JobError, parse_job


class Reestimated(TypedDict):
    """Fields of ``Probe``, ``PathEvaluation`` and ``Landscape``."""

    batch_size: int
    bn_images: int | None
    bn_momentum: float | None
    augmentation: Augmentation
    bn_reset: bool


SECTION = ("dataset", "architecture", "preset")


def add_landscape(plan: Plan, solutions: Sequence[Node], points: int, margin: float, probing: Probe | Recipe) -> Node:
    """Add the landscape through three trainings of one setting, with the labels that all three share.

    Args:
        points: grid points per side.
        margin: how far the grid extends beyond the solutions, as a share of the longer side of their bounding box.
        probing: how batch-norm statistics are re-estimated.
    """
    a, b, c = solutions
    assert isinstance(a.stage, Pretrain | Round | Train)
    stage = Landscape(a.stage.setting, points, margin, **reestimation(probing))
    first, *rest = (asdict(node.labels) for node in solutions)
    shared = {name: value for name, value in first.items() if all(labels[name] == value for labels in rest)}
    return plan.add(_name(solutions), stage, Labels(**shared), a=a, b=b, c=c)


def reestimation(source: Probe | Recipe) -> Reestimated:
    """The fields of probes and landscapes that say how batch-norm statistics are re-estimated."""
    return {
        "batch_size": source.batch_size,
        "bn_images": source.bn_images,
        "bn_momentum": source.bn_momentum,
        "augmentation": source.augmentation,
        # as the released code, whose network is fresh; without a momentum, statistics are reset anyway, and keys stay
        "bn_reset": source.bn_reset if isinstance(source, Probe) else source.bn_momentum is not None,
    }


def plan_landscape(
    stages: Mapping[str, StageIdentity], wanted: Container[str], keys: Sequence[str], points: int, margin: float
) -> tuple[Plan, Node]:
    """Plan a landscape through three trainings of a store.

    The trainings and all that they read are borrowed from the store's plans, so that damaged or collected weights are
    recomputed.

    Args:
        stages: every stage in the store's plans and records, by key.
        wanted: keys of the stages that the last sweeps want.
        keys: the three trainings.

    Raises:
        StoreError: the stages are no three trainings of one setting, or cannot be planned by this code.
        RecipeError: the store has no probe of this setting, and the data set's recipe cannot be resolved.
    """
    plan = Plan()
    for key in inputs_first(stages, keys):
        _borrow(plan, stages[key])
    if missing := [key for key in keys if key not in plan.nodes]:
        raise StoreError(f"stage {missing[0]} is in no plan or record; repeat its sweep first")
    solutions = [plan.nodes[key] for key in keys]
    setting = _shared_setting(solutions)
    if not isfinite(margin):
        raise StoreError(f"--margin {margin}: expected a number, such as 0.25")
    probing = _probing(setting, stages, wanted, solutions[0].labels)
    return plan, add_landscape(plan, solutions, points, margin, probing)


def _borrow(plan: Plan, identity: StageIdentity) -> None:
    """Add a stage of the store whose inputs were added before."""
    for key in identity.inputs.values():
        if key not in plan.nodes:
            raise StoreError(
                f"stage {key}, upstream of these trainings, is in no plan or record; repeat their sweep first"
            )
    inputs = {slot: plan.nodes[key] for slot, key in identity.inputs.items()}
    node = plan.add(identity.name, _stage(identity), identity.labels, **inputs)
    if node.key != identity.key:
        raise StoreError(f"{identity.name} was computed by another version of this code; repeat its sweep first")
    plan.borrowed.add(node.key)


def _stage(identity: StageIdentity) -> Stage:
    try:
        return parse_job({**vars(identity), "science": dict(identity.science)}).stage
    except JobError as error:
        raise StoreError(f"{identity.name} is {error}; repeat its sweep first") from error


def _shared_setting(solutions: Sequence[Node]) -> Setting:
    """The setting of all three; StoreError unless they are three trainings of one section with one setting."""
    first = solutions[0]
    settings = []
    for node in solutions:
        if not isinstance(node.stage, Pretrain | Round | Train):
            raise StoreError(f"{node.name} is a {node.stage.kind}, not a training; name three trainings")
        settings.append(node.stage.setting)
    keys = [node.key for node in solutions]
    if repeated := [node.name for node in solutions if keys.count(node.key) > 1]:
        raise StoreError(f"{repeated[0]} is named twice; name three different trainings")
    for node, setting in zip(solutions[1:], settings[1:], strict=True):
        section, first_section = ([getattr(each.labels, name) for name in SECTION] for each in (node, first))
        if section != first_section:
            raise StoreError(
                f"{node.name} ({', '.join(section)}) and {first.name} ({', '.join(first_section)}) are of different "
                f"sections; name three trainings of one data set, architecture and preset"
            )
        for change in changes(to_science(settings[0]), to_science(setting)):
            raise StoreError(
                f"{node.name} was made with {change.field} {change.new} and {first.name} with {change.old}, so their "
                f"weights do not compare; name three trainings of one recipe"
            )
    return settings[0]


def _probing(
    setting: Setting, stages: Mapping[str, StageIdentity], wanted: Container[str], labels: Labels
) -> Probe | Recipe:
    """A probe of this setting, whose batch-norm re-estimation the landscape repeats, so that their errors compare.

    A store without such a probe takes the section's default recipe.
    """
    probes = [identity for identity in stages.values() if identity.kind == Probe.kind]
    probes = [probe for probe in probes if all(getattr(probe.labels, n) == getattr(labels, n) for n in SECTION)]
    for identity in sorted(probes, key=lambda probe: probe.key in wanted, reverse=True):
        stage = _stage(identity)
        assert isinstance(stage, Probe)
        if stage.setting == setting:
            return stage
    return resolve(labels.dataset, labels.architecture, labels.preset)


def _name(nodes: Sequence[Node]) -> str:
    """Join names: ``digits/net/aws/chain1/round05/landscape/retrain-seed1+signed-seed1+mask-seed1``."""
    parts = [node.name.split("/") for node in nodes]
    levels = zip(*(each[:-1] for each in parts), strict=False)
    shared = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]
    # "+" and "-", not "/": so no part of another stage's name selects this one too
    return "/".join([*shared, "landscape", "+".join("-".join(each[len(shared) :]) for each in parts)])
