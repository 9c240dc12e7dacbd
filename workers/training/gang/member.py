"""One process's place in a gang, and what the ranks of a gang say to each other.

Plain torch.distributed, whoever started the processes: Ray Train, torchrun, or a test. Every rank holds the same
network, optimizer and sums after every step, so that each can go on from what any of them wrote.
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
from torch import Tensor

TIMEOUT = timedelta(hours=1)  # one rank may decode a data set while the others wait; a dead one is found sooner
TEXT_BYTES = 256

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class GangSizeError(ValueError):
    """A training was started in more or fewer processes than its gang has ranks."""


class RanksDisagreeError(RuntimeError):
    """What has to be equal on all ranks of a gang is not."""


class RankLostError(ConnectionError):
    """Another rank of the gang went away in the middle of an exchange."""


def _told_apart(exchange: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """torch's errors of an exchange as RankLostError: it is the gang's failure, and not the stage's."""

    @wraps(exchange)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return exchange(*args, **kwargs)
        except RuntimeError as error:
            raise RankLostError(f"an exchange between the ranks failed: {str(error).splitlines()[0]}") from error

    return wrapped


@dataclass(frozen=True)
class Member:
    """This process's place in its gang. Every method is called by all ranks in the same order, or by none.

    Attributes:
        rank: from 0; rank 0 decides, and alone writes files.
        host: the gang's group for what the hosts say to each other, on CPUs whatever the device; None when alone.
    """

    rank: int = 0
    ranks: int = 1
    host: dist.ProcessGroup | None = None

    @property
    def alone(self) -> bool:
        """Whether there is no other rank."""
        return self.ranks == 1

    @property
    def leads(self) -> bool:
        """Whether this rank decides and writes."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """This rank's rows of so many: as even as possible, but none rather than one, which has no variance."""
        busy = max(1, min(self.ranks, rows // 2))
        return slice(min(self.rank, busy) * rows // busy, min(self.rank + 1, busy) * rows // busy)

    @_told_apart
    def sum_(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks, in place, with the same bits on each."""
        if not self.alone:
            dist.all_reduce(tensor)
        return tensor

    @_told_apart
    def gather(self, tensor: Tensor) -> Tensor:
        """(ranks, *shape): the tensor of every rank, on each."""
        if self.alone:
            return tensor[None]
        gathered = [torch.empty_like(tensor) for _ in range(self.ranks)]
        dist.all_gather(gathered, tensor)
        return torch.stack(gathered)

    @_told_apart
    def decided(self, decision: bool) -> bool:
        """Rank 0's decision, on every rank."""
        if self.alone:
            return decision
        told = torch.tensor([int(decision)])
        dist.broadcast(told, 0, group=self.host)
        return bool(told)

    @_told_apart
    def texts(self, text: str) -> list[str]:
        """What every rank says, by rank; cut after 256 bytes."""
        if self.alone:
            return [text]
        said = torch.tensor(list(text.encode()[:TEXT_BYTES].ljust(TEXT_BYTES)), dtype=torch.uint8)
        heard = [torch.empty_like(said) for _ in range(self.ranks)]
        dist.all_gather(heard, said, group=self.host)
        return [bytes(each.tolist()).decode(errors="replace").rstrip() for each in heard]

    def check_equal(self, what: str, digest: Callable[[], str]) -> None:
        """Compare a digest over the ranks; alone, it is not even computed.

        Raises:
            RanksDisagreeError: on every rank, naming those that differ from rank 0.
        """
        if self.alone:
            return
        digests = self.texts(digest())
        others = [str(rank) for rank, found in enumerate(digests) if found != digests[0]]
        if others:
            raise RanksDisagreeError(
                f"{what} on rank {', '.join(others)} of {self.ranks} differs from rank 0's; check that all ranks have "
                f"the same kind of device, versions and files"
            )


ALONE = Member()


def joined() -> Member:
    """The place in the process group that this process is in already."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return ALONE
    host = dist.new_group(backend="gloo", timeout=TIMEOUT)
    assert isinstance(host, dist.ProcessGroup)
    return Member(dist.get_rank(), dist.get_world_size(), host)


def own_device(device: str) -> str:
    """The device of this rank under torchrun: of a host's GPUs, each rank has its own."""
    if "LOCAL_RANK" in os.environ and (device == "cuda" or (device == "auto" and torch.cuda.is_available())):
        return f"cuda:{os.environ['LOCAL_RANK']}"
    return device


@contextmanager
def joining(device: torch.device) -> Iterator[Member]:
    """The place that torchrun's environment variables name, for as long as the block runs; alone without them."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield joined()
    finally:
        dist.destroy_process_group()
