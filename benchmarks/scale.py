"""How far one driver goes: planning, overhead of a stage, repeating a finished sweep, and the order of stages.

    python -m benchmarks.scale [--stages 10000] [--no-op-stages 2000] [--only planning,no_op,finished,simulation]
    python -m benchmarks.scale --write-finished DIR    # to copy to an object store, and then
    python -m benchmarks.scale --only finished --s3 s3://BUCKET/PREFIX
    python -m benchmarks.scale --only simulation --recorded STORE    # durations from a real sweep's records as well

- planning: the plan, its ranks and the ready queue, in a fresh process, and its peak memory. Goals: 5 s, 1 GB.
- no_op: empty stages through the real driver, store and Ray (whose start is not counted), and the driver's peak memory.
  Goals: 10 ms a stage, 1 GB.
- finished: the whole command on a finished store, with the report. Goals: 10 s; 60 s on S3.
- simulation: the driver's scheduler on 64 and 1,024 devices that are preempted at random. Goal: within 10 % of the
  lower bound, which is the larger of the critical path and the work divided by the devices.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any, TypeVar

from benchmarks.finished_store import write_finished
from benchmarks.machine import describe_machine
from benchmarks.preemptions import PreemptedCluster, Preemptions
from benchmarks.recorded import RecordedSweep
from benchmarks.table import print_table
from orchestrator.planning.algorithm import expand
from orchestrator.planning.plan import Plan
from orchestrator.recipes.experiment_file import ExperimentRequest
from orchestrator.recipes.experiments import Experiment, find_experiments
from orchestrator.recipes.resolution import resolve
from orchestrator.scheduling.queue import ReadyQueue
from orchestrator.scheduling.rank import cost_epochs, upward_rank
from orchestrator.scheduling.simulation import SimulatedCluster, Simulation
from workers.stages.execution import Execution

Measured = TypeVar("Measured")
PARTS = ("planning", "no_op", "finished", "simulation")
SEEDS = 3
MOST_ROUNDS = 15
WARM_UP_STAGES = 12
# seconds of an epoch: made up, as only their ratios matter here
EPOCH_S = {
    "resnet20": 3.0,
    "resnet32": 5.0,
    "shufflenet_g3": 10.0,
    "mobilenetv2": 12.0,
    "efficientnet_b0": 15.0,
    "resnet50": 30.0,
}
SPREAD = 0.05  # of the durations of equal stages
PREEMPTIONS = Preemptions(every_s=6 * 3600, away_s=600, checkpoint_interval_s=60)
OFTEN = Preemptions(every_s=40, away_s=1, checkpoint_interval_s=0.1)  # in units of a stage's mean duration


def changes_for(stages: int, experiments: int = 1) -> dict[str, Any]:
    """Recipe fields that give ``experiments`` at least ``stages`` stages; every round is transferred and probed."""
    rounds = MOST_ROUNDS if stages > 1000 else 1
    fields = {"rounds": rounds, "seeds": SEEDS, "transfer_rounds": "all", "probe_rounds": "all"}
    chains = 1
    while experiments * len(_cifar([("cifar100", "resnet20")], {**fields, "chains": chains})) < stages:
        chains += 1
    return {**fields, "chains": chains}


def _cifar(pairs: Iterable[tuple[str, str]], changes: dict[str, Any]) -> Plan:
    return expand(Experiment(resolve(data, arch, "sound", [changes]), "benchmark") for data, arch in pairs)


def _plan_once(changes: dict[str, Any]) -> tuple[int, float, int]:
    """Plan once; stages, seconds, and the process's peak memory in bytes."""
    began = time.perf_counter()
    plan = _cifar([("cifar100", "resnet20")], changes)
    ReadyQueue(plan, upward_rank(plan), [])
    return len(plan), time.perf_counter() - began, _peak_bytes()


def _peak_bytes() -> int:
    """Peak memory of this process."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _in_a_fresh_process(function: Callable[..., Measured], *arguments: object) -> Measured:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def measure_planning(stages: int) -> list[list[str]]:
    """Rows of the table."""
    planned, took, peak_bytes = _in_a_fresh_process(_plan_once, changes_for(stages))
    what = f"planning {planned:,} stages"
    return [[what, f"{took:.2f} s", "5 s"], [f"{what}, peak memory", f"{peak_bytes / 1e6:,.0f} MB", "1,000 MB"]]


def _no_op_once(stages: int) -> tuple[float, int]:
    """Run empty stages; seconds, and the driver's peak memory in bytes."""
    from benchmarks.no_op import NoOpBackend, run_no_op  # imported here, since the other parts need no Ray

    whole = _cifar([("cifar100", "resnet20")], changes_for(stages))
    plan, warm_up = (Plan(dict(list(whole.nodes.items())[:count])) for count in (stages, WARM_UP_STAGES))
    backend = NoOpBackend(None, None, "cpu")
    try:
        with tempfile.TemporaryDirectory() as folder:
            run_no_op(warm_up, Path(folder) / "warm-up", backend)
            return run_no_op(plan, Path(folder) / "store", backend), _peak_bytes()
    finally:
        backend.close()


