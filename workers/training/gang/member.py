"""One process's place in a gang, and the exchanges between its ranks.

Plain torch.distributed, whether Ray Train, torchrun or a test started the processes. Every rank holds the same network,
optimizer and sums after every step, so each can resume from a checkpoint of any rank.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tickets.roles import BATCH_NORM
from workers.stages import BatchNormPolicy

TIMEOUT = timedelta(hours=1)  # one rank may decode a data set while the others wait; a dead one is found sooner
TEXT_BYTES = 256

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class GangSizeError(ValueError):
    """A training was started in more or fewer processes than its gang has ranks."""


class RanksDisagreeError(RuntimeError):
    """A value that must be equal on all ranks of a gang differs."""


class RankLostError(ConnectionError):
    """Another rank of the gang went away during an exchange."""


def _as_rank_lost(exchange: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Raise torch's errors of an exchange as RankLostError, so that they count as the gang's and not the stage's."""

    @wraps(exchange)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return exchange(*args, **kwargs)
        except RuntimeError as error:
            raise RankLostError(f"an exchange between the ranks failed: {str(error).splitlines()[0]}") from error

    return wrapped


@dataclass(frozen=True)
class Member:
    """This process's place in its gang. All ranks call every method in the same order, or none does.

    Attributes:
        rank: from 0; rank 0 leads.
        hosts: the process group for values on CPUs, whatever the device; None when alone.
    """

    rank: int = 0
    ranks: int = 1
    hosts: dist.ProcessGroup | None = None

    @property
    def alone(self) -> bool:
        """Whether there is no other rank."""
        return self.ranks == 1

    @property
    def is_leader(self) -> bool:
        """Whether this is rank 0, which decides for all and alone writes files."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """This rank's rows out of ``rows``: as even as possible, but none rather than one, which has no variance."""
        busy = max(1, min(self.ranks, rows // 2))
        return slice(min(self.rank, busy) * rows // busy, min(self.rank + 1, busy) * rows // busy)

    @_as_rank_lost
    def sum_(self, tensor: Tensor) -> Tensor:
        """Sum over all ranks, in place, with the same bits on each."""
        if not self.alone:
            dist.all_reduce(tensor)
        return tensor

    @_as_rank_lost
    def all_gather(self, tensor: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
        """(ranks, *shape): the tensors of all ranks, on each."""
        if self.alone:
            return tensor[None]
        gathered = [torch.empty_like(tensor) for _ in range(self.ranks)]
        dist.all_gather(gathered, tensor, group)
        return torch.stack(gathered)

    @_as_rank_lost
    def broadcast(self, decision: bool) -> bool:
        """Rank 0's decision, on every rank."""
        if self.alone:
            return decision
        buffer = torch.tensor([int(decision)])
        dist.broadcast(buffer, 0, group=self.hosts)
        return bool(buffer)

    def all_gather_text(self, text: str) -> list[str]:
        """The texts of all ranks, by rank, each cut after ``TEXT_BYTES`` bytes."""
        encoded = torch.tensor(list(text.encode()[:TEXT_BYTES].ljust(TEXT_BYTES)), dtype=torch.uint8)
        return [bytes(row).decode(errors="replace").rstrip() for row in self.all_gather(encoded, self.hosts).tolist()]

    def check_equal(self, what: str, digest: Callable[[], str]) -> None:
        """Compare a digest over the ranks; alone, it is not even computed.

        Raises:
            RanksDisagreeError: on every rank; names the ranks that differ from rank 0.
        """
        if self.alone:
            return
        digests = self.all_gather_text(digest())
        differing = [str(rank) for rank, value in enumerate(digests) if value != digests[0]]
        if differing:
            raise RanksDisagreeError(
                f"{what} on rank {', '.join(differing)} of {self.ranks} differs from rank 0's; check that all ranks "
                f"have the same kind of device, versions and files"
            )


ALONE = Member()


class Reduction:
    """The all-reduce that ends a gang's step: turns the gradients and sums of shares into those of a batch.

    One sum over one flat tensor, rather than DDP. Every rank's loss is the *sum* over its images, so the sum over the
    ranks, divided by the number of all images, is the gradient of the whole batch's mean loss, however unevenly a tail
    batch is split. DDP would weigh the ranks equally, and overwrite the other ranks' buffers with rank 0's.

    Args:
        batch_norm: under "per_rank", the running statistics become the mean over the ranks, weighted by their images.
            So every rank holds the same network after every step, and the statistics cover all images.
    """

    def __init__(self, model: nn.Module, member: Member, batch_norm: BatchNormPolicy) -> None:
        self._parameters, self._member = list(model.parameters()), member
        self._rank_statistics = [
            buffer
            for module in model.modules()
            if isinstance(module, BATCH_NORM) and batch_norm == "per_rank"
            for buffer in (module.running_mean, module.running_var)
            if buffer is not None
        ]

    @torch.no_grad()
    def __call__(self, sums: Tensor, images: int) -> Tensor:
        """Average gradients and statistics in place.

        Args:
            sums: (k,), over this rank's images.
            images: number of this rank's images; may be 0.

        Returns:
            float64 (k,), the sums over the images of all ranks.
        """
        totals = self._member.sum_(torch.cat((sums.double(), sums.new_full((1,), images).double())))
        total_images = totals[-1].float()
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        pieces = [*gradients, *(buffer.mul_(images) for buffer in self._rank_statistics)]
        flat = self._member.sum_(torch.cat([piece.flatten() for piece in pieces])).div_(total_images)
        for piece, mean in zip(pieces, flat.split([piece.numel() for piece in pieces]), strict=True):
            piece.copy_(mean.view(piece.shape))
        return totals[:-1]


def current_member() -> Member:
    """The place in the process group that this process has joined; alone without one."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return ALONE
    hosts = dist.new_group(backend="gloo", timeout=TIMEOUT)
    assert isinstance(hosts, dist.ProcessGroup)
    return Member(dist.get_rank(), dist.get_world_size(), hosts)


def rank_device(device: str) -> str:
    """The device of this rank under torchrun, which gives each rank of a host its own GPU."""
    if "LOCAL_RANK" in os.environ and (device == "cuda" or (device == "auto" and torch.cuda.is_available())):
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return device


@contextmanager
def join_gang(device: torch.device) -> Iterator[Member]:
    """Join the gang that torchrun's environment variables name, for the duration of the block; alone without them."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield current_member()
    finally:
        dist.destroy_process_group()
