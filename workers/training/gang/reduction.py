"""The all-reduce at the end of a gang's step: gradients, sums, and batch-norm statistics that ranks keep separately.

One sum over one flat tensor, rather than DDP. Every rank's loss is the *sum* over its images, so the sum over the
ranks, divided by the number of all images, is the gradient of the whole batch's mean loss, however unevenly a tail
batch is split. DDP would weigh the ranks equally, and overwrite the other ranks' buffers with rank 0's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tickets.roles import BATCH_NORM
from workers.stages import BatchNormPolicy
from workers.training.gang.member import Member


class Reduction:
    """Turns the gradients and sums of the ranks' shares of a batch into those of the whole batch.

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
        totals = self._member.sum_(torch.cat((sums.double(), sums.new_tensor([images]).double())))
        total_images = totals[-1].float()
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        pieces = [*gradients, *(buffer.mul_(images) for buffer in self._rank_statistics)]
        flat = self._member.sum_(torch.cat([piece.flatten() for piece in pieces])).div_(total_images)
        for piece, mean in zip(pieces, flat.split([piece.numel() for piece in pieces]), strict=True):
            piece.copy_(mean.view(piece.shape))
        return totals[:-1]
