"""Batch norm in a gang, whose ranks hold a part of each batch: over the whole batch, or over each rank's part.

torch's SyncBatchNorm is for GPUs only. This one is plain tensor operations and two exchanges, one forward and one
backward, so that a test on CPUs tries what runs on GPUs.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from workers.stages import BatchNormPolicy
from workers.training.gang.member import ALONE, Member

CONVERTED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def with_gang_norm(model: nn.Module, member: Member, policy: BatchNormPolicy) -> nn.Module:
    """The same network with a gang's batch norm: another tree of modules over the very same tensors.

    The model itself stays as it is, so that one rank can still evaluate it alone.

    Raises:
        ValueError: a batch norm of a class of its own, whose form in a gang is not known.
    """
    tensors = [*model.parameters(), *model.buffers()]
    twin = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    for name, module in list(twin.named_modules(remove_duplicate=False)):
        if type(module) in CONVERTED:
            parent, _, leaf = name.rpartition(".")
            among = member if policy == "synchronised" else ALONE
            setattr(twin.get_submodule(parent), leaf, GangBatchNorm(module, among))
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                f"{name} is a {type(module).__name__}, and what that is in a gang is not known; "
                f"train it on one device, or build it with nn.BatchNorm"
            )
    return twin


class GangBatchNorm(nn.SyncBatchNorm):
    """Another batch norm's parameters and running statistics, normalised over some ranks; a rank may have no image.

    It derives from torch's for its kind alone: whoever asks for normalization layers finds it.

    Args:
        member: of the ranks whose images are normalised together; alone, by this rank's only.
    """

    def __init__(self, norm: Any, member: Member) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self._parameters, self._buffers = norm._parameters, norm._buffers
        self.training, self.member = norm.training, member

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (images, channels, …); the running statistics become those of the whole batch, unbiased."""
        if not self.training or (self.member.alone and len(input)):
            own: Tensor = nn.modules.batchnorm._BatchNorm.forward(self, input)
            return own
        mean, variance, count = _statistics(input, self.member)
        if self.track_running_stats:
            self._track(mean, variance, count)
        normalised: Tensor = _Normalise.apply(
            input, self.weight, self.bias, mean, (variance + self.eps).rsqrt(), count, self.member
        )
        return normalised

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
    """Mean and biased variance by channel, float32 (channels,), and the values per channel, of all ranks together.

    Each rank's deviations are from its own mean, and are combined afterwards (Chan): differences of large sums of
    squares would lose the digits that a single process keeps.
    """
    values = values.float()
    dims = [dim for dim in range(values.dim()) if dim != 1]
    own_count = values.numel() // values.shape[1]
    own_mean = values.sum(dims) / max(own_count, 1)
    own_squares = (values - _by_channel(own_mean, values)).square().sum(dims)
    gathered = member.gather(torch.cat((own_mean, own_squares, own_mean.new_tensor([own_count]))))
    means, squares = gathered[:, :-1].chunk(2, 1)
    counts = gathered[:, -1:]
    count = counts.sum().clamp(min=1)
    mean = (means * counts).sum(0) / count
    variance = (squares + counts * (means - mean).square()).sum(0) / count
    return mean, variance, count


class _Normalise(torch.autograd.Function):
    """(x - mean) * inverse_std * weight + bias, where mean and inverse_std depend on the x of every rank."""

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
        wide = dy.float()
        normalised = (x.float() - _by_channel(mean, x)) * _by_channel(inverse_std, x)
        own = torch.stack((wide.sum(dims), (wide * normalised).sum(dims)))  # this rank's gradients of shift and scale
        # every rank's loss depends on the mean and variance that this rank's images are part of
        total = ctx.member.sum_(own.clone()) / count
        scale = inverse_std if weight is None else inverse_std * weight
        dx = (wide - _by_channel(total[0], x) - normalised * _by_channel(total[1], x)) * _by_channel(scale, x)
        d_weight = own[1] if ctx.needs_input_grad[1] else None
        d_bias = own[0] if ctx.needs_input_grad[2] else None
        return dx.to(x.dtype), d_weight, d_bias, None, None, None, None


def _by_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.view(1, -1, *(1 for _ in like.shape[2:]))
