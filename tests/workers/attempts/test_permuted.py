"""A permuted ticket: what a chain found, where another initialisation's dense solution has its units."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import tickets
from tickets import TRANSFERS, Transfer
from workers.attempts.execute import run_stage
from workers.models import build_model
from workers.probing.alignment import PermutationGraph, trace_permutations
from workers.stages import Pretrain, Round, Setting, Train, Training
from workers.stages.execution import Execution
from workers.storage import artifacts, schemas

Hidden = tuple[PermutationGraph, Tensor]


def weights(folder: Path) -> dict[str, Tensor]:
    return artifacts.load_weights(folder / schemas.WEIGHTS)[0]


@pytest.fixture
def hidden(tmp_path: Path, setting: Setting, training: Training, execution: Execution) -> Hidden:
    """round0 and round1 of LRR; and as "dense" a network that is round 0 with its units in another, hidden order."""
    run_stage(Pretrain(setting, training, "plain", 1, 10), {}, tmp_path / "round0", execution)
    pruning = Round(setting, training, "plain", 1, 0.5, 11)
    run_stage(pruning, {"previous": tmp_path / "round0"}, tmp_path / "round1", execution)
    model = build_model(setting.model, in_channels=1, num_classes=3, init_seed=0)
    chain = weights(tmp_path / "round0")
    model.load_state_dict(chain)
    graph = trace_permutations(model, torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
    permutation = graph.drawn(torch.Generator().manual_seed(2))
    shutil.copytree(tmp_path / "round0", tmp_path / "dense")
    (tmp_path / "dense" / schemas.TICKET).unlink()
    artifacts.save_weights(tmp_path / "dense" / schemas.WEIGHTS, graph.permuted(chain, permutation))
    return graph, permutation


def started(
    transfer: Transfer, folder: Path, setting: Setting, training: Training, execution: Execution
) -> dict[str, Tensor]:
    """The start itself: a training without an epoch."""
    untrained = Training(0, training.batch_size, training.optimizer)
    inputs = {"ticket": folder / "round1", "round_0": folder / "round0", "dense": folder / "dense"}
    inputs |= {name: folder / "dense" for name in transfer.others if name.startswith("dense_")}
    shutil.rmtree(folder / "start", ignore_errors=True)
    run_stage(Train(setting, untrained, transfer, 4, 5), inputs, folder / "start", execution)
    return weights(folder / "start")


@pytest.mark.parametrize("matching", ["weights", "activations"])
def test_a_permuted_ticket_fits_the_units_of_the_dense_solution(
    hidden: Hidden,
    matching: str,
    tmp_path: Path,
    setting: Setting,
    training: Training,
    execution: Execution,
) -> None:
    graph, permutation = hidden
    transfer = replace(TRANSFERS["permuted_signed"], matching=matching)
    ticket = tickets.load(tmp_path / "round1" / schemas.TICKET)
    signs = graph.permuted({name: each.sign for name, each in ticket.tensors.items()}, permutation)
    start = started(transfer, tmp_path, setting, training, execution)
    fresh = build_model(setting.model, in_channels=1, num_classes=3, init_seed=4).state_dict()
    moved = 0
    for name in ticket.masks:
        assert torch.equal(start[name], fresh[name].abs() * signs[name])
        moved += int((signs[name] != ticket.tensors[name].sign).sum())
    assert moved > 0
    mask = started(replace(TRANSFERS["permuted"], matching=matching), tmp_path, setting, training, execution)
    for name in ticket.masks:
        assert torch.equal(mask[name], fresh[name] * (signs[name] != 0))


def test_the_statistics_of_a_chain_under_aws_do_not_change_what_its_units_are_matched_with(
    hidden: Hidden, tmp_path: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    start = started(TRANSFERS["permuted"], tmp_path, setting, training, execution)
    state = weights(tmp_path / "round0")
    # far from the data's own, as a mixture of all alphas is
    biased = {name: tensor + (2 if name.endswith("running_mean") else 0) for name, tensor in state.items()}
    assert any(not torch.equal(biased[name], state[name]) for name in state)
    artifacts.save_weights(tmp_path / "round0" / schemas.WEIGHTS, biased)
    again = started(TRANSFERS["permuted"], tmp_path, setting, training, execution)
    assert all(torch.equal(again[name], tensor) for name, tensor in start.items())


def test_what_is_the_starts_own_stays_and_what_is_the_chains_moves(
    hidden: Hidden, tmp_path: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    graph, permutation = hidden
    dense = weights(tmp_path / "dense")
    own = Transfer("permuted", "dense_1", "dense_1", "dense_1", "dense_1", "dense_1", "dense_1", matching="weights")
    start = started(own, tmp_path, setting, training, execution)
    for name, tensor in dense.items():
        assert torch.equal(start[name], torch.where(start[name] == 0, 0, tensor)), name
    whole = replace(TRANSFERS["retrain"], mask="permuted", matching="weights")
    start = started(whole, tmp_path, setting, training, execution)
    for name, tensor in graph.permuted(weights(tmp_path / "round1"), permutation).items():
        assert torch.equal(start[name], tensor), name


def test_a_start_without_its_permuted_ticket_is_refused(tmp_path: Path, hidden: object, setting: Setting) -> None:
    ticket = tickets.load(tmp_path / "round1" / schemas.TICKET)
    model = build_model(setting.model, in_channels=1, num_classes=3, init_seed=0)
    with pytest.raises(tickets.TicketError, match="this transfer takes values from permuted; give them in others"):
        tickets.transfer_(model, TRANSFERS["permuted"], ticket.tensors, None, torch.Generator())
