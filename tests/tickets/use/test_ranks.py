"""A ticket in a network under DistributedDataParallel, in two processes."""

from pathlib import Path

import pytest
import torch
from torch import nn, optim
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from tests.tickets.use.own_training import batches, network, ticket_under, train_step
from tests.workers.training.gang.gangs import in_gang
from tickets import TicketError
from workers.training.gang.member import Member


def start_ranks(member: Member, out: Path) -> None:
    """Train with the ticket applied before and after wrapping; check that sharded weights are refused."""
    for applied_to in ("network", "wrapper"):
        train_a_rank(member, applied_to, out)
    sharded = network()
    kept = ticket_under().apply(sharded, seed=1)
    fully_shard(sharded)
    with pytest.raises(TicketError, match=r"^0\.weight is sharded"):
        kept.guard(optim.SGD(sharded.parameters()))


def train_a_rank(member: Member, applied_to: str, out: Path) -> None:
    """Train three steps on this rank's half of each batch, and save the parameters."""
    model = network(member.rank)  # ranks differ until the wrapper makes them one
    ticket = ticket_under()
    kept = ticket.apply(model, seed=1) if applied_to == "network" else None
    wrapped = DistributedDataParallel(model, gradient_as_bucket_view=True)
    kept = kept or ticket.apply(wrapped, seed=1)
    optimizer = kept.guard(optim.SGD(wrapped.parameters(), lr=0.3, momentum=0.9, weight_decay=5e-4))
    for x, y in batches(3):
        mine = slice(4 * member.rank, 4 * member.rank + 4)
        optimizer.zero_grad()
        cross_entropy(wrapped(x[mine]), y[mine]).backward()
        assert not any(model.get_parameter(name).grad[~mask].any() for name, mask in kept.masks.items())  # type: ignore[index]
        nn.utils.clip_grad_norm_(wrapped.parameters(), 0.5)
        optimizer.step()
        assert kept.check() == 0.5
    torch.save(model.state_dict(), out / f"{applied_to}{member.rank}.pt")


def test_ranks_train_as_one_process_on_the_whole_batch(tmp_path: Path) -> None:
    in_gang(2, start_ranks, tmp_path)
    model = network()
    kept = ticket_under().apply(model, seed=1)
    optimizer = kept.guard(optim.SGD(model.parameters(), lr=0.3, momentum=0.9, weight_decay=5e-4))
    for x, y in batches(3):
        train_step(model, list(model.parameters()), optimizer, x, y)
    for applied_to in ("network", "wrapper"):
        ranks = [torch.load(tmp_path / f"{applied_to}{rank}.pt", weights_only=True) for rank in (0, 1)]
        for name, weight in model.state_dict().items():
            assert torch.equal(ranks[0][name], ranks[1][name])
            torch.testing.assert_close(ranks[0][name], weight)
