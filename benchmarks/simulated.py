"""Simulated sweeps: plans of built-in recipes, invented or recorded durations, and the driver's scheduler."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from math import ceil
from random import Random
from statistics import mean, median
from typing import Any
from unittest.mock import patch

from benchmarks.preemptions import PreemptedCluster, Preemptions
from benchmarks.recorded import RecordedSweep
from benchmarks.table import print_table
from orchestrator.planning.algorithm import expand
from orchestrator.planning.plan import Plan
from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.resolution import resolve
from orchestrator.scheduling.queue import ReadyQueue
from orchestrator.scheduling.rank import cost_epochs
from orchestrator.scheduling.simulation import SimulatedCluster, Simulation

SEEDS = 3
MOST_ROUNDS = 15
# seconds of an epoch: made up, as only their ratios matter here
EPOCH_S = {
    "resnet1d": 1.0,
    "resnet20": 3.0,
    "resnet32": 5.0,
    "shufflenet_g3": 10.0,
    "mobilenetv2": 12.0,
    "efficientnet_b0": 15.0,
    "resnet50": 30.0,
}
DEMO = "resnet1d"
SPREAD = 0.05  # of the durations of equal stages
PREEMPTIONS = Preemptions(every_s=6 * 3600, away_s=600, checkpoint_interval_s=60)
OFTEN = Preemptions(every_s=40, away_s=1, checkpoint_interval_s=0.1)  # in units of a stage's mean duration


def changes_for(stages: int, experiments: int = 1) -> dict[str, Any]:
    """Recipe fields that give ``experiments`` at least ``stages`` stages; every round is transferred and probed."""
    rounds = MOST_ROUNDS if stages > 1000 else 1
    fields = {"rounds": rounds, "seeds": SEEDS, "transfer_rounds": "all", "probe_rounds": "all"}
    one, two = (len(cifar([("cifar100", "resnet20")], {**fields, "chains": chains})) for chains in (1, 2))
    return {**fields, "chains": 1 + max(0, ceil((stages / experiments - one) / (two - one)))}


def cifar(pairs: Iterable[tuple[str, str]], changes: dict[str, Any]) -> Plan:
    return expand(Experiment(resolve(data, arch, "sound", [changes]), "benchmark") for data, arch in pairs)


def _invented_seconds(plan: Plan, random: Random) -> dict[str, float]:
    return {
        node.key: EPOCH_S[node.labels.architecture] * cost_epochs(node.stage) * random.uniform(1 - SPREAD, 1 + SPREAD)
        for node in plan
    }


def made_up_sweeps(stages: int) -> Iterator[tuple[str, Plan, dict[str, float]]]:
    """Yield each sweep's name, its plan, and the seconds of its stages by key."""
    table = [(data, arch) for data in ("cifar10", "cifar100") for arch in EPOCH_S if arch != DEMO]
    random = Random(0)
    for name, pairs in (("6 architectures, 2 data sets", table), ("1 architecture", [("cifar100", "resnet20")])):
        plan = cifar(pairs, changes_for(stages, len(pairs)))
        yield name, plan, _invented_seconds(plan, random)


def recorded_sweep(store: str, stages: int) -> tuple[str, Plan, dict[str, float]]:
    """A sweep like a store's, with durations from its records: name, plan, and seconds by key."""
    recorded = RecordedSweep(store)
    plan = recorded.plan(changes_for(stages, len(recorded.workloads)))
    what = ", ".join(f"{data} {arch}" for data, arch, _ in recorded.workloads)
    name = f"{what}, as {len(recorded)} records on {recorded.device}"
    return name, plan, recorded.seconds(plan, Random(0))


def _in_stages(preemptions: Preemptions, seconds: Mapping[str, float]) -> Preemptions:
    unit_s = mean(seconds.values())
    return Preemptions(
        preemptions.every_s * unit_s, preemptions.away_s * unit_s, preemptions.checkpoint_interval_s * unit_s
    )


