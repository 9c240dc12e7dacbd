"""Run one trial: a sweep in its own folder, its faults and their cost."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from benchmarks.faults.bucket import SETTINGS, s3_server
from benchmarks.faults.cluster import Cluster, ClusterStartError
from benchmarks.faults.judge import Reference, Verdict, judge
from benchmarks.faults.processes import HERE, Surroundings, Sweep, TrialError
from benchmarks.faults.small_sweep import Place
from orchestrator.store import StoreError

MOST_STARTS = 3
"""Of a trial whose cluster does not start."""
Needs = Literal["nothing", "ray", "bucket", "disk", "network", "host name"]


@dataclass
class Bench:
    """Shared by the trials of a session: folders, undisturbed sweeps, a Ray cluster, an S3 server."""

    folder: Path
    reference: Reference
    cluster: Cluster
    stack: ExitStack
    _of_gangs: Reference | None = None
    _s3: str | None = None
    _starting: threading.Lock = field(default_factory=threading.Lock)

    @property
    def cache(self) -> Path:
        """Folder of decoded data sets."""
        return self.folder / "cache"

    def reference_for(self, ranks: int) -> Reference:
        """Return the undisturbed sweep whose stages ``ranks`` processes train; a gang's runs when first needed."""
        if ranks == 1:
            return self.reference
        if self._of_gangs is None:
            self.cluster.have_node()
            self._of_gangs = undisturbed(self.folder, ranks, "--address", self.cluster.address)
        return self._of_gangs

    @property
    def s3(self) -> str:
        """Address of the S3 server, which starts when first needed."""
        with self._starting:
            if self._s3 is None:
                self._s3 = self.stack.enter_context(s3_server())
                os.environ |= {
                    **SETTINGS,
                    "AWS_ENDPOINT_URL": self._s3,
                }  # for the judge, whose requests bypass the proxy
            return self._s3


@contextmanager
def open_bench(folder: Path | None = None) -> Iterator[Bench]:
    """Run the undisturbed sweep; end all started servers at the end. The environment must be set."""
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        reference = undisturbed(folder, 1, "--backend", "inline")
        cluster = Cluster()
        stack.callback(cluster.close)
        yield Bench(folder, reference, cluster, stack)


def undisturbed(folder: Path, ranks: int, *options: str) -> Reference:
    """Run a sweep without a fault.

    Raises:
        TrialError: the sweep failed.
    """
    place = Place.make(folder / ("reference" if ranks == 1 else "reference-of-gangs"), ranks=ranks)
    sweep = Sweep.start(place.arguments(folder / "cache", *options), place.folder / "output-0.txt")
    if sweep.wait() != 0:
        raise TrialError(f"the undisturbed sweep failed:\n{sweep.text()}")
    return Reference.of(place, ranks)


