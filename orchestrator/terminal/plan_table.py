"""What a sweep prints before it starts and after it ends."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import asdict

from rich.table import Table

from orchestrator.planning.plan import Plan, describe
from orchestrator.recipes.experiments import Experiment
from orchestrator.scheduling.forecast import Forecast
from orchestrator.scheduling.rank import cost_epochs
from orchestrator.terminal.units import duration
from workers.terminal.console import Console


def plan_as_json(plan: Plan, experiments: Sequence[Experiment], cached: Container[str], foreseen: Forecast) -> str:
    """The whole plan for machines: networks, counts by kind, the forecast, every stage with its inputs."""
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
        {"dataset": e.recipe.dataset, "architecture": e.recipe.arch, **(asdict(e.network) if e.network else {})}
        for e in experiments
    ]
    content = {"networks": networks, "kinds": kinds, "forecast": asdict(foreseen), "stages": stages}
    return json.dumps(content, indent=1)


def print_plan(console: Console, plan: Plan, experiments: Sequence[Experiment], cached: Container[str]) -> None:
    """The networks, and the plan by kind of stage, with what is cached and the epochs that are left to train."""
    for experiment in experiments:
        recipe, network = experiment.recipe, experiment.network
        if network is not None:
            console.print(
                f"{recipe.dataset}/{recipe.arch}: {network.parameters:,} parameters, of which "
                f"{network.prunable_weights:,} in {network.prunable_layers} layers are prunable; "
                f"classifier {network.classifier}",
                highlight=False,
                soft_wrap=True,
            )
    counts, done = plan.counts(), Counter(describe(node) for node in plan if node.key in cached)
    table = Table("stage", box=None, pad_edge=False)
    for column in ("stages", "cached", "to run", "epochs to run"):
        table.add_column(column, justify="right")
    left = [node for node in plan if node.key not in cached]
    epochs = {kind: sum(cost_epochs(node.stage) for node in left if describe(node) == kind) for kind in counts}
    for kind, count in counts.items():
        table.add_row(kind, str(count), str(done[kind]), str(count - done[kind]), f"{epochs[kind]:,.0f}")
    total = f"{sum(epochs.values()):,.0f}"
    table.add_row("all", str(len(plan)), str(done.total()), str(len(left)), total, style="bold")
    console.print(table)


def print_forecast(console: Console, foreseen: Forecast) -> None:
    """Device-hours, makespan and cost of what is left, as far as durations were measured."""
    if not foreseen.estimated_stages and not foreseen.unmeasured:
        return
    lines = []
    unit = "core" if (foreseen.measured_on or "cpu").startswith("cpu") else "GPU"
    if foreseen.device_hours is not None:
        cost = f", {foreseen.cost_usd:,.2f} USD" if foreseen.cost_usd is not None else ""
        of = f"{foreseen.estimated_stages:,} stages, from durations measured on {foreseen.measured_on}"
        lines.append(f"{foreseen.device_hours:,.2f} {unit}-hours left{cost}: {of}.")
    if foreseen.makespan_s is not None:
        took = duration(foreseen.makespan_s)
        lines.append(f"About {took} on {foreseen.devices:,} of these, one stage at a time on each (simulated).")
    if foreseen.held_cost_usd is not None:
        held = f"{foreseen.held_cost_usd:,.2f} USD"
        lines.append(f"{held} if all {foreseen.devices:,} are held for that long, as a sweep holds a cluster's.")
    if foreseen.at_least:
        lines.append(f"It may be more: of {', '.join(foreseen.at_least)} only stages that were resumed are measured.")
    if foreseen.unmeasured:
        on = f" on {foreseen.measured_on}" if foreseen.measured_on else ""
        lines.append(
            f"Not measured yet{on}: {', '.join(foreseen.unmeasured)}; a sweep's first stages measure the durations: "
            f"begin it in this store, and ask again for hours, makespan and cost."
        )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
