"""The plan of an error landscape, which no sweep has: it is asked for by naming three trainings of a store. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from itertools import takewhile
from math import isfinite

from orchestrator.planning.comparison import changes
from orchestrator.planning.plan import Node, Plan
from orchestrator.recipes import Recipe, resolve
from orchestrator.store import StoreError
from orchestrator.store.record import Labels, StageIdentity
from workers.stages import Landscape, Pretrain, Probe, Round, Setting, Stage, Train, to_science
from workers.stages.job import JobError, parse_job

SECTION = ("dataset", "architecture", "preset")


def plan_landscape(
    known: Mapping[str, StageIdentity], wanted: Container[str], keys: Sequence[str], points: int, margin: float
) -> tuple[Plan, Node]:
    """A landscape, in a plan with all that its solutions were made from: what was damaged or collected is made anew.

    Args:
        known: what plans and records tell of every stage, by key.
        wanted: keys of the stages of the last plans.
        keys: of the three solutions.

    Raises:
        StoreError: there is no landscape through these, or they cannot be planned.
        RecipeError: the store has no probe like theirs, and their recipe is gone.
    """
    plan = Plan()
    solutions = [_add(plan, known, key) for key in keys]
    setting = _check(solutions)
    if not isfinite(margin):
        raise StoreError(f"--margin {margin}: expected a number, such as 0.25")
    how = _reestimation(setting, known, wanted, solutions[0].labels)
    stage = Landscape(setting, points, margin, how.batch_size, how.bn_images, how.bn_momentum, how.augmentation)
    labels = _shared([node.labels for node in solutions])
    a, b, c = solutions
    return plan, plan.add(_name([node.name for node in solutions]), stage, labels, a=a, b=b, c=c)


def _add(plan: Plan, known: Mapping[str, StageIdentity], key: str) -> Node:
    """A stage of the store with all that it reads."""
    if key in plan.nodes:
        return plan.nodes[key]
    if key not in known:
        raise StoreError(f"stage {key}, which one of these was made from, is in no plan and has no record")
    content = known[key]
    inputs = {slot: _add(plan, known, upstream) for slot, upstream in content.inputs.items()}
    node = plan.add(content.name, _stage(content), content.labels, **inputs)
    if node.key != key:
        raise StoreError(f"{content.name} was made by another version of this code; repeat its sweep first")
    return node


def _stage(content: StageIdentity) -> Stage:
    try:
        return parse_job({**vars(content), "science": dict(content.science)}).stage
    except JobError as error:
        raise StoreError(f"{content.name} is {error}; repeat its sweep first") from error


def _check(solutions: Sequence[Node]) -> Setting:
    """What all three share; StoreError unless they are three trainings of one section with one setting."""
    first = solutions[0]
    for node in solutions:
        if not isinstance(node.stage, Pretrain | Round | Train):
            raise StoreError(f"{node.name} is a {node.stage.kind}; a landscape goes through three trainings")
    if len({node.key for node in solutions}) < len(solutions):
        raise StoreError(f"{first.name} and two other trainings are needed, and one was named twice")
    for node in solutions[1:]:
        here, there = ([getattr(each.labels, name) for name in SECTION] for each in (first, node))
        if here != there:
            raise StoreError(
                f"{node.name} ({', '.join(there)}) and {first.name} ({', '.join(here)}) are of different sections; "
                f"name three trainings of one data set, architecture and preset"
            )
        differing = changes(to_science(first.stage.setting), to_science(node.stage.setting))
        if differing:
            one = differing[0]
            raise StoreError(
                f"{node.name} was made with {one.field} {one.new} and {first.name} with {one.old}, so that their "
                f"weights do not compare; name three trainings of one recipe"
            )
    return first.stage.setting


def _reestimation(
    setting: Setting, known: Mapping[str, StageIdentity], wanted: Container[str], labels: Labels
) -> Probe | Recipe:
    """What tells how batch-norm statistics are re-estimated: a probe of this setting, so that the two compare.

    In a store without such probes, the recipe that it would have by default.
    """
    probes = [content for content in known.values() if content.kind == Probe.kind]
    probes = [probe for probe in probes if all(getattr(probe.labels, n) == getattr(labels, n) for n in SECTION)]
    for content in sorted(probes, key=lambda probe: probe.key in wanted, reverse=True):
        stage = _stage(content)
        assert isinstance(stage, Probe)
        if stage.setting == setting:
            return stage
    return resolve(labels.dataset, labels.architecture, labels.preset)


def _shared(labels: Sequence[Labels]) -> Labels:
    """What all have in common."""
    first, *others = (each.model_dump() for each in labels)
    return Labels(**{name: value for name, value in first.items() if all(other[name] == value for other in others)})


def _name(names: Sequence[str]) -> str:
    """``digits/net/aws/chain1/round05/landscape/retrain-seed1+signed-seed1+mask-seed1``."""
    parts = [name.split("/") for name in names]
    levels = zip(*(each[:-1] for each in parts), strict=False)
    shared = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]
    # joined by other signs than names are, so that no part of another stage's name means this one as well
    return "/".join([*shared, "landscape", "+".join("-".join(each[len(shared) :]) for each in parts)])