def measure_no_op(stages: int) -> list[list[str]]:
    """Rows of the table."""
    took, peak_bytes = _in_a_fresh_process(_no_op_once, stages)
    return [
        [f"one of {stages:,} empty stages, through Ray", f"{1e3 * took / stages:.1f} ms", "10 ms"],
        [f"the driver of {stages:,} stages, peak memory", f"{peak_bytes / 1e6:,.0f} MB", "1,000 MB"],
    ]


def finished_plan(stages: int, cache: Path) -> Plan:
    """The plan of the sweep that ``measure_finished`` repeats."""
    return expand(
        find_experiments(
            ExperimentRequest(("mnist1d",), layers=(changes_for(stages),)), Execution("cpu", None, str(cache))
        )
    )


def measure_finished(stages: int, s3: str | None) -> list[list[str]]:
    """Rows of the table.

    Args:
        s3: URL of a finished store; None writes one to a local folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        store, cache = s3 or str(Path(folder) / "store"), Path(folder) / "cache"
        plan = finished_plan(stages, cache)
        if not s3:
            write_finished(Path(store), plan)
        settings = [part for name, value in changes_for(stages).items() for part in ("--set", f"{name}={value}")]
        command = ["orchestrator.sweep", "--datasets", "mnist1d", *settings, "--store", store]
        command += ["--backend", "inline", "--device", "cpu", "--data-cache", str(cache)]
        _seconds_of(command)  # prepares the data
        whole, report = _seconds_of(command), _seconds_of(["analysis.report", store])
    what = f"a finished sweep of {len(plan):,} stages again"
    return [[what, f"{whole:.1f} s", "60 s" if s3 else "10 s"], ["its report, rendered again", f"{report:.1f} s", ""]]


def _seconds_of(module: Sequence[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", *module], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(module)}: {done.stdout}{done.stderr}")
    return time.perf_counter() - began


def made_up_sweeps(stages: int) -> Iterator[tuple[str, Plan, dict[str, float]]]:
    """Yield each sweep's name, its plan, and the seconds of its stages by key."""
    table = [(data, arch) for data in ("cifar10", "cifar100") for arch in EPOCH_S]
    random = Random(0)
    for name, pairs in (("6 architectures, 2 data sets", table), ("1 architecture", [("cifar100", "resnet20")])):
        plan = _cifar(pairs, changes_for(stages, len(pairs)))
        seconds = {
            node.key: EPOCH_S[node.labels.architecture]
            * cost_epochs(node.stage)
            * random.uniform(1 - SPREAD, 1 + SPREAD)
            for node in plan
        }
        yield name, plan, seconds


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, default=10_000, help="least number of stages")
    parser.add_argument("--no-op-stages", type=int, default=2_000)
    parser.add_argument("--s3", metavar="URL", help="repeat the finished sweep whose store was copied there")
    parser.add_argument("--write-finished", type=Path, metavar="DIR", help="only write a finished sweep's store")
    parser.add_argument(
        "--recorded", metavar="STORE", help="simulate a sweep like this store's too, with its durations"
    )
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    options = parser.parse_args(arguments)
    parts = options.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--only {', '.join(sorted(unknown))}: known: {', '.join(PARTS)}")
    if options.write_finished:
        with tempfile.TemporaryDirectory() as cache:
            write_finished(options.write_finished, finished_plan(options.stages, Path(cache)))
        return
    print(f"{describe_machine()}\n")
    rows = []
    if "planning" in parts:
        rows += measure_planning(options.stages)
    if "no_op" in parts:
        rows += measure_no_op(options.no_op_stages)
    if "finished" in parts:
        rows += measure_finished(options.stages, options.s3)
    if rows:
        print_table(["scale", "measured", "goal"], rows)
    if "simulation" in parts:
        recorded = [recorded_sweep(options.recorded, options.stages)] if options.recorded else []
        measure_simulation([*made_up_sweeps(options.stages), *recorded])


if __name__ == "__main__":
    main()
