"""Gangs of processes under Ray Train, each of which serves one attempt after another.

A ``fit()`` takes seconds to start, so a gang outlives its stages: its ranks wait at a mailbox for the next one, and
its process group stays up. Nothing goes through ``ray.train.report``: progress and checkpoints are files, results
come back by the mailbox, and retries are the driver's, which sees ``Lost`` when a rank dies.

The one thing that Train does not do is to end a gang of which a rank failed while the others wait for it in an
exchange. The mailbox does, by having every rank leave; Train then cleans up after dead workers as ever.
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

from orchestrator.backends.base import Lost
from orchestrator.backends.gang_outcome import verdict
from workers.attempts.attempt import Attempt, Outcome
from workers.attempts.rank_attempt import run_rank
from workers.training.gang.member import TIMEOUT, RankLostError, joined

GRACE_S = 30.0  # from a rank's failure until the others have failed as well, or are given up
CLOSING_S = 10.0
REASON_CHARACTERS = 400
TRAIN_SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # a dead rank is noticed in this time, and a gang's end
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


class _Mailbox:
    """Where the driver leaves attempts for a gang's ranks, and they their outcomes."""

    def __init__(self, ranks: int) -> None:
        self._ranks = ranks
        self._sent: list[Attempt | None] = []
        self._outcomes: dict[int, dict[int, Outcome]] = {}
        self._crew: dict[int, tuple[str, Any]] = {}
        self._room: Any = None
        self._over, self._broken = "", False
        self._changed = asyncio.Condition()

    async def enter(self, rank: int, node: str, actor: Any, room: Any) -> None:
        """A rank is there: on this machine, as this actor, in this placement group."""
        async with self._changed:
            self._crew[rank], self._room = (node, actor), room
            self._changed.notify_all()

    async def crew(self) -> list[tuple[str, Any]]:
        """Machine and actor by rank, once all are there."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._crew) == self._ranks)
            return [self._crew[rank] for rank in range(self._ranks)]

    async def send(self, attempt: Attempt | None) -> None:
        """The next attempt; None closes the gang."""
        async with self._changed:
            self._sent.append(attempt)
            self._changed.notify_all()

    async def receive(self, index: int) -> Attempt | None:
        """Attempt number ``index``, once it is there."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._sent) > index)
            return self._sent[index]

    async def post(self, index: int, rank: int, outcome: Outcome) -> None:
        """How an attempt ended on a rank."""
        async with self._changed:
            self._outcomes.setdefault(index, {})[rank] = outcome
            self._changed.notify_all()

    async def end(self, reason: str) -> Any:
        """Its processes are gone, or are to go; returns their placement group, None if no rank was ever there."""
        async with self._changed:
            self._over, self._broken = self._over or reason, True
            self._changed.notify_all()
            return self._room

    async def broken(self) -> None:
        """Returns once the gang cannot go on."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._broken)

    async def ended(self, index: int) -> tuple[Outcome | Lost, bool]:
        """How an attempt ended, once it has, and whether the gang can take another."""
        said = self._outcomes.setdefault(index, {})

        def all_known() -> bool:
            return len(said) == self._ranks or bool(self._over)

        async with self._changed:
            await self._changed.wait_for(lambda: all_known() or any(one.status == "failed" for one in said.values()))
            try:
                await asyncio.wait_for(self._changed.wait_for(all_known), GRACE_S)
            except TimeoutError:
                self._broken = True
            useless = (
                RankLostError.__name__,
                "AcceleratorError",
            )  # exchanges, and a GPU, that failed once fail for good
            if any(outcome.error_type in useless for outcome in said.values()):
                self._broken = True
            self._changed.notify_all()
            found = verdict(said, self._ranks)
            if isinstance(found, Lost) and self._over:
                found = Lost(f"{found.message}: {self._over}")
            return found, not self._broken


def _serve(config: dict[str, Any]) -> None:
    """What each rank does: one attempt after another until the gang is closed."""
    from ray.train.torch import get_device

    mailbox, member = config["mailbox"], joined()
    threading.Thread(target=_leave_when_broken, args=(mailbox,), daemon=True).start()
    here = ray.get_runtime_context()
    ray.get(mailbox.enter.remote(member.rank, here.get_node_id(), here.current_actor, get_current_placement_group()))
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
    os._exit(1)  # a thread that waits in an exchange cannot be interrupted


class RayGang:
    """Some processes with a device each that train one network together.

    Args:
        on_gpus: a GPU and a CPU core for every rank, or a core alone.

    Attributes:
        name: of its machines together; its attempts' ``progress.json`` has it as ``node``.
        idle_since_s: when its last attempt ended.
    """

    def __init__(self, ranks: int, *, on_gpus: bool) -> None:
        self.ranks, self._on_gpus = ranks, on_gpus
        self.name, self.idle_since_s = f"gang-{secrets.token_hex(8)}", time.monotonic()
        mailbox: Any = ray.remote(_Mailbox)
        # beside the driver, whose end is its own; it waits for every rank twice and for the driver at the same time
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._mailbox = mailbox.options(num_cpus=0, max_concurrency=4 * ranks + 8, scheduling_strategy=here).remote(
            ranks
        )
        self._crew: list[tuple[str, Any]] = []
        self._asked = self._mailbox.crew.remote()
        self._sent = 0
        self._fit = threading.Thread(target=self._run, name="gang", daemon=True)
        self._fit.start()

    @property
    def nodes(self) -> set[str]:
        """The machines of its ranks; none until all are there."""
        if not self._crew and ray.wait([self._asked], timeout=0)[0]:
            try:
                self._crew = ray.get(self._asked)
            except RayError:
                return set()
        return {node for node, _ in self._crew}

    @property
    def over(self) -> bool:
        """Whether its processes have ended."""
        return not self._fit.is_alive()

    def submit(self, attempt: Attempt) -> ray.ObjectRef:
        """Have the gang work on an attempt; what is returned becomes (outcome, whether the gang can go on)."""
        self._mailbox.send.remote(attempt)
        self._sent += 1
        return self._mailbox.ended.remote(self._sent - 1)

    def close(self) -> None:
        """Let the ranks go once they are done; their devices are free a little later."""
        self._mailbox.send.remote(None)

    def end(self) -> None:
        """End its processes, whatever they do; what they work on is lost."""
        self._mailbox.end.remote("it was ended")
        if self.nodes:
            for _, actor in self._crew:
                ray.kill(actor)

    def join(self) -> None:
        """Wait for a closed gang's end, though not for ever."""
        self._fit.join(CLOSING_S)

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
                # a name that was used before would resume from there
                run_config=RunConfig(
                    name=self.name,
                    storage_path=storage,
                    failure_config=FailureConfig(max_failures=0),
                ),
            ).fit()
        except Exception as error:  # of whatever kind: whoever waits for the gang has to be told
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:REASON_CHARACTERS]}"
        finally:
            shutil.rmtree(storage, ignore_errors=True)
        try:
            room = ray.get(self._mailbox.end.remote(reason))
            if room is not None:  # Train gives it back, unless its controller was killed
                remove_placement_group(room)
        except RayError:
            return  # Ray was shut down, and nobody waits any more
