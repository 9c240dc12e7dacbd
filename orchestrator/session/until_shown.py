"""Adds chains to a study, look by look, until its primary questions are decided."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.layers import RecipeError
from orchestrator.session.companion import Companion, errors
from orchestrator.store import Store, StoreError
from workers.terminal.console import Console

Section = tuple[str, str, str]


def section(experiment: Experiment) -> Section:
    """Return the labels of an experiment's results."""
    return (experiment.recipe.dataset, experiment.recipe.arch, experiment.recipe.preset)


def check_looks(experiments: Sequence[Experiment]) -> None:
    """Raise RecipeError if an experiment has no last look, or takes tickets of others, which may be decided first."""
    for experiment in experiments:
        if not experiment.recipe.methods:
            raise RecipeError("--until-shown adds chains, and a sweep from --tickets alone runs none; give --methods")
        if experiment.recipe.other_data:
            raise RecipeError(
                f"--until-shown ends each data set by itself, and {experiment.recipe.dataset} takes tickets_from "
                f"others; leave one of them out"
            )
        if not experiment.recipe.study.looks_from(experiment.recipe.chains):
            raise RecipeError(
                f"--until-shown needs a limit: give --max-chains, or study.looks in the recipe of "
                f"{experiment.recipe.dataset}"
            )


def at_look(experiment: Experiment, chains: int) -> Experiment:
    """Return the experiment with the chains of a look; its looks stay those of the first one."""
    recipe = experiment.recipe
    study = replace(recipe.study, looks=tuple(recipe.study.looks_from(recipe.chains)), max_chains=None)
    return replace(experiment, recipe=recipe.model_copy(update={"chains": chains, "study": study}))


def at_last_look(experiment: Experiment) -> Experiment:
    """Return the experiment with the chains of its last look: the most that it can take."""
    return at_look(experiment, experiment.recipe.study.looks_from(experiment.recipe.chains)[-1])


def undecided(experiments: Sequence[Experiment], parts: Mapping[Section, Mapping[str, Any]]) -> list[Experiment]:
    """Return the experiments whose judged results need more chains to show a difference of the size seen.

    Args:
        parts: of a store, as ``judge_store`` returns them.

    Returns:
        Each with the number of chains that is needed.
    """
    enlarged = []
    for experiment in experiments:
        part = parts.get(section(experiment), {})
        needed = part.get("chains_needed")
        if not part.get("decided") and needed and needed > experiment.recipe.chains:
            enlarged.append(at_look(experiment, needed))
    return enlarged


def run_until_shown(
    experiments: Sequence[Experiment],
    store: Store,
    run: Callable[[list[Experiment]], int],
    console: Console,
    judged: Callable[[Store], Mapping[Section, Mapping[str, Any]]] | None = None,
) -> int:
    """Run look after look of every experiment that is not decided, and return the exit code.

    Looks that the store has are judged first, so that a repeated command goes on where the last one stopped.

    Args:
        run: computes all stages of some experiments; its exit code, if not 0, ends the study.
        judged: judges a store's parts; by default ``winning-sign judge``.

    Raises:
        StoreError: the results cannot be judged, or a look waits for stages of another sweep.
        RecipeError: the store holds this study with other looks.
    """
    judge, before = judged or judge_store, None
    while True:
        parts = judge(store)
        pending = {}
        for experiment in experiments:
            part = parts.get(section(experiment), {})
            done = [look["chains"] for look in part.get("looks", ()) if look["done"]]
            title = " · ".join(section(experiment))
            looks = experiment.recipe.study.looks_from(experiment.recipe.chains)
            left = [chains for chains in looks if chains > max(done, default=0)]
            if part.get("decided"):
                console.print(f"{title}: decided, at {max(done)} chains at most. {part['verdict']}.", soft_wrap=True)
            elif left:
                pending[section(experiment)] = at_look(experiment, left[0])
            else:
                needed = part.get("chains_needed")
                more = f"; about {needed} chains would decide a difference of the size seen" if needed else ""
                console.print(f"{title}: not decided at {looks[-1]} chains, the study's most{more}.", soft_wrap=True)
        if not pending:
            return 0
        chains = {labels: experiment.recipe.chains for labels, experiment in pending.items()}
        if chains == before:
            labels, at = next(iter(chains.items()))
            if at in [look["chains"] for look in parts.get(labels, {}).get("looks", ())]:
                raise StoreError(
                    f"{store.root}: the look at {at} chains of {' · '.join(labels)} waits for stages that another "
                    f"sweep planned here; winning-sign status lists them, and the command of that sweep ends them"
                )
            raise RecipeError(
                f"the store holds {' · '.join(labels)} as a study with other looks, and its first plan "
                f"counts; leave --until-shown out, or sweep into another store"
            )
        for labels, count in chains.items():
            console.print(f"{' · '.join(labels)}: the next look is at {count} chains.", soft_wrap=True)
        if code := run(list(pending.values())):
            for labels, count in chains.items():
                console.print(f"{' · '.join(labels)}: the look at {count} chains is not complete.", soft_wrap=True)
            return code
        before = chains


def judge_store(store: Store) -> dict[Section, dict[str, Any]]:
    """Judge a store in a process of its own, which has pandas; an empty or missing store has no parts.

    Raises:
        StoreError: the store cannot be judged.
    """
    if not store.storage.exists() or not store.records({}):
        return {}
    done = Companion("analysis.judge", store.root, "--json").run()
    if done.returncode:
        raise StoreError(f"{store.root}: the results cannot be judged: {errors(done)[-1]}")
    parts = json.loads(done.stdout)["parts"]
    return {(part["dataset"], part["architecture"], part["preset"]): part for part in parts}
