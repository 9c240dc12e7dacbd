"""Print the plan of a sweep, with its hours and cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from orchestrator.imports.reading import remarks
from orchestrator.planning.algorithm import planned_recipe
from orchestrator.planning.plan import Plan, describe
from orchestrator.planning.rules import rules_in_words, without_effect
from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.layers import RecipeError
from orchestrator.recipes.network import Network
from orchestrator.recipes.resolved import as_yaml, differences
from orchestrator.scheduling.forecast import Forecast
from orchestrator.scheduling.rank import cost_epochs
from orchestrator.terminal.data_lines import data_line
from tickets import Role
from tickets.roles import WHY_DENSE
from workers.terminal.console import Console
from workers.terminal.numbers import duration
from workers.terminal.tables import UncutTable, print_table


def plan_as_json(
    plan: Plan,
    experiments: Sequence[Experiment],
    cached: Container[str],
    prediction: Forecast,
    changed: Mapping[str, str],
    needed: Sequence[tuple[Experiment, Forecast]],
) -> str:
    """Return the whole plan for machines: data, networks, recipes, counts, the forecast, all stages with their inputs.

    Args:
        changed: by data set, why the store's stages on it are computed anew.
        needed: experiments with the chains that would show a primary difference that is not shown, and their forecast.
    """
    counts, done = plan.counts(), Counter(describe(node) for node in plan if node.key in cached)
    stages = [
        {
            **node.planned().model_dump(mode="json", exclude={"science", "parts"}),
            "inputs": dict(node.inputs),
            "cached": node.key in cached,
            "cost_epochs": cost_epochs(node.stage),
        }
        for node in plan
    ]
    kinds = {kind: {"stages": counts[kind], "cached": done[kind]} for kind in counts}
    networks = [
        {
            "dataset": e.recipe.dataset,
            "architecture": e.recipe.arch,
            **_network_fields(e.network),
        }
        for e in experiments
    ]
    data = [
        {
            "dataset": e.recipe.dataset,
            "fingerprint": e.data_fingerprint,
            "splits": {split: asdict(summary) for split, summary in e.splits.items()},
            "left_out_files": dict(e.left_out),
            "changed": changed.get(e.recipe.dataset),
        }
        for e in {e.recipe.dataset: e for e in experiments}.values()
    ]
    recipes = [
        {**planned_recipe(e).model_dump(mode="json"), "in_trainings": rules_in_words(e.recipe)} for e in experiments
    ]
    content = {"data": data, "networks": networks, "recipes": recipes, "kinds": kinds}
    further = [
        {
            "dataset": e.recipe.dataset,
            "architecture": e.recipe.arch,
            "chains": e.recipe.chains,
            "forecast": asdict(more),
        }
        for e, more in needed
    ]
    foreseen = {"forecast": asdict(prediction), "chains_needed": further}
    return json.dumps({**content, **foreseen, "stages": stages}, indent=1)


def recipe_as_yaml(experiments: Sequence[Experiment]) -> str:
    """Return the recipe of the one experiment as the file that ``--recipe`` takes back.

    Raises:
        RecipeError: there are several experiments, whose recipes differ.
    """
    if len(experiments) > 1:
        pairs = " and ".join(f"{e.recipe.dataset}/{e.recipe.arch}" for e in experiments)
        raise RecipeError(f"--yaml prints one recipe, and {pairs} have one each; name one with --datasets and --archs")
    return as_yaml(experiments[0].recipe)


def print_plan(
    console: Console,
    plan: Plan,
    experiments: Sequence[Experiment],
    cached: Container[str],
    changed: Mapping[str, str],
) -> None:
    """Print data sets, networks, and by kind of stage how many are cached and how many epochs remain to train.

    Args:
        changed: by data set, why the store's stages on it are computed anew.
    """
    lines = dict.fromkeys(data_line(e.recipe.dataset, e.splits, e.left_out) for e in experiments)
    for line in (*lines, *changed.values()):
        console.print(line, soft_wrap=True)
    for experiment in experiments:
        recipe, network = experiment.recipe, experiment.network
        if network is not None:
            console.print(
                f"{recipe.dataset}/{recipe.arch}: {network.parameters:,} parameters, of which "
                f"{network.prunable_weights:,} in {network.prunable_layers} layers are prunable; "
                f"classifier {network.classifier}",
                soft_wrap=True,
            )
            console.print(
                f"{recipe.dataset}/{recipe.arch}: left dense: {'; '.join(_left_dense(network))}.", soft_wrap=True
            )
        for trainings, rules in rules_in_words(recipe).items():
            console.print(f"{recipe.dataset}/{recipe.arch}: in {trainings}: {rules}.", soft_wrap=True)
        for sentence in (*without_effect(recipe), *remarks(experiment)):
            console.print(sentence, soft_wrap=True)
        names = ", ".join(differences(recipe)) or "nothing"
        console.print(f"{recipe.dataset}/{recipe.arch}: changed in the built-in recipe: {names}.", soft_wrap=True)
    counts, done = plan.counts(), Counter(describe(node) for node in plan if node.key in cached)
    table = UncutTable(["stage"], ["stages", "cached", "to run", "epochs to run"])
    left = [node for node in plan if node.key not in cached]
    epochs = {kind: sum(cost_epochs(node.stage) for node in left if describe(node) == kind) for kind in counts}
    for kind, count in counts.items():
        table.add(kind, str(count), str(done[kind]), str(count - done[kind]), f"{epochs[kind]:,.0f}")
    total = f"{sum(epochs.values()):,.0f}"
    table.add("all", str(len(plan)), str(done.total()), str(len(left)), total, style="bold")
    print_table(console, table)


def _network_fields(network: Network | None) -> dict[str, Any]:
    """A network for machines; each role says why it is left dense, and null for the prunable weights."""
    if network is None:
        return {}
    roles = {
        role: {"parameters": count, "left_dense": WHY_DENSE.get(Role(role))} for role, count in network.roles.items()
    }
    return {**asdict(network), "roles": roles}


def _left_dense(network: Network) -> list[str]:
    """By role that is never pruned: how many parameters, and why; what AWS interpolates."""
    parts = [
        f"{count:,} {role} ({WHY_DENSE[Role(role)]})" for role, count in network.roles.items() if role != Role.PRUNABLE
    ]
    psi = " and ".join(f"{count} {layer}" for layer, count in network.psi_layers.items())
    aws = f"AWS interpolates the psi of {psi}" if psi else "there is no psi, so AWS would be LRR"
    return [*parts, aws]


def print_chains_needed(console: Console, part: str, chains: int, prediction: Forecast) -> None:
    """Print how many chains would show a primary difference that is not shown, and what they cost."""
    hours, cost = prediction.device_hours, prediction.cost_usd
    price = "" if hours is None else f": {hours:,.2f} device-hours more{'' if cost is None else f', {cost:,.2f} USD'}"
    console.print(
        f"{part}: a primary difference is not shown yet; about {chains} chains would show one of the size seen{price}.",
        soft_wrap=True,
    )


def print_forecast(console: Console, prediction: Forecast) -> None:
    """Print device-hours, makespan and cost of the remaining stages, as far as durations were measured."""
    if not prediction.estimated_stages and not prediction.unmeasured:
        return
    lines = []
    stated = f"stated for {', '.join(prediction.stated)}" if prediction.stated else ""
    measured = f"measured on {prediction.measured_on}" if prediction.measured_on else ""
    unit = "device" if stated else "core" if (prediction.measured_on or "cpu").startswith("cpu") else "GPU"
    if prediction.device_hours is not None:
        cost = f", {prediction.cost_usd:,.2f} USD" if prediction.cost_usd is not None else ""
        durations = " and ".join(filter(None, (measured, stated)))
        of = f"{prediction.estimated_stages:,} stages, from durations {durations}"
        lines.append(f"{prediction.device_hours:,.2f} {unit}-hours left{cost}: {of}.")
    for study in prediction.studies if len(prediction.studies) > 1 else ():
        if study.device_hours is not None:
            cost = f", {study.cost_usd:,.2f} USD" if study.cost_usd is not None else ""
            lines.append(
                f"Of these, {study.name}: {study.device_hours:,.2f} {unit}-hours{cost}, {study.stages:,} stages."
            )
    if prediction.makespan_s is not None:
        took = duration(prediction.makespan_s)
        lines.append(f"About {took} on {prediction.devices:,} of these, one stage at a time on each (simulated).")
    if prediction.held_cost_usd is not None:
        held = f"{prediction.held_cost_usd:,.2f} USD"
        lines.append(f"{held} if all {prediction.devices:,} are paid for that long: a sweep keeps them to its end.")
    if prediction.at_least:
        lines.append(f"A lower bound: of {', '.join(prediction.at_least)} only resumed stages were measured.")
    if prediction.unmeasured:
        on = f" on {prediction.measured_on}" if prediction.measured_on else ""
        lines.append(
            f"Not measured yet{on}: {', '.join(prediction.unmeasured)}; a sweep's first stages measure the durations. "
            f"Start the sweep, then ask again for hours, makespan and cost; or state durations with --epoch-seconds."
        )
    for line in lines:
        console.print(line, soft_wrap=True)
