"""All faults by name."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.faults import damage
from benchmarks.faults.bucket import SETTINGS, Faults, faulty_proxy
from benchmarks.faults.gang import RANKS, gang
from benchmarks.faults.network import can_pair, network
from benchmarks.faults.processes import Surroundings, TrialError, can_mount, can_take_name
from benchmarks.faults.trial import Fault, Needs, Trial
from orchestrator.store import Store
from orchestrator.store.record import Record

AT_ONCE = 2  # stages on the cluster
HANG_LIMIT_S = 5  # a sixth of the allowed start-up time, which must hold on a busy machine
BUCKET_FAULTS = 0.03  # of each of five kinds, per request


def _driver(trial: Trial) -> None:
    for moment in trial.moments():
        sweep = trial.start()
        if sweep.reaches(moment, trial.place):
            trial.injected += 1
        sweep.kill()
        trial.kills += 1
    trial.finish(trial.start())


def _stopped(trial: Trial) -> None:
    for moment in trial.moments():
        sweep = trial.start()
        if sweep.reaches(moment, trial.place):
            trial.injected += 1
            sweep.send(trial.draw.choice([signal.SIGINT, signal.SIGTERM]))
            code = sweep.wait()
            # before the sweep's first output, a signal ends it as any program
            if code not in (0, 130) and sweep.text():
                raise TrialError(f"exit code {code} after a stop:\n{sweep.text()[-3000:]}")
    trial.finish(trial.start())


def _clock(trial: Trial) -> None:
    trial.place.inject("clock", [trial.moment()])
    trial.finish(trial.start())
    trial.fired()


def _fails(kind: str, error: str) -> Fault:
    """A stage fails for good and blocks its descendants; the rest is done, and the next sweep completes all."""

    def run(trial: Trial) -> None:
        trial.place.inject(kind, [trial.moment()])
        output = trial.finish(trial.start(), code=1)
        trial.fired()
        failures = Store(trial.place.store).failures()
        if [failure.error_type for failure in failures] != [error] or failures[0].cause != "application":
            raise TrialError(f"{failures} is not one {error}:\n{output[-3000:]}")
        done = Store(trial.place.store).records().keys()
        behind = _behind(failures[0].key, trial.reference.records)
        if done != trial.reference.records.keys() - behind:
            raise TrialError(f"a stage that {failures[0].name} does not block was not done:\n{output[-3000:]}")
        trial.finish(trial.start())

    return Fault(kind, f"a stage ends in {error}", run)


def _behind(key: str, records: Mapping[str, Record]) -> set[str]:
    """Return a stage and all its descendants."""
    found, newest = set(), {key}
    while newest:
        found |= newest
        newest = {each for each, record in records.items() if newest & set(record.inputs.values())} - found
    return found


def _out_of_memory(trial: Trial) -> None:
    trial.place.inject("out of memory", trial.moments())
    trial.finish(trial.start())
    trial.fired()


def _two_drivers(trial: Trial) -> None:
    sweeps = [trial.start(), trial.start()]
    disturbed = trial.draw.choice([*sweeps, None])
    if disturbed is not None and disturbed.reaches(trial.moment(), trial.place):
        if trial.draw.random() < 0.5:
            disturbed.kill()
            sweeps.remove(disturbed)
            trial.kills += 1
        else:
            disturbed.send(signal.SIGSTOP)
            time.sleep(trial.draw.uniform(1, 4))
            disturbed.send(signal.SIGCONT)
    trial.injected += 1
    for sweep in sweeps:
        trial.finish(sweep)


def _frozen(trial: Trial) -> None:
    """Freeze the sweep, perhaps beyond its lease: then another driver has taken its work over when it wakes up."""
    sweeps = [trial.start(within=Surroundings(host_name=name)) for name in ("one", "another")]
    frozen = trial.draw.choice(sweeps)
    if frozen.reaches(trial.moment(), trial.place):
        frozen.send(signal.SIGSTOP)
        trial.injected += 1
        trial.kills += 1
        trial.unaware += 1
        time.sleep(trial.draw.uniform(2, 10))
        frozen.send(signal.SIGCONT)
    for sweep in sweeps:
        taken_over = sweep is frozen and sweep.wait() == 130 and "took this one's work over" in sweep.text()
        if not taken_over:
            trial.finish(sweep)


def _checkpoint(trial: Trial) -> None:
    for moment in trial.moments(2):
        sweep = trial.start()
        reached = sweep.reaches(moment, trial.place)
        sweep.kill()
        trial.kills += 1
        found = damage.checkpoints(Path(trial.place.store))
        if reached and found:
            damage.damage(found[-1], trial.draw)
            trial.injected += 1
            trial.kills += 1  # it costs what the one before is older by
    trial.finish(trial.start())


def _artifact(trial: Trial) -> None:
    sweep = trial.start()
    sweep.reaches(trial.moment(), trial.place)
    sweep.kill()
    trial.kills += 1
    for path in damage.needed_artifacts(trial, least=1)[:2]:
        damage.damage(path, trial.draw)
        trial.injected += 1
    trial.finish(trial.start())


def _live_artifact(trial: Trial) -> None:
    sweep = trial.start()
    moment = trial.moment(0.15, 0.5)
    while sweep.reaches(moment, trial.place):
        if needed := damage.needed_artifacts(trial, least=2):  # a running stage may have read the file already
            damage.damage(needed[0], trial.draw)
            trial.injected += 1
            break
        moment += 1
    trial.finish(sweep)


def _record(trial: Trial) -> None:
    sweep = trial.start()
    sweep.reaches(trial.moment(0.2), trial.place)
    sweep.kill()
    trial.kills += 1
    records = sorted(Path(trial.place.store).glob("stages/*/*/record.json"))
    if records:
        damage.damage(trial.draw.choice(records), trial.draw)
        trial.injected += 1
    trial.finish(trial.start())


def _index(trial: Trial) -> None:
    trial.finish(trial.start("--methods", trial.draw.choice(["aws", "lrr"])))
    damage.damage(Path(trial.place.store) / "index.jsonl", trial.draw)
    trial.injected += 1
    trial.finish(trial.start())
    records = Store(trial.place.store).records()  # results according to the index
    for key, record in records.items():
        expected = trial.reference.records[key]
        if (record.results, record.inputs) != (expected.results, expected.inputs):
            raise TrialError(f"the index tells another result of {record.name}")


def _bucket(trial: Trial) -> None:
    faults = Faults(random.Random(trial.draw.random()), BUCKET_FAULTS)
    with faulty_proxy(trial.bench.s3, faults) as address:
        within = Surroundings({**SETTINGS, "AWS_ENDPOINT_URL": address})
        moment = trial.moment()
        sweep = trial.start(within=within)
        if trial.draw.random() < 0.5 and sweep.reaches(moment, trial.place):
            sweep.kill()
            trial.kills += 1
            sweep = trial.start(within=within)
        trial.finish(sweep)
    trial.injected += sum(faults.counts.values())


def _disk(trial: Trial) -> None:
    disk = trial.place.folder / "disk"
    trial.place.inject("fill disk", trial.moments(2), str(disk))
    trial.finish(trial.start(within=Surroundings(small_disk=disk)))
    trial.fired()


def _worker(trial: Trial) -> None:
    trial.bench.cluster.have_node()
    trial.place.inject("kill", trial.moments())
    trial.finish(trial.start_on_ray())
    trial.fired()


def _hang(trial: Trial) -> None:
    trial.bench.cluster.have_node()
    trial.place.inject("hang", [trial.moment(high=0.8)])
    trial.finish(trial.start_on_ray("--hang-limit", HANG_LIMIT_S))
    trial.fired()


def _node(trial: Trial) -> None:
    trial.bench.cluster.have_node()
    sweep = trial.start_on_ray()
    if sweep.reaches(trial.moment(), trial.place):
        trial.bench.cluster.kill_node()
        trial.injected += 1
        if trial.draw.random() < 0.5:
            trial.bench.cluster.have_node()
    trial.finish(sweep)


def _late_node(trial: Trial) -> None:
    trial.bench.cluster.drop_node()
    sweep = trial.start_on_ray()
    if sweep.reaches(trial.moment(), trial.place):
        trial.bench.cluster.have_node()
        trial.injected += 1
    trial.finish(sweep)


def _driver_on_ray(trial: Trial) -> None:
    trial.bench.cluster.have_node()
    sweep = trial.start_on_ray()
    if sweep.reaches(trial.moment(), trial.place):
        sweep.kill()
        trial.injected += 1
        trial.kills += AT_ONCE
        sweep = trial.start_on_ray()
    trial.finish(sweep)


def _gcs(trial: Trial) -> None:
    trial.bench.cluster.have_node()
    sweep = trial.start_on_ray()
    reached = sweep.reaches(trial.moment(), trial.place)
    trial.bench.cluster.kill_gcs()
    try:
        code = sweep.wait(90)
    finally:
        trial.bench.cluster.close()
    if reached:
        trial.injected += 1
        trial.kills += AT_ONCE
        if code == 0 or "Traceback" in sweep.text():
            raise TrialError(f"exit code {code}, and the output does not name the fault:\n{sweep.text()[-3000:]}")
    trial.bench.cluster.have_node()
    trial.finish(trial.start_on_ray())


# the first faults come once more if the trials do not divide evenly
ALL = (
    Fault("gang", "a gang's rank is killed, raises alone, or goes with its node", gang, "ray", RANKS),
    Fault("driver", "SIGKILL of the driver, up to three times", _driver),
    Fault("stop", "SIGINT or SIGTERM, up to three times", _stopped),
    _fails("raise", "ValueError"),
    _fails("nan", "DivergedError"),
    Fault("out of memory", "a stage has no memory, up to three times", _out_of_memory),
    Fault("two drivers", "two at once; one is killed, or frozen, or not", _two_drivers),
    Fault("frozen driver", "one of two, on machines of their own, is frozen for 2 to 10 s", _frozen, "host name"),
    Fault("clock", "the clock goes back by three hours", _clock),
    Fault("checkpoint", "SIGKILL, then the newest checkpoint is cut or has a bit flipped", _checkpoint),
    Fault("artifact", "SIGKILL, then files that are still needed are cut or have a bit flipped", _artifact),
    Fault("live artifact", "the same, beneath a running sweep", _live_artifact),
    Fault("record", "SIGKILL, then a record is cut or has a bit flipped", _record),
    Fault("index", "the index is cut or has a bit flipped", _index),
    Fault(
        "bucket",
        "S3: 503s, torn writes, lost answers, cut bodies, delays; at times a SIGKILL",
        _bucket,
        "bucket",
    ),
    Fault("disk", "the disk is full for a while, up to twice", _disk, "disk"),
    Fault("worker", "SIGKILL of a worker, up to three times", _worker, "ray"),
    Fault("hang", "a stage hangs", _hang, "ray"),
    Fault("node", "SIGKILL of a raylet with everything on it", _node, "ray"),
    Fault("network", "a node is cut off and goes on; at times it comes back", network, "network"),
    Fault("late node", "a node joins in the middle", _late_node, "ray"),
    Fault("driver on ray", "SIGKILL of a driver whose stages run on a cluster", _driver_on_ray, "ray"),
    Fault("gcs", "SIGKILL of the GCS; the cluster is started anew", _gcs, "ray"),
)
FAULTS = {fault.name: fault for fault in ALL}
CHECKS: dict[Needs, tuple[Callable[[], bool], str]] = {
    "disk": (can_mount, "mounts no disk for a user"),
    "network": (can_pair, "gives a user no network of its own"),
    "host name": (can_take_name, "gives a user no host name of its own"),
}
"""Whether this machine can run trials that need something, and what is said if not."""


def schedule(names: list[str], trials: int, seed: int) -> list[tuple[Fault, int]]:
    """Return faults and seeds of a number of trials; the counts of two faults differ by at most one."""
    counts: Counter[str] = Counter()
    pairs = []
    for number in range(trials):
        name = names[number % len(names)]
        pairs.append((FAULTS[name], 1000 * seed + counts[name]))
        counts[name] += 1
    return pairs
