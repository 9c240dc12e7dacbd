"""Gangs: processes under Ray Train that train one network together, one attempt after another.

``fit()`` takes seconds to start, so a gang outlives its stages: its ranks wait at a mailbox for the next attempt, and
its process group stays up. Nothing goes through ``ray.train.report``: progress and checkpoints are files, outcomes
return through the mailbox, and retries are the driver's, which sees ``Lost`` when a rank dies.

Train does not end a gang when one rank failed and the others wait for it in an all-reduce. The mailbox makes every rank
exit; Train then cleans up as after any dead worker.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import shutil
import tempfile
import threading
import time
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.placement_group import get_current_placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.backends.base import Lost, gang_outcome
from workers.attempts.attempt import Attempt, Outcome, run_rank
from workers.training.gang.member import TIMEOUT, RankLostError, current_member

GRACE_S = 30.0  # from a rank's failure until the other ranks have failed as well, or are given up
REASON_CHARACTERS = 400
BREAKS_THE_GANG = (RankLostError.__name__, "AcceleratorError")  # what failed once fails for good
TRAIN_SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # until a dead rank, or a gang's end, is noticed
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


class _Mailbox:
    """An actor through which a gang's ranks receive attempts and return outcomes."""

    def __init__(self, ranks: int) -> None:
        self._ranks = ranks
        self._sent: list[Attempt | None] = []
        self._outcomes: dict[int, dict[int, Outcome]] = {}
        self._crew: dict[int, tuple[str, Any]] = {}
        self._placement_group: Any = None
        self._over, self._broken = "", False
        self._changed = asyncio.Condition()

    async def enter(self, rank: int, node: str, actor: Any, placement_group: Any) -> None:
        async with self._changed:
            self._crew[rank], self._placement_group = (node, actor), placement_group
            self._changed.notify_all()

    async def crew(self) -> list[tuple[str, Any]]:
        """Wait for all ranks; return their machines and actors."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._crew) == self._ranks)
            return [self._crew[rank] for rank in range(self._ranks)]

    async def send(self, attempt: Attempt | None) -> None:
        """Leave the next attempt; None closes the gang."""
        async with self._changed:
            self._sent.append(attempt)
            self._changed.notify_all()

    async def receive(self, index: int) -> Attempt | None:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._sent) > index)
            return self._sent[index]

    async def post(self, index: int, rank: int, outcome: Outcome) -> None:
        async with self._changed:
            self._outcomes.setdefault(index, {})[rank] = outcome
            self._changed.notify_all()

    async def end(self, reason: str) -> Any:
        """Declare the gang over; return its placement group, or None if no rank ever entered."""
        async with self._changed:
            self._over, self._broken = self._over or reason, True
            self._changed.notify_all()
            return self._placement_group

    async def broken(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._broken)

    async def ended(self, index: int) -> tuple[Outcome | Lost, bool]:
        """Wait for an attempt's end; return how it ended, and whether the gang can take another."""
        outcomes = self._outcomes.setdefault(index, {})

        def complete() -> bool:
            return len(outcomes) == self._ranks or bool(self._over)

        def any_failed() -> bool:
            return any(outcome.status == "failed" for outcome in outcomes.values())

        async with self._changed:
            await self._changed.wait_for(lambda: complete() or any_failed())
            try:
                await asyncio.wait_for(self._changed.wait_for(complete), GRACE_S)
            except TimeoutError:
                self._broken = True
            if any(outcome.error_type in BREAKS_THE_GANG for outcome in outcomes.values()):
                self._broken = True
            self._changed.notify_all()
            outcome = gang_outcome(outcomes, self._ranks)
            if isinstance(outcome, Lost) and self._over:
                outcome = Lost(f"{outcome.message}: {self._over}")
            return outcome, not self._broken


