"""``Ticket.apply`` on networks that carry the masks of other libraries."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.ao.pruning import WeightNormSparsifier
from torch.nn.functional import linear
from torch.nn.utils import prune

import tickets
from tests.tickets.use.own_training import MASKED, batches, network, ticket_under
from tickets import TicketError


class Masked(nn.Linear):
    """A layer that multiplies its weight by a mask of any name, as TurboPrune's and the released code's do."""

    leaf: str

    def reset_parameters(self) -> None:
        super().reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight * getattr(self, self.leaf), self.bias)


class OpenLth(nn.Module):
    """open_lth's PrunedModel: the wrapper holds the masks, and zeroes weights before each pass."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        for name in MASKED:
            self.register_buffer("mask_" + name.replace(".", "___"), torch.ones_like(model.get_parameter(name)))

    reset_parameters = tickets.reset_layers

    def forward(self, x: Tensor) -> Tensor:
        for name in MASKED:
            self.model.get_parameter(name).data *= self.get_buffer("mask_" + name.replace(".", "___"))
        return self.model(x)


def with_layers(leaf: str, *, as_parameter: bool) -> nn.Module:
    model = network()
    for name in MASKED:
        layer = model.get_submodule(name.removesuffix(".weight"))
        layer.__class__, layer.leaf = Masked, leaf
        mask = torch.ones_like(layer.weight)
        if as_parameter:
            layer.register_parameter(leaf, nn.Parameter(mask, requires_grad=False))
        else:
            layer.register_buffer(leaf, mask.bool())
    return model


def pruned_by_torch() -> nn.Module:
    model = network()
    for name in MASKED:
        prune.identity(model.get_submodule(name.removesuffix(".weight")), "weight")
    prune.identity(model[5], "bias")
    return model


CARRIERS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "torch.nn.utils.prune": (pruned_by_torch, "0.weight_mask"),
    "released": (lambda: with_layers("fixed_m", as_parameter=True), "0.fixed_m"),
    "turboprune": (lambda: with_layers("mask", as_parameter=False), "0.mask"),
    "unknown": (lambda: with_layers("my_mask", as_parameter=False), "0.my_mask"),
    "open_lth": (lambda: OpenLth(network()), "mask_0___weight"),
}


def mask_in(model: nn.Module, name: str) -> Tensor:
    return dict([*model.named_parameters(), *model.named_buffers()])[name]


def names_in(model: nn.Module) -> dict[str, str] | None:
    return {name: f"model.{name}" for name in ticket_under().tensors} if isinstance(model, OpenLth) else None


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_network_with_others_masks_starts_and_trains_as_the_plain_one(carrier: str, seed: int | None) -> None:
    make, mask_name = CARRIERS[carrier]
    outputs = []
    for model in (network(), make()):
        kept = ticket_under().apply(model, seed=seed, names=names_in(model))
        if isinstance(model, nn.Sequential):  # torch.nn.utils.prune computes it of two tensors
            assert torch.equal(model[0].weight == 0, ~ticket_under().masks["0.weight"])
        optimizer = kept.guard(torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1, 0.9))
        for images, labels in batches(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        kept.check()
        outputs.append(model(images))
    assert torch.equal(mask_in(model, mask_name).bool(), ticket_under().masks["0.weight"])
    torch.testing.assert_close(outputs[0], outputs[1])


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_mask_that_prunes_survivors_is_in_the_way(carrier: str) -> None:
    make, mask_name = CARRIERS[carrier]
    model = make()
    with torch.no_grad():
        mask_in(model, mask_name).view(-1)[:3] = 0  # the ticket keeps the first and the third weight
    before = [tensor.clone() for tensor in model.state_dict().values()]
    weight = {"torch.nn.utils.prune": r"0\.weight_orig", "open_lth": r"model\.0\.weight"}.get(carrier, r"0\.weight")
    sentence = rf"^{mask_name.replace('.', '[.]')} is the mask .*prunes 2 weights of {weight} .*fill it with ones"
    with pytest.raises(TicketError, match=sentence):
        ticket_under().apply(model, seed=5, names=names_in(model))
    assert all(map(torch.equal, model.state_dict().values(), before))


def test_a_soft_mask_is_in_the_way() -> None:
    model = network()
    model[0].register_buffer("mask", torch.full((5, 4), 0.5))
    with pytest.raises(TicketError, match=r"0\.mask masks 0\.weight with values other than 0 and 1"):
        ticket_under().apply(model)


def test_a_dense_parameters_mask_stays_whole_and_other_buffers_are_left_alone() -> None:
    model = pruned_by_torch()
    model[0].register_buffer("causal_mask", torch.tril(torch.ones(4, 4)))
    ticket_under().apply(model)
    assert bool(model[5].bias_mask.all())
    assert torch.equal(model[0].causal_mask, torch.tril(torch.ones(4, 4)))
    model[5].bias_mask[1] = 0
    with pytest.raises(TicketError, match=r"5\.bias_mask is the mask .*prunes 1 weights of 5\.bias_orig"):
        ticket_under().apply(model)


def test_the_mask_of_a_parametrization_is_found() -> None:
    model = network()
    sparsifier = WeightNormSparsifier(sparsity_level=0.5)
    sparsifier.prepare(model, [{"tensor_fqn": "0.weight"}])
    names = {"0.weight": "0.parametrizations.weight.original"}
    ticket_under().apply(model, names=names)
    assert torch.equal(model[0].weight != 0, ticket_under().masks["0.weight"])
    sparsifier.step()
    with pytest.raises(TicketError, match=r"0\.parametrizations\.weight\.0\.mask is the mask of another pruning"):
        ticket_under().apply(model, names=names)


def test_transfers_keep_trained_statistics_beside_masks() -> None:
    trained = network(3)
    model = pruned_by_torch()
    ticket_under().apply(model, transfer=tickets.RETRAIN, trained=trained.state_dict())
    assert torch.equal(model[3].weight, trained[3].weight.abs() * ticket_under().tensors["3.weight"].sign)