def _simulate(
    plan: Plan, seconds: Mapping[str, float], devices: int, preemptions: Preemptions | None
) -> tuple[Simulation, int]:
    """The simulation, and the number of preempted stages."""
    if preemptions is None:
        return SimulatedCluster(plan, (), seconds, devices).run(), 0
    cluster = PreemptedCluster(plan, seconds, devices, preemptions)
    return cluster.run(), cluster.preempted


def measure_simulation(sweeps: Iterable[tuple[str, Plan, dict[str, float]]]) -> None:
    """Print the table."""
    rows = []
    for name, plan, seconds in sweeps:
        for devices in (64, 1024):
            for preemptions in (None, PREEMPTIONS, _in_stages(OFTEN, seconds)):
                began = time.perf_counter()
                simulation, preempted = _simulate(plan, seconds, devices, preemptions)
                took = time.perf_counter() - began
                times = (simulation.critical_path_s, simulation.work_s / devices, simulation.makespan_s)
                rows.append(
                    [
                        f"{name}, {len(plan):,} stages",
                        f"{devices:,}",
                        f"{preempted:,}",
                        *(f"{each / 60:,.2f}" for each in times),
                        f"{simulation.makespan_s / simulation.lower_bound_s:.3f}",
                        f"{100 * simulation.busy_fraction:.0f} %",
                        f"{took:.2f} s",
                    ]
                )
    print(
        f"Second rows: each device is preempted every {PREEMPTIONS.every_s / 3600:g} h on average, for "
        f"{PREEMPTIONS.away_s / 60:g} min; checkpoints every {PREEMPTIONS.checkpoint_interval_s:g} s. Third rows, in "
        f"mean durations of a stage: preempted every {OFTEN.every_s:g}, for {OFTEN.away_s:g}; "
        f"checkpoints every {OFTEN.checkpoint_interval_s:g}. Goal: 1.10.\n"
    )
    header = ["simulated sweep", "devices", "preempted", "critical path min", "work / devices min", "makespan min"]
    print_table([*header, "to the bound", "busy", "simulated in"], rows)


def measure_barriers() -> None:
    """Print the table: sweeps with built-in recipes, whose epochs are invented, each equal stage within 5 %."""
    demo = expand([Experiment(resolve("mnist1d", DEMO, "sound", [{"seeds": 3}]), "benchmark")])
    pairs = [(data, arch) for data in ("cifar10", "cifar100") for arch in EPOCH_S if arch != DEMO]
    every_round = {"seeds": 3, "transfer_rounds": "all", "probe_rounds": "all"}
    rows = []
    for name, plan, devices in (
        ("the demo", demo, 2),
        ("cifar100 resnet20", cifar([("cifar100", "resnet20")], {}), 8),
        ("cifar100 resnet20, every round probed", cifar([("cifar100", "resnet20")], every_round), 8),
        ("6 architectures, 2 data sets", cifar(pairs, {}), 8),
        ("6 architectures, 2 data sets", cifar(pairs, {}), 64),
    ):
        seconds = _invented_seconds(plan, Random(0))
        early = SimulatedCluster(plan, (), seconds, devices).run()
        with patch.object(ReadyQueue, "towards_a_probe", return_value=None):
            urgent = SimulatedCluster(plan, (), seconds, devices).run()
        probes = [node.key for node in plan if node.stage.kind == "probe"]
        row = [f"{name}, {len(plan):,} stages", f"{devices}", f"{early.makespan_s / urgent.makespan_s:.4f}"]
        for simulation in (urgent, early):
            ends_s = [simulation.ended_s[key] / simulation.makespan_s for key in probes]
            row += [f"{100 * value:.1f} %" for value in (min(ends_s), median(ends_s))]
        rows.append(row)
    print("Ends of probes, in percent of the makespan.\n")
    columns = ["makespan, to urgency alone", "urgency alone: first", "half", "early probes: first", "half"]
    print_table(["simulated sweep", "devices", *columns], rows)
