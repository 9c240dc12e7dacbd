"""What the ranks of a gang exchange in a step: gradients, sums, and statistics that are each rank's own.

One sum over one flat tensor, rather than DDP: every rank's loss is the *sum* over its images, so that the sum over
the ranks, divided by the number of images of all, is the gradient of the whole batch's mean loss however unevenly a
tail batch is split. DDP would weigh the ranks alike, and copy rank 0's buffers over the others'.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tickets.roles import BATCH_NORM
from workers.stages import BatchNormPolicy
from workers.training.gang.member import Member


class Exchange:
    """Makes what the ranks computed on their shares of a batch what one process computes on all of it.

    Args:
        batch_norm: under "per_rank", the running statistics become the mean of all ranks', by their images: every rank
            then holds the same network after every step, and no share of the images is left out of the statistics.
    """

    def __init__(self, model: nn.Module, member: Member, batch_norm: BatchNormPolicy) -> None:
        self._parameters, self._member = list(model.parameters()), member
        self._own_statistics = [
            buffer
            for module in model.modules()
            if isinstance(module, BATCH_NORM) and batch_norm == "per_rank"
            for buffer in (module.running_mean, module.running_var)
            if buffer is not None
        ]

    @torch.no_grad()
    def __call__(self, outcome: Tensor, images: int) -> Tensor:
        """Average gradients and statistics in place.

        Args:
            outcome: (k,), sums over this rank's images.
            images: how many those are; 0 is allowed.

        Returns:
            float64 (k,), the sums over the images of all ranks.
        """
        sums = torch.cat((outcome.double(), outcome.new_tensor([images]).double()))
        total = self._member.sum_(sums)[-1].float()
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        pieces = [*gradients, *(buffer.mul_(images) for buffer in self._own_statistics)]
        flat = self._member.sum_(torch.cat([piece.flatten() for piece in pieces])).div_(total)
        for piece, mean in zip(pieces, flat.split([piece.numel() for piece in pieces]), strict=True):
            piece.copy_(mean.view(piece.shape))
        return sums[:-1]
