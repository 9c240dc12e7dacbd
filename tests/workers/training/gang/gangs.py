"""Gangs of processes on this machine, without Ray, and trainings to run in them."""

from __future__ import annotations

import copy
import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import save_file
from torch import Tensor, nn

import tests.conftest  # noqa: F401  (the data set "tiny", in processes that pytest did not start)
import tickets
from workers.data import open_data
from workers.data.splits import Splits, split_data
from workers.models import build_model
from workers.pruning.selection import magnitudes, prune
from workers.stages import UNIFORM, BatchNormPolicy, Data, Gang, Model, Optimizer, Training
from workers.stages.execution import Control, Interrupted
from workers.training.gang.batch_norm import GangBatchNorm
from workers.training.gang.member import ALONE, Member, current_member
from workers.training.trainer import TrainingLog, train

NETWORK = Model("resnet20", {"width": 4})


def in_gang(ranks: int, work: Callable[..., None], *arguments: Any) -> None:
    """Run ``work(member, *arguments)`` in a process per rank, joined by gloo; raise the first error."""
    multiprocessing.set_forkserver_preload([__name__])  # imports torch once instead of in every rank of every test
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        mp.start_processes(_rank, (ranks, meeting, work, arguments), nprocs=ranks, start_method="forkserver")


def _rank(rank: int, ranks: int, meeting: str, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=ranks)
    try:
        work(current_member(), *arguments)
    finally:
        dist.destroy_process_group()


def training(ranks: int, policy: BatchNormPolicy = "synchronised", epochs: int = 2, batch: int = 64) -> Training:
    """A training on 207 images: three full batches and a tail per epoch."""
    return Training(epochs, batch, Optimizer(0.05), augmentation="crop_flip", gang=Gang(ranks, policy))


def tiny(cache: Path) -> Splits:
    return split_data(open_data("tiny", "tiny-1", None, cache), Data("tiny", "tiny-1", 0.1), torch.device("cpu"))


def fresh(splits: Splits, network: Model = NETWORK) -> tuple[nn.Module, Splits]:
    model = build_model(network, in_channels=1, num_classes=3, init_seed=3)
    return model, replace(splits, memory_format=torch.contiguous_format)


def masks_of(model: nn.Module) -> dict[str, Tensor]:
    weights = {name: model.get_parameter(name) for name in tickets.prunable_names(model, 3)}
    return prune(magnitudes(weights), {n: torch.ones_like(w) > 0 for n, w in weights.items()}, 0.5)


def trained(
    spec: Training, splits: Splits, member: Member = ALONE, control: Control | None = None, network: Model = NETWORK
) -> tuple[nn.Module, TrainingLog]:
    """Train the network under AWS from its fixed initialisation, with half its weights pruned."""
    model, splits = fresh(splits, network)
    log = train(
        model,
        spec,
        splits,
        masks=masks_of(model),
        alpha=UNIFORM,
        sgd_seed=7,
        watched={"validation": splits.validation},
        control=control or Control(),
        member=member,
        roles=tickets.parameter_roles(model, 3),
    )
    return model, log


def train_and_save(
    member: Member, spec: Training, cache: Path, out: Path, network: Model = NETWORK, stop_after: int | None = None
) -> None:
    """Train in a gang; every rank saves its network, and its metrics as a tensor."""
    splits = tiny(cache)
    control = Control(earlier=(out / "checkpoint",), checkpoints=out / "checkpoint" if member.is_leader else None)
    if stop_after is not None and member.is_leader:
        answers = iter([False] * stop_after)
        control.should_stop = lambda: next(answers, True)
    try:
        model, log = trained(spec, splits, member, control, network)
    except Interrupted:
        save_file({"interrupted": torch.ones(1)}, out / f"rank{member.rank}.safetensors")
        return
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file({**tensors, "metrics": table(log)}, out / f"rank{member.rank}.safetensors")


def table(log: TrainingLog) -> Tensor:
    """Loss and accuracy of every row of the metrics."""
    return torch.tensor([[row["loss_nats"], row["accuracy_percent"]] for row in log.metrics], dtype=torch.float64)


class InTurn:
    """Exchanges of ranks that run one after another, in this process.

    Each pass over the ranks reads what the others gave in the pass before. Batch norm has two exchanges, of which the
    second depends on the first: from the third pass on, all numbers are right.
    """

    alone = False

    def __init__(self, ranks: int) -> None:
        self._exchanged: list[list[Tensor]] = [[] for _ in range(ranks)]
        self._rank = self._number = 0

    def start(self, rank: int) -> None:
        """Begin a pass of one rank."""
        self._rank, self._number = rank, 0

    def all_gather(self, tensor: Tensor) -> Tensor:
        """See ``Member.all_gather``."""
        self._exchanged[self._rank][self._number : self._number + 1] = [tensor.clone()]
        ranks = [given[self._number] if len(given) > self._number else tensor for given in self._exchanged]
        self._number += 1
        return torch.stack(ranks)

    def sum_(self, tensor: Tensor) -> Tensor:
        """See ``Member.sum_``."""
        return tensor.copy_(self.all_gather(tensor).sum(0))


def normalised_in_gang(norm: nn.Module, shares: Sequence[tuple[Tensor, Tensor]]) -> list[dict[str, Tensor]]:
    """Normalise each rank's share (x, dy) of a batch in training mode, over all ranks; go back from dy.

    Returns:
        by rank: output, gradients and statistics.
    """
    exchanges = InTurn(len(shares))
    for _ in range(3):
        by_rank: list[dict[str, Tensor]] = []
        for rank, (x, dy) in enumerate(shares):
            exchanges.start(rank)
            ranks_norm, images = copy.deepcopy(norm), x.clone().requires_grad_()
            output = GangBatchNorm(ranks_norm, exchanges)(images)  # type: ignore[arg-type]
            output.backward(dy)
            gradients = {f"d_{name}": parameter.grad for name, parameter in ranks_norm.named_parameters()}
            found = {"y": output.detach(), "dx": images.grad, **gradients, **dict(ranks_norm.named_buffers())}
            by_rank.append(found)
    return by_rank
