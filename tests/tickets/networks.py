"""Tickets of whole networks: random ones, and one of a small trained network."""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

import tickets
from tickets import Provenance, Role, SignedTensor, Ticket

PROVENANCE = Provenance("cifar100", "resnet50", "aws", 15, 0.035, "sound", "0123abcd")


@st.composite
def signed(draw: st.DrawFn, role: Role, shape: tuple[int, ...], *, zeros: bool) -> SignedTensor:
    """A signed tensor; pruned only if the role may be. With ``zeros``, survivors may be exactly 0."""
    size = math.prod(shape)
    values = st.sampled_from([-1, 0, 1] if zeros else [-1, 1])
    sign = torch.tensor(draw(st.lists(values, min_size=size, max_size=size)), dtype=torch.int8).view(shape)
    mask = torch.ones(shape, dtype=torch.bool)
    if role is Role.PRUNABLE:
        mask = torch.tensor(draw(st.lists(st.booleans(), min_size=size, max_size=size)), dtype=torch.bool).view(shape)
    return SignedTensor(role, sign * mask, mask)


@st.composite
def networks(draw: st.DrawFn, *, zeros: bool = True) -> Ticket:
    """A ticket as of a network: layers of any kind in any order, then a dense classifier."""
    sizes = st.integers(1, 3)
    tensors: dict[str, SignedTensor] = {}
    kinds = draw(st.lists(st.sampled_from(["norm", "linear", "conv1d", "conv2d"]), max_size=3))
    for number, kind in enumerate([*kinds, "linear", "classifier"]):
        layer = draw(st.sampled_from(["{}", "stage.{}", "a.b.{}.mask_of"])).format(number)
        out, into = draw(sizes), draw(sizes)
        shape = {"norm": (out,), "conv1d": (out, into, 2), "conv2d": (out, into, 2, 1)}.get(kind, (out, into))
        head = kind == "classifier"
        weight = {"norm": Role.NORMALIZATION, "classifier": Role.CLASSIFIER}.get(kind, Role.PRUNABLE)
        bias = weight if weight is not Role.PRUNABLE else Role.BIAS
        inexact = zeros or not (weight is Role.PRUNABLE or head)
        tensors[f"{layer}.weight"] = draw(signed(weight, shape, zeros=inexact))
        if draw(st.booleans()):
            tensors[f"{layer}.bias"] = draw(signed(bias, (out,), zeros=True))
    return Ticket(tensors, PROVENANCE)


def network() -> nn.Sequential:
    """Convolutions with and without bias, both norms, and a classifier; no parameter is 0 or 1."""
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 6),
        nn.LayerNorm(6),
        nn.Linear(6, 3),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


PRUNABLE = ("0.weight", "2.weight", "5.weight")


def random_masks(model: nn.Module, names: tuple[str, ...] = PRUNABLE) -> dict[str, Tensor]:
    """Random masks of the named weights; each prunes something."""
    masks = {name: torch.rand(model.get_parameter(name).shape) < 0.5 for name in names}
    for mask in masks.values():
        mask.view(-1)[0] = False
    return masks


def ticket_of(model: nn.Module, masks: dict[str, Tensor]) -> Ticket:
    """The model's ticket, with its true density."""
    alive, weights = sum(int(m.sum()) for m in masks.values()), sum(m.numel() for m in masks.values())
    return tickets.from_model(model, masks, 3, Provenance("tiny", "net", "aws", 3, alive / weights, "sound", "k"))
