"""How an attempt of several ranks ends, by table; and a driver whose backend runs gangs and single stages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.backends.base import Lost, gang_outcome
from orchestrator.backends.ray import gang as ray_gang
from orchestrator.scheduling.packing import Packing
from orchestrator.scheduling.queue import State
from orchestrator.store import Store
from tests.orchestrator.driver.test_driver import LOST, ScriptedBackend, Sweep
from tests.orchestrator.recipes.small_recipes import plan_of, recipe
from workers.attempts.attempt import Attempt, Outcome
from workers.stages import Gang
from workers.stages.kinds import width

DONE = Outcome("done", 1.0)
RANK_LOST = Outcome("failed", 1.0, error_type="RankLostError", message="closed by peer")
BROKEN_GPU = Outcome("failed", 1.0, error_type="AcceleratorError", message="an illegal address")
DATA_ERROR = Outcome("failed", 1.0, error_type="DataError", message="a picture is damaged")


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ({0: DONE, 1: DONE}, DONE),
        ({1: DONE, 0: DATA_ERROR}, DATA_ERROR),
        ({1: DATA_ERROR, 0: RANK_LOST}, DATA_ERROR),
        ({0: RANK_LOST, 1: DATA_ERROR}, DATA_ERROR),
        ({1: DATA_ERROR}, DATA_ERROR),
        ({0: RANK_LOST}, Lost("of a gang of 2, rank 1 was lost")),
        ({0: DONE}, Lost("of a gang of 2, rank 1 was lost")),
        ({}, Lost("of a gang of 2, rank 0, 1 was lost")),
        ({0: RANK_LOST, 1: BROKEN_GPU}, Lost("AcceleratorError: an illegal address")),
        ({0: RANK_LOST, 1: RANK_LOST}, Lost("of a gang of 2, the connection was lost")),
    ],
)
def test_how_an_attempt_of_two_ranks_ended(outcomes: dict[int, Outcome], expected: Outcome | Lost) -> None:
    assert gang_outcome(outcomes, 2) == expected


def in_mailbox(talk: Callable[[Any], Awaitable[Any]]) -> Any:
    """Run a conversation with the mailbox of a gang of two; return its result."""

    async def session() -> Any:
        return await asyncio.wait_for(talk(ray_gang._Mailbox(2)), 20)

    return asyncio.run(session())


def test_an_attempt_ends_when_all_ranks_have_reported() -> None:
    async def talk(mailbox: Any) -> Any:
        asked = asyncio.create_task(mailbox.ended(0))
        await mailbox.post(0, 1, Outcome("done", 9.0))
        await asyncio.sleep(0.05)
        assert not asked.done()
        await mailbox.post(0, 0, DONE)
        return await asked

    assert in_mailbox(talk) == (DONE, True)


def test_a_rank_that_fails_alone_ends_the_attempt_and_its_gang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_gang, "GRACE_S", 0.05)

    async def talk(mailbox: Any) -> Any:
        await mailbox.post(0, 1, DATA_ERROR)
        ended = await mailbox.ended(0)
        await mailbox.broken()  # what makes every rank leave
        return ended

    assert in_mailbox(talk) == (DATA_ERROR, False)


def test_a_failure_that_all_ranks_share_leaves_the_gang_as_it_is() -> None:
    async def talk(mailbox: Any) -> Any:
        for rank in range(2):
            await mailbox.post(0, rank, DATA_ERROR)
        return await mailbox.ended(0)

    assert in_mailbox(talk) == (DATA_ERROR, True)


def test_the_loss_of_a_dead_gang_names_the_reason() -> None:
    async def talk(mailbox: Any) -> Any:
        await mailbox.post(0, 0, RANK_LOST)
        asked = asyncio.create_task(mailbox.ended(0))
        await asyncio.sleep(0.05)
        await mailbox.end("WorkerGroupError: killed")
        return await asked, await mailbox.ended(1)  # the second was sent before anyone knew

    first, second = in_mailbox(talk)
    assert first == (Lost("of a gang of 2, rank 1 was lost: WorkerGroupError: killed"), False)
    assert second == (Lost("of a gang of 2, rank 0, 1 was lost: WorkerGroupError: killed"), False)


class DevicesBackend(ScriptedBackend):
    """Checks that no more devices are in use than exist: ``level`` stages share one, and a gang shares none."""

    def __init__(self, devices: int, script: dict[str, list[Outcome | Lost]], level: int = 1) -> None:
        super().__init__(script, devices)
        self._level = level

    def submit(self, attempts: Sequence[Attempt]) -> None:
        super().submit(attempts)
        ranks = [width(group[0].job.stage) for group in self._running]
        assert sum(1 if each == 1 else each * self._level for each in ranks) <= self.devices * self._level


@pytest.mark.parametrize("devices", [2, 3, 4, 5])
def test_a_driver_runs_gangs_and_single_stages_and_never_more_than_fit(tmp_path: Path, devices: int) -> None:
    plan = plan_of(recipe(gpus_per_stage=2))
    backend = DevicesBackend(devices, {"round01": [LOST]})
    summary = Sweep(tmp_path / "store", plan).run(backend)
    assert summary.exit_code == 0
    assert len(backend.attempts) == len(plan) + 1  # a lost gang is tried again
    assert backend.most_at_once >= devices // 2


def test_a_damaged_input_that_needs_more_devices_than_exist_fails_its_reader(tmp_path: Path) -> None:
    plan = plan_of(recipe(gpus_per_stage=2))
    assert Sweep(tmp_path / "store", plan).run(DevicesBackend(2, {})).exit_code == 0
    store = Store(tmp_path / "store")
    probes = [node for node in plan if node.stage.kind == "probe"]
    for node in probes:
        store.quarantine(node.key, "the test wants it again")
    slot = next(iter(probes[0].inputs))
    damaged = Outcome("failed", 0.1, error_type="DamagedInputError", message="not what it was", damaged_input=slot)
    summary = Sweep(tmp_path / "store", plan).run(DevicesBackend(1, {probes[0].name: [damaged]}))
    assert summary.finished == len(plan) - 1
    (failure,) = summary.failures
    assert "not what it was; computing it again takes 2 devices at once, and there are 1" in failure.message


def test_a_gang_shares_its_devices_with_no_other_stage(tmp_path: Path) -> None:
    backend = DevicesBackend(4, {}, level=3)
    sweep = Sweep(tmp_path / "store", plan_of(recipe(gpus_per_stage=2)))
    assert sweep.run(backend, packing=Packing(None, fixed=3)).exit_code == 0


def test_a_packing_that_rises_while_a_gang_runs_gives_no_stage_its_devices(tmp_path: Path) -> None:
    class Rising(Packing):
        level = 1

    class Backend(ScriptedBackend):
        def submit(self, attempts: Sequence[Attempt]) -> None:
            super().submit(attempts)
            widths = [width(group[0].job.stage) for group in self._running]
            gangs = sum(each for each in widths if each > 1)
            assert widths.count(1) <= (self.devices - gangs) * packing.level
            if len(self.attempts) >= 3:
                packing.level = 4

    packing = Rising(None)
    plan = plan_of(recipe(gpus_per_stage=2, seeds=3, transfers=("signed", "mask")))
    backend = Backend({}, slots=5)
    assert Sweep(tmp_path / "store", plan).run(backend, packing=packing).exit_code == 0


@pytest.mark.parametrize("known", [True, False])
def test_a_device_beside_a_gang_takes_what_is_known_to_end_before_the_next_gang(tmp_path: Path, known: bool) -> None:
    class Backend(ScriptedBackend):
        def submit(self, attempts: Sequence[Attempt]) -> None:
            super().submit(attempts)
            widths = {width(group[0].job.stage) for group in self._running}
            gangs_wait = any(
                sweep.queue.state[node.key] is State.READY and width(node.stage) == 2 for node in sweep.plan
            )
            self.beside = self.beside or (widths == {1, 2} and gangs_wait)

        beside = False

    sweep = Sweep(tmp_path / "store", plan_of(recipe(gpus_per_stage=2, seeds=2)))
    backend = Backend({}, slots=3)
    expected_s = {2: 100.0, 1: 1.0} if known else {}
    summary = sweep.run(backend, expected_s=lambda node: expected_s.get(width(node.stage)))
    assert (summary.exit_code, backend.beside) == (0, known)


def test_max_concurrent_bounds_stages_and_not_devices(tmp_path: Path) -> None:
    backend = DevicesBackend(4, {})
    summary = Sweep(tmp_path / "store", plan_of(recipe(gpus_per_stage=2))).run(backend, max_concurrent=1)
    assert (summary.exit_code, backend.most_at_once) == (0, 1)


def test_a_recipe_says_how_its_trainings_are_shared() -> None:
    plan = plan_of(recipe(gpus_per_stage=4, batch_norm="per_rank"))
    assert {width(node.stage) for node in plan if node.stage.kind != "probe"} == {4}
    assert {width(node.stage) for node in plan if node.stage.kind == "probe"} == {1}
    assert {node.stage.training.gang for node in plan if node.stage.kind == "round"} == {Gang(4, "per_rank")}


def test_gang_and_policy_are_part_of_the_key_and_one_device_has_no_policy() -> None:
    keys = [
        set(plan_of(recipe(**changes)).nodes)
        for changes in (
            {},
            {"gpus_per_stage": 2},
            {"gpus_per_stage": 4},
            {"gpus_per_stage": 2, "batch_norm": "per_rank"},
        )
    ]
    assert len(set.union(*keys)) == sum(map(len, keys))
    assert set(plan_of(recipe(batch_norm="per_rank")).nodes) == keys[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpus_per_stage": 3}, "batch_size 32 must be a multiple of gpus_per_stage 3"),
        ({"gpus_per_stage": 16}, "at least 3 images on each"),
        ({"gpus_per_stage": 2, "compile_from_epochs": 1}, "without torch.compile"),
        ({"gpus_per_stage": 0}, "greater than or equal to 1"),
        ({"batch_norm": "none"}, "'synchronised' or 'per_rank'"),
    ],
)
def test_a_recipe_that_no_gang_can_share_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        recipe(**changes)
