"""Methods beyond the paper's, by the files of their stages: rewound weights, and survivors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import tickets
from tickets import TRANSFERS, Transfer
from workers.attempts.execute import run_stage
from workers.devices.seeds import derive
from workers.models import build_model
from workers.pruning.selection import survivors_after
from workers.stages import Criterion, Pretrain, Pruning, Round, Setting, Train, Training
from workers.stages.execution import Execution
from workers.storage import artifacts, schemas

FROZEN_RATE = 1e-12


@pytest.fixture
def zero(tmp_path: Path, setting: Setting, training: Training, execution: Execution) -> Path:
    """Round 0 of two epochs, its first epoch and its initialisation."""
    for name, stop in (("whole", None), ("epoch_1", 1), ("epoch_0", 0)):
        stage = Pretrain(setting, replace(training, stop_after=stop), "plain", 1, 10)
        run_stage(stage, {}, tmp_path / name, execution)
    return tmp_path


def weights(folder: Path) -> dict[str, Tensor]:
    return artifacts.load_weights(folder / schemas.WEIGHTS)[0]


def masks(folder: Path) -> dict[str, Tensor]:
    return tickets.load(folder / schemas.TICKET).masks


def alive(folder: Path) -> int:
    return sum(int(mask.sum()) for mask in masks(folder).values())


def test_round_zero_stopped_early_is_round_zero_up_to_there(
    zero: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    one_epoch = Pretrain(setting, replace(training, epochs=1), "plain", 1, 10)
    run_stage(one_epoch, {}, zero / "alone", execution)
    stopped, alone = weights(zero / "epoch_1"), weights(zero / "alone")
    assert all(torch.equal(stopped[name], alone[name]) for name in alone)


def test_a_network_that_is_not_trained_is_its_initialisation(zero: Path) -> None:
    drawn, untrained = load_file(zero / "whole" / schemas.INIT), weights(zero / "epoch_0")
    assert all(torch.equal(drawn[name], untrained[name]) for name in drawn)
    assert tickets.load(zero / "epoch_0" / schemas.TICKET).density == 1


@pytest.mark.parametrize("back_to", ["epoch_0", "epoch_1"])
def test_survivors_go_back_and_the_trained_magnitudes_decide_which_they_are(
    back_to: str, zero: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    frozen = replace(training, optimizer=replace(training.optimizer, learning_rate=FROZEN_RATE))
    stage = Round(setting, frozen, "plain", 1, 0.2, 5, pruning=Pruning("imp", reset_to=int(back_to[-1])))
    run_stage(stage, {"previous": zero / "whole", "reset": zero / back_to}, zero / "round", execution)
    trained, source, after = weights(zero / "whole"), weights(zero / back_to), weights(zero / "round")
    survivors = masks(zero / "round")
    kept = torch.cat([trained[name][mask].abs() for name, mask in survivors.items()])
    gone = torch.cat([trained[name][~mask].abs() for name, mask in survivors.items()])
    assert kept.min() >= gone.max()
    for name, mask in survivors.items():
        torch.testing.assert_close(after[name], source[name] * mask, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(after["bn.weight"], source["bn.weight"], rtol=1e-5, atol=1e-6)


def test_a_schedule_that_begins_later_trains_its_later_epochs_only(
    zero: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    again = replace(training, first_epoch=1)
    stage = Round(setting, again, "plain", 1, 0.2, 5, pruning=Pruning("mine", reset_to=1, schedule_from="reset"))
    run_stage(stage, {"previous": zero / "whole", "reset": zero / "epoch_1"}, zero / "round", execution)
    assert set(pq.read_table(zero / "round" / schemas.METRICS).column("epoch").to_pylist()) == {2}


def test_one_shot_comes_to_the_density_of_as_many_rounds(
    zero: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    none = replace(training, stop_after=0)
    total = alive(zero / "whole")
    for round_ in (1, 3):
        stage = Round(setting, none, "plain", round_, 0.2, 5, pruning=Pruning("once", one_shot=True))
        run_stage(stage, {"previous": zero / "whole"}, zero / f"round{round_}", execution)
        assert alive(zero / f"round{round_}") == int(round(0.8**round_ * total, 6))


@pytest.mark.parametrize("name", ["random", "erk", "snip", "synflow"])
def test_pruning_in_steps_leaves_the_very_number_of_one_pruning(
    name: str, zero: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    none = replace(training, stop_after=0)
    stage = Round(setting, none, "plain", 1, 0.7, 5, pruning=Pruning("mine", Criterion(name), prune_at=0, steps=7))
    run_stage(stage, {"previous": zero / "epoch_0"}, zero / "round", execution)
    assert alive(zero / "round") == survivors_after(alive(zero / "epoch_0"), 0.7)
    untrained, after = weights(zero / "epoch_0"), weights(zero / "round")
    for layer, mask in masks(zero / "round").items():
        assert torch.equal(after[layer], untrained[layer] * mask)


def test_synflow_in_many_steps_leaves_every_layer_alive(
    zero: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    none = replace(training, stop_after=0)
    stage = Round(setting, none, "plain", 1, 0.9, 5, pruning=Pruning("s", Criterion("synflow"), prune_at=0, steps=30))
    run_stage(stage, {"previous": zero / "epoch_0"}, zero / "round", execution)
    assert all(bool(mask.any()) for mask in masks(zero / "round").values())


def test_a_ticket_says_the_methods_own_name(
    zero: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    none = replace(training, stop_after=0)
    for pruning, method in ((Pruning("mine"), "mine"), (Pruning(), "lrr")):
        run_stage(
            Round(setting, none, "plain", 1, 0.2, 5, pruning=pruning),
            {"previous": zero / "whole"},
            zero / method,
            execution,
        )
        assert tickets.load(zero / method / schemas.TICKET).provenance.method == method


def started(
    transfer: Transfer, zero: Path, setting: Setting, training: Training, execution: Execution, **more: str
) -> dict[str, Tensor]:
    """The start of a final training, by a training at a rate near zero."""
    frozen = replace(training, optimizer=replace(training.optimizer, learning_rate=FROZEN_RATE))
    run_stage(Round(setting, training, "plain", 1, 0.2, 5), {"previous": zero / "whole"}, zero / "round_1", execution)
    inputs = {"ticket": zero / "round_1", **{slot: zero / name for slot, name in more.items()}}
    run_stage(Train(setting, frozen, transfer, 4, 6), inputs, zero / "start", execution)
    return weights(zero / "start")


def test_the_lottery_tickets_own_start_is_the_chains_initialisation_under_the_mask(
    zero: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    start = started(TRANSFERS["rewound"], zero, setting, training, execution, epoch_0="epoch_0")
    drawn, survivors = weights(zero / "epoch_0"), masks(zero / "round_1")
    for name in ("fc.weight", "bn.weight", *survivors):
        expected = drawn[name] * survivors[name] if name in survivors else drawn[name]
        torch.testing.assert_close(start[name], expected, rtol=1e-5, atol=1e-6)


def test_parts_may_come_from_other_rounds_and_other_seeds(
    zero: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    mixed = Transfer(signs="ticket", magnitudes="init_7", psi="round_0", classifier="epoch_0")
    start = started(mixed, zero, setting, training, execution, round_0="whole", epoch_0="epoch_0")
    ticket = tickets.load(zero / "round_1" / schemas.TICKET)
    seventh = build_model(setting.model, in_channels=1, num_classes=3, init_seed=derive("init", "seed", 7)).state_dict()
    for name, mask in ticket.masks.items():
        expected = seventh[name].abs() * ticket.tensors[name].sign * mask
        torch.testing.assert_close(start[name], expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(start["bn.weight"], weights(zero / "whole")["bn.weight"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(start["fc.weight"], weights(zero / "epoch_0")["fc.weight"], rtol=1e-5, atol=1e-6)


def test_a_mask_may_come_from_another_round(
    zero: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    start = started(Transfer(mask="round_0", signs="ticket"), zero, setting, training, execution, round_0="whole")
    survivors = masks(zero / "round_1")
    # the mask is dense, and a weight that the ticket pruned has no sign there: it takes its fresh one, and none is 0
    assert all((start[name][~mask] != 0).all() for name, mask in survivors.items())
    assert any((~mask).any() for mask in survivors.values())
    assert artifacts.load_weights(zero / "start" / schemas.WEIGHTS)[1] == artifacts.masks_digest(masks(zero / "whole"))


def test_a_missing_source_is_named(zero: Path, setting: Setting, training: Training, execution: Execution) -> None:
    with pytest.raises(ValueError, match="epoch_0, and the stage has no such input"):
        started(TRANSFERS["rewound"], zero, setting, training, execution)
