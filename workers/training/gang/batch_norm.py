"""Batch norm in a gang, whose ranks each hold a share of every batch: over the whole batch, or over each share.

torch's SyncBatchNorm is for GPUs only. This one consists of tensor operations and two exchanges, one forward and one
backward. On GPUs, fused kernels compute the same (``workers.training.gang.fused``).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from workers.stages import BatchNormPolicy
from workers.stages.execution import StageError
from workers.training.gang.fused import FusedBatchNorm
from workers.training.gang.member import ALONE, Member

CONVERTED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def unfit_for_gangs(model: nn.Module) -> str:
    """Say which batch norm of another class than torch's keeps a network out of gangs; empty if none does."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and type(module) not in CONVERTED:
            return (
                f"{name} is a {type(module).__name__}, whose form in a gang is unknown; train the network on one "
                f"device, or build it with nn.BatchNorm"
            )
    return ""


def with_gang_norm(model: nn.Module, member: Member, policy: BatchNormPolicy) -> nn.Module:
    """Copy a network's tree of modules with a gang's batch norm; both trees share all tensors.

    The model itself is unchanged, so that one rank can still evaluate it alone.

    Raises:
        StageError: the model has a batch norm of another class than torch's, whose form in a gang is unknown.
    """
    if why := unfit_for_gangs(model):
        raise StageError(why)
    tensors = [*model.parameters(), *model.buffers()]
    twin = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    synchronised = policy == "synchronised"
    for name, module in list(twin.named_modules(remove_duplicate=False)):
        if type(module) in CONVERTED:
            parent, _, leaf = name.rpartition(".")
            setattr(twin.get_submodule(parent), leaf, GangBatchNorm(module, member if synchronised else ALONE))
    return twin


class GangBatchNorm(nn.SyncBatchNorm):
    """Batch norm over a gang's ranks, with the parameters and statistics of another; a rank may have no image.

    It derives from torch's class only so that ``isinstance`` finds it among normalization layers.

    Args:
        member: place in the gang that normalises its images together; ``ALONE`` normalises this rank's only.
    """

    def __init__(self, norm: Any, member: Member) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self._parameters, self._buffers = norm._parameters, norm._buffers
        self.training, self.member = norm.training, member

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (images, channels, …); the running statistics follow the whole batch, unbiased.

        Raises:
            StageError: the batch has one value per channel, whose variance is 0.
        """
        if not self.training or (self.member.alone and len(input)):
            of_torch: Tensor = nn.modules.batchnorm._BatchNorm.forward(self, input)
            return of_torch
        if input.numel() == self.num_features:  # no other rank has an image: see Member.share
            raise StageError(
                "the last batch of an epoch has one image, and batch norm needs more than one value per channel; "
                "change batch_size"
            )
        if self._fused(input):
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
            by_kernels: Tensor = FusedBatchNorm.apply(
                input,
                self.weight,
                self.bias,
                self.running_mean,
                self.running_var,
                self.momentum,
                self.eps,
                self.member,
            )
            return by_kernels
        mean, variance, count = _statistics(input, self.member)
        if self.track_running_stats:
            self._track(mean, variance, count)
        normalised: Tensor = _Normalise.apply(
            input, self.weight, self.bias, mean, (variance + self.eps).rsqrt(), count, self.member
        )
        return normalised

    def _fused(self, input: Tensor) -> bool:
        """Whether the fused kernels can do it: they need parameters, a momentum and, from another rank, images."""
        return input.is_cuda and self.affine and self.momentum is not None and not self.member.alone

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / (count - 1).clamp(min=1)), share)


@torch.no_grad()
def _statistics(values: Tensor, member: Member) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance by channel, float32 (channels,), and the number of values per channel, over all ranks.

    Each rank takes deviations from its own mean, which are then combined (Chan): differences of large sums of squares
    would lose digits that a single process keeps.
    """
    values = values.float()
    dims = [dim for dim in range(values.dim()) if dim != 1]
    rank_count = values.numel() // values.shape[1]
    rank_mean = values.sum(dims) / max(rank_count, 1)
    rank_squares = (values - _by_channel(rank_mean, values)).square().sum(dims)
    gathered = member.all_gather(torch.cat((rank_mean, rank_squares, rank_mean.new_full((1,), rank_count))))
    means, squares = gathered[:, :-1].chunk(2, 1)
    counts = gathered[:, -1:]
    count = counts.sum().clamp(min=1)
    mean = (means * counts).sum(0) / count
    variance = (squares + counts * (means - mean).square()).sum(0) / count
    return mean, variance, count


class _Normalise(torch.autograd.Function):
    """(x - mean) * inverse_std * weight + bias, where mean and inverse_std depend on the x of all ranks."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        inverse_std: Tensor,
        count: Tensor,
        member: Member,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, inverse_std, count)
        ctx.member = member
        scale = inverse_std if weight is None else inverse_std * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        return (x * _by_channel(scale, x) + _by_channel(shift, x)).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse_std, count = ctx.saved_tensors
        dims = [dim for dim in range(x.dim()) if dim != 1]
        dy32 = dy.float()
        normalised = (x.float() - _by_channel(mean, x)) * _by_channel(inverse_std, x)
        d_shift_scale = torch.stack((dy32.sum(dims), (dy32 * normalised).sum(dims)))  # of this rank's images
        # the loss of every rank depends on the mean and variance, and so on this rank's images
        total = ctx.member.sum_(d_shift_scale.clone()) / count
        scale = inverse_std if weight is None else inverse_std * weight
        dx = (dy32 - _by_channel(total[0], x) - normalised * _by_channel(total[1], x)) * _by_channel(scale, x)
        d_weight = d_shift_scale[1] if ctx.needs_input_grad[1] else None
        d_bias = d_shift_scale[0] if ctx.needs_input_grad[2] else None
        return dx.to(x.dtype), d_weight, d_bias, None, None, None, None


def _by_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.view(1, -1, *(1 for _ in like.shape[2:]))
