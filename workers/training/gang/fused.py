"""Batch norm of a gang by torch's fused kernels, which read each value far less often and are for GPUs only.

The calls are those of torch's SyncBatchNorm (``torch.nn.modules._functions``), but for two things. It waits for the
host, to drop ranks without an image from the statistics; here such ranks stay, with no weight. It gives its kernels
gradients in another memory format than the images; the one for channels last would misread them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from workers.training.gang.member import Member


class FusedBatchNorm(torch.autograd.Function):
    """Normalise (images, channels, …) over all ranks, and update the running statistics in place.

    Rank 0 has images if any rank has (``Member.share``): the kernel divides by the number of values up to each rank.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        momentum: float,
        eps: float,
        member: Member,
    ) -> Tensor:
        channels_last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
        ctx.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        x, channels = x.contiguous(memory_format=ctx.memory_format), len(weight)
        if len(x):
            mean, inverse_std = torch.batch_norm_stats(x, eps)
        else:
            mean, inverse_std = weight.new_zeros(channels), weight.new_ones(channels)
        count = mean.new_full((1,), x.numel() // channels)
        gathered = member.all_gather(torch.cat((mean, inverse_std, count)))
        means, inverse_stds, counts = gathered.split((channels, channels, 1), 1)
        # the type of the first argument is that of the kernel's numbers, float32 under autocast too
        mean, inverse_std = torch.batch_norm_gather_stats_with_counts(
            gathered, means, inverse_stds, running_mean, running_var, momentum, eps, counts.flatten()
        )
        ctx.save_for_backward(x, weight, mean, inverse_std, counts.to(torch.int32))
        ctx.member = member
        return torch.batch_norm_elemt(x, weight, bias, mean, inverse_std, eps) if len(x) else torch.empty_like(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse_std, counts = ctx.saved_tensors
        dy = dy.contiguous(memory_format=ctx.memory_format)
        sum_dy = sum_dy_deviation = d_weight = d_bias = torch.zeros_like(mean)  # of a rank without an image
        if len(x):
            sum_dy, sum_dy_deviation, d_weight, d_bias = torch.batch_norm_backward_reduce(
                dy, x, mean, inverse_std, weight, True, True, True
            )
        # the loss of every rank depends on the mean and variance, and so on this rank's images
        sum_dy, sum_dy_deviation = ctx.member.sum_(torch.stack((sum_dy, sum_dy_deviation)))
        if not len(x):
            return dy, d_weight, d_bias, None, None, None, None, None
        dx = torch.batch_norm_backward_elemt(dy, x, mean, inverse_std, weight, sum_dy, sum_dy_deviation, counts)
        return dx, d_weight, d_bias, None, None, None, None, None
