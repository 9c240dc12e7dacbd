"""A rank's share of an epoch: the draws are the whole gang's, and each rank takes its rows of every batch."""

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
    """This rank's part of the training batches from number ``first`` on; of a short tail it may be no image at all.

    Args:
        draws: of all images and ranks.
        batch_size: of all ranks together, a multiple of the ranks.
    """
    if member.alone:
        yield from splits.train.drawn(draws, batch_size, augmentation, first)
        return
    own_size = batch_size // member.ranks
    rows = torch.cat([rows[member.share(len(rows))] for rows in torch.arange(len(draws)).split(batch_size)])
    own = Draws(draws.order[rows], draws.geometry[rows], draws.flip[rows])
    yield from splits.train.drawn(own, own_size, augmentation, first)
    if -(-len(own) // own_size) < -(-len(draws) // batch_size):
        # it still takes part in the step: the others wait for its part of the sums
        yield Batch(splits.blank(0).to(torch.uint8), splits.train.labels[:0])
