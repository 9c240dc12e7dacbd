"""A rank's share of an epoch: all ranks make the same draws, and each takes its rows of every batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from workers.data.augmentation import Draws
from workers.data.batches import Batch
from workers.data.splits import Splits
from workers.stages import Augmentation
from workers.training.gang.member import Member


def drawn_share(
    splits: Splits, draws: Draws, batch_size: int, augmentation: Augmentation, first: int, member: Member
) -> Iterator[Batch]:
    """This rank's share of the training batches from number ``first`` on; its share of a short tail may be empty.

    Args:
        draws: of all images and ranks.
        batch_size: over all ranks, a multiple of their number.
    """
    if member.alone:
        yield from splits.train.drawn(draws, batch_size, augmentation, first)
        return
    rank_size = batch_size // member.ranks
    rows = torch.cat([rows[member.share(len(rows))] for rows in torch.arange(len(draws)).split(batch_size)])
    share = Draws(draws.order[rows], draws.geometry[rows], draws.flip[rows])
    yield from splits.train.drawn(share, rank_size, augmentation, first)
    if -(-len(share) // rank_size) < -(-len(draws) // batch_size):
        # this rank still takes part in the last step: the others wait for its sums
        yield Batch(splits.blank(0).to(torch.uint8), splits.train.labels[:0])