def _serve(config: dict[str, Any]) -> None:
    """Serve as one rank: run one attempt after another until the gang is closed."""
    from ray.train.torch import get_device

    mailbox, member = config["mailbox"], current_member()
    threading.Thread(target=_leave_when_broken, args=(mailbox,), daemon=True).start()
    context = ray.get_runtime_context()
    group = get_current_placement_group()
    ray.get(mailbox.enter.remote(member.rank, context.get_node_id(), context.current_actor, group))
    for index in itertools.count():
        attempt = ray.get(mailbox.receive.remote(index))
        if attempt is None:
            return
        execution = attempt.execution
        on_gpu = config["on_gpus"] and execution.device != "cpu"
        attempt = replace(attempt, execution=replace(execution, device=str(get_device()) if on_gpu else "cpu"))
        ray.get(mailbox.post.remote(index, member.rank, run_rank(attempt, member, config["name"])))


def _leave_when_broken(mailbox: Any) -> None:
    ray.get(mailbox.broken.remote())
    os._exit(1)  # a thread that waits in an all-reduce cannot be interrupted


class RayGang:
    """Processes with a device each, a GPU and a CPU core or a core alone, that train one network together.

    Attributes:
        name: stands for its machines, as ``node`` in its attempts' ``progress.json``.
        thread: runs until its processes have ended.
        idle_since_s: when its last attempt ended.
    """

    def __init__(self, ranks: int, *, on_gpus: bool) -> None:
        self.ranks, self._on_gpus = ranks, on_gpus
        self.name, self.idle_since_s = f"gang-{secrets.token_hex(8)}", time.monotonic()
        beside_driver = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        concurrency = 4 * ranks + 8  # two waiting calls of every rank at a time, and the driver's
        options = {"num_cpus": 0, "max_concurrency": concurrency, "scheduling_strategy": beside_driver}
        mailbox: Any = ray.remote(_Mailbox)
        self._mailbox = mailbox.options(**options).remote(ranks)
        self._crew: list[tuple[str, Any]] = []
        self._crew_ref = self._mailbox.crew.remote()
        self._sent = 0
        self.thread = threading.Thread(target=self._run, name="gang", daemon=True)
        self.thread.start()

    @property
    def nodes(self) -> set[str]:
        """Its ranks' machines; empty until all ranks have started."""
        if not self._crew and ray.wait([self._crew_ref], timeout=0)[0]:
            try:
                self._crew = ray.get(self._crew_ref)
            except RayError:
                return set()
        return {node for node, _ in self._crew}

    def submit(self, attempt: Attempt) -> ray.ObjectRef:
        """Give the gang an attempt; the reference resolves to (outcome, whether the gang can go on)."""
        self._mailbox.send.remote(attempt)
        self._sent += 1
        return self._mailbox.ended.remote(self._sent - 1)

    def close(self) -> None:
        """Let the ranks exit after their attempts; their devices are free a little later."""
        self._mailbox.send.remote(None)

    def end(self) -> None:
        """End its processes; their attempt is lost."""
        self._mailbox.end.remote("it was ended")
        if self.nodes:
            for _, actor in self._crew:
                ray.kill(actor)

    def _run(self) -> None:
        for name, value in TRAIN_SETTINGS.items():
            os.environ.setdefault(name, value)
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        storage, reason = tempfile.mkdtemp(prefix="winning-sign-gang-"), "the gang was closed"
        try:
            TorchTrainer(
                _serve,
                train_loop_config={"mailbox": self._mailbox, "on_gpus": self._on_gpus, "name": self.name},
                torch_config=TorchConfig(
                    backend="nccl" if self._on_gpus else "gloo", timeout_s=int(TIMEOUT.total_seconds())
                ),
                scaling_config=ScalingConfig(
                    num_workers=self.ranks,
                    use_gpu=self._on_gpus,
                    resources_per_worker={"CPU": 1, **({"GPU": 1} if self._on_gpus else {})},
                ),
                # a name that was used before would resume that run
                run_config=RunConfig(
                    name=self.name, storage_path=storage, failure_config=FailureConfig(max_failures=0)
                ),
            ).fit()
        except Exception as error:  # any: callers that wait for the gang must learn of it
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:REASON_CHARACTERS]}"
        finally:
            shutil.rmtree(storage, ignore_errors=True)
        try:
            placement_group = ray.get(self._mailbox.end.remote(reason))
            if placement_group is not None:  # Train gives it back, unless its controller was killed
                remove_placement_group(placement_group)
        except RayError:
            return  # Ray was shut down, and no caller waits any more
