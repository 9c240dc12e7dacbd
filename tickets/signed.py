"""The signs and the mask of one parameter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tickets.errors import TicketError
from tickets.roles import Role


@dataclass(frozen=True, eq=False, repr=False)
class SignedTensor:
    """Signs and mask of one parameter; TicketError if types, shapes or values contradict each other.

    Attributes:
        sign: int8 in {-1, 0, +1}; the parameter's shape.
        mask: bool, which weights survive; the same shape. The mask cannot be inferred from ``sign != 0``, since a
            surviving weight may be exactly 0. (The released code infers it, and so prunes such weights.)
    """

    role: Role
    sign: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        if self.sign.dtype != torch.int8 or self.mask.dtype != torch.bool:
            raise TicketError(f"a sign is int8 and a mask bool, got {self.sign.dtype} and {self.mask.dtype}")
        if self.sign.shape != self.mask.shape:
            raise TicketError(f"sign {tuple(self.sign.shape)} and mask {tuple(self.mask.shape)} differ in shape")
        if self.sign.numel() and int(self.sign.abs().max()) > 1:
            raise TicketError("a sign is -1, 0 or +1")
        if bool((self.sign != 0).logical_and(~self.mask).any()):
            raise TicketError("a pruned weight has a sign")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SignedTensor)
            and self.role == other.role
            and torch.equal(self.sign, other.sign)
            and torch.equal(self.mask, other.mask)
        )

    __hash__ = None  # type: ignore[assignment]  # tensors are compared by value

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.sign.shape)) or "scalar"
        return f"SignedTensor({self.role}, {shape}, {int(self.mask.sum()):,} of {self.mask.numel():,} alive)"