@dataclass
class Trial:
    """A running trial, as its fault sees it.

    Attributes:
        reference: the expected results.
        kills: number of running stages killed so far.
        unaware: number of these that did not notice and may run to their end.
        injected: number of faults so far.
    """

    bench: Bench
    reference: Reference
    place: Place
    draw: random.Random
    kills: int = 0
    unaware: int = 0
    injected: int = 0
    sweeps: list[Sweep] = field(default_factory=list)

    def start(self, *more: object, within: Surroundings = HERE) -> Sweep:
        """Start the sweep, by default without Ray."""
        options = more if "--address" in more else ("--backend", "inline", *more)
        arguments = self.place.arguments(self.bench.cache, *options)
        if within.small_disk is not None:
            arguments[arguments.index("--store") + 1] = str(within.small_disk)
        output = self.place.folder / f"output-{len(self.sweeps)}.txt"
        self.sweeps.append(Sweep.start(arguments, output, within))
        return self.sweeps[-1]

    def start_on_ray(self, *more: object) -> Sweep:
        """Start the sweep on the cluster."""
        return self.start("--address", self.bench.cluster.address, *more)

    def moment(self, low: float = 0.05, high: float = 0.95) -> int:
        """Draw a number of batches between two shares of the total."""
        return int(self.draw.uniform(low, high) * self.reference.batches)

    def moments(self, most: int = 3) -> list[int]:
        """Draw several moments in rising order."""
        return sorted(self.moment() for _ in range(self.draw.randint(1, most)))

    def finish(self, sweep: Sweep, code: int = 0) -> str:
        """Wait until the sweep ends as expected; return its output.

        Raises:
            TrialError: the sweep did not end, or with another exit code.
        """
        found = sweep.wait()
        if found != code:
            raise TrialError(f"exit code {found}, expected {code}:\n{sweep.text()[-3000:]}")
        return sweep.text()

    def fired(self, least: int = 1) -> None:
        """Count the faults that happened in stages.

        Raises:
            TrialError: fewer than the required number happened.
        """
        count = self.place.fired()
        if count < least:
            raise TrialError(f"{count} faults happened, not {least}")
        self.injected += count


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        about: the fault in a few words.
        run: runs a sweep with the fault to its end; raises TrialError if the sweep does not survive.
        ranks: processes that train each stage together.
    """

    name: str
    about: str
    run: Callable[[Trial], None]
    needs: Needs = "nothing"
    ranks: int = 1


@dataclass(frozen=True)
class Result:
    """Result of a trial.

    Attributes:
        problem: why the trial failed; empty if it passed.
        verdict: None if the trial failed.
        restarts: times that the trial was repeated because its cluster did not start.
    """

    fault: str
    seed: int
    injected: int
    kills: int
    seconds: float
    problem: str
    verdict: Verdict | None
    restarts: int = 0


def run_trial(bench: Bench, fault: Fault, seed: int) -> Result:
    """Run and judge a trial; again if its cluster did not start. Whatever a trial raises is its problem."""
    began = time.monotonic()
    problem = ""
    for restarts in range(MOST_STARTS):
        try:
            return replace(_run_once(bench, fault, seed), restarts=restarts)
        except ClusterStartError as error:
            problem = f"its cluster did not start: {error}"
        except Exception as error:  # an unforeseen error ends one trial, not the verdict of all
            problem = repr(error)
            break
    return Result(fault.name, seed, 0, 0, time.monotonic() - began, problem, None, restarts)


def _run_once(bench: Bench, fault: Fault, seed: int) -> Result:
    """Run and judge a trial once; a passed trial leaves no files."""
    began = time.monotonic()
    name = f"{fault.name.replace(' ', '-')}-{seed}"
    shutil.rmtree(bench.folder / name, ignore_errors=True)  # of a start that failed
    store = f"s3://bucket/{name}" if fault.needs == "bucket" and bench.s3 else None
    reference, place = bench.reference_for(fault.ranks), Place.make(bench.folder / name, store, fault.ranks)
    trial = Trial(bench, reference, place, random.Random(f"{fault.name} {seed}"))
    verdict, problem = None, ""
    try:
        fault.run(trial)
        verdict = judge(place, reference, trial.kills, trial.unaware)
    except (TrialError, StoreError, OSError) as error:  # an unreadable store fails the trial too
        problem = str(error)
    finally:
        for sweep in trial.sweeps:
            sweep.kill()
    if verdict is not None and not verdict.changed:
        shutil.rmtree(trial.place.folder)
    seconds = time.monotonic() - began
    return Result(fault.name, seed, trial.injected, trial.kills, seconds, problem, verdict)


def run_trials(
    bench: Bench, trials: Sequence[tuple[Fault, int]], jobs: int, tell: Callable[[int, Result], None]
) -> list[Result]:
    """Run trials concurrently; those on Ray one by one in this thread, the only one in which Ray starts nodes.

    Args:
        tell: called with each result and the number of results so far.

    Returns:
        The results; after an interrupt, those so far.
    """
    results: list[Result] = []
    lock = threading.Lock()

    def one(fault: Fault, seed: int) -> None:
        result = run_trial(bench, fault, seed)
        with lock:
            results.append(result)
            tell(len(results), result)

    with ThreadPoolExecutor(jobs) as threads:
        beside = [threads.submit(one, fault, seed) for fault, seed in trials if fault.needs != "ray"]
        try:
            for fault, seed in trials:
                if fault.needs == "ray":
                    one(fault, seed)
            for future in beside:
                future.result()
        except KeyboardInterrupt:
            threads.shutdown(cancel_futures=True)
    return results
