"""Pruned weights stay zero in any training loop, and the others train as if the pruned ones did not exist."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn, optim
from torch.func import functional_call
from torch.optim import Optimizer

from tests.tickets.use.own_training import MASKED, SHAPES, SIZE, batches, network, ticket_under, train_step
from tickets import DENSE, TRANSFERS, TicketError


def muon(parameters: list[nn.Parameter]) -> Optimizer:
    """Muon, which updates matrices only."""
    return optim.Muon([parameter for parameter in parameters if parameter.dim() == 2], lr=0.05)


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], Optimizer]] = {
    "sgd": partial(optim.SGD, lr=0.3, momentum=0.9, weight_decay=5e-4),
    "nesterov": partial(optim.SGD, lr=0.3, momentum=0.9, nesterov=True, foreach=True),
    "adam": partial(optim.Adam, lr=0.05, weight_decay=1e-2),
    "adamw": partial(optim.AdamW, lr=0.05, weight_decay=0.1, amsgrad=True),
    "fused": partial(optim.AdamW, lr=0.05, fused=True),
    "rmsprop": partial(optim.RMSprop, lr=0.05, momentum=0.9, centered=True),
    "adagrad": partial(optim.Adagrad, lr=0.1),
    "lbfgs": partial(optim.LBFGS, lr=0.5, max_iter=4, line_search_fn="strong_wolfe"),
    "muon": muon,
}


class Noisy(optim.SGD):
    """SGD that adds noise to all weights, as Langevin dynamics does."""

    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        with torch.no_grad():
            for parameter in self.param_groups[0]["params"]:
                parameter += 0.01 * torch.randn_like(parameter)
        return loss


@pytest.mark.parametrize("name", OPTIMIZERS)
@given(alive=st.lists(st.booleans(), min_size=SIZE, max_size=SIZE))
@settings(max_examples=6)
def test_any_mask_trains_as_a_dense_network_whose_forward_is_masked(name: str, alive: list[bool]) -> None:
    flat = torch.tensor(alive)
    masks = {"0.weight": flat[:20].view(SHAPES["0.weight"]), "3.weight": flat[20:].view(SHAPES["3.weight"])}
    model, reference = network(), network()
    kept = ticket_under(masks).apply(model, seed=1)
    optimizer = kept.guard(OPTIMIZERS[name](list(model.parameters())))
    reference.load_state_dict(model.state_dict())
    dense = dict(reference.named_parameters())
    with torch.no_grad():
        for weight, mask in masks.items():
            dense[weight][~mask] = 7.0  # whatever they are, they take no part
    theirs = OPTIMIZERS[name](list(dense.values()))

    def masked_forward(x: Tensor) -> Tensor:
        return functional_call(
            reference, {key: w * masks[key] if key in masks else w for key, w in dense.items()}, (x,)
        )

    for x, y in batches(3):
        train_step(model, list(model.parameters()), optimizer, x, y)
        train_step(masked_forward, list(dense.values()), theirs, x, y)
        for key, weight in model.named_parameters():
            mask = masks.get(key, torch.ones_like(weight, dtype=torch.bool))
            assert not weight[~mask].any()
            assert torch.equal(weight[mask], dense[key][mask]), key
    assert kept.check() == kept.density == sum(alive) / SIZE


@pytest.mark.parametrize("rule", [Noisy, muon])
def test_an_optimizer_that_revives_is_caught_and_guarded(rule: Any) -> None:
    free, model = network(), network()
    unguarded = ticket_under().apply(free, seed=1)
    kept = ticket_under().apply(model, seed=1)
    optimizer = kept.guard(rule(list(model.parameters())))
    for x, y in batches(3):
        train_step(free, list(free.parameters()), rule(list(free.parameters())), x, y)
        train_step(model, list(model.parameters()), optimizer, x, y)
        assert kept.check() == 0.5
    with pytest.raises(
        TicketError, match=r"^0\.weight: 10 of 10 pruned weights are not zero: the density is 1, .* 0\.5"
    ):
        unguarded.check()
    assert unguarded.density == 1.0


def test_check_names_the_first_layer_and_a_surviving_zero_counts_as_surviving() -> None:
    model = network()
    kept = ticket_under().apply(model, seed=1)
    with torch.no_grad():
        model[0].weight[0, 0] = 0.0
        assert kept.check() == 0.5
        model[3].weight[0, 1] = float("nan")
    with pytest.raises(TicketError, match=r"^3\.weight: 1 of 15 pruned weights are not zero: the density is 0\.52"):
        kept.check()


def test_pruned_gradients_are_zero_before_anybody_sees_them() -> None:
    model = network()
    kept = ticket_under().apply(model, seed=1)
    kept.guard(optim.SGD(model.parameters()))
    for x, y in batches(2):  # accumulated
        nn.functional.cross_entropy(model(x), y).backward()
        for name, mask in kept.masks.items():
            gradient = model.get_parameter(name).grad
            assert gradient is not None
            assert gradient[mask].all()
            assert not gradient[~mask].any()


def test_an_overflow_in_a_pruned_weight_skips_no_step_of_the_loss_scaler() -> None:
    model = network()
    kept = ticket_under().apply(model, seed=1)
    optimizer = kept.guard(optim.SGD(model.parameters(), lr=0.1))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    before = model[0].weight.detach().clone()
    loss = model(torch.ones(2, 4)).sum() + (model[0].weight * 3e38 * ~kept.masks["0.weight"]).sum()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**16
    assert not torch.equal(model[0].weight, before)
    assert kept.check() == 0.5


def step(model: nn.Module, optimizer: Optimizer) -> None:
    """A batch in the model's precision and on its device."""
    (x, y), like = next(batches(1)), next(model.parameters())
    train_step(model, list(model.parameters()), optimizer, x.to(like), y.to(like.device))


@pytest.mark.parametrize(
    "moved",
    [
        {"dtype": torch.float64},
        {"dtype": torch.bfloat16},
        pytest.param({"device": "cuda"}, marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
    ],
)
def test_masks_follow_a_model_that_is_moved(moved: dict[str, Any]) -> None:
    model = network()
    kept = ticket_under().apply(model, seed=1)
    optimizer = kept.guard(Noisy(model.parameters(), lr=0.1))
    model.to(**moved)
    step(model, optimizer)
    assert kept.check() == 0.5
    weight = model[0].weight
    assert weight.grad is not None
    assert not weight.grad[~kept.masks["0.weight"]].any()


def test_guard_zeroes_newly_loaded_weights_and_hooks_the_current_parameters() -> None:
    model = network()
    kept = ticket_under().apply(model, seed=1)
    model.load_state_dict(network(3).state_dict(), assign=True)  # dense, and other Parameter objects
    with pytest.raises(TicketError, match=r"^0\.weight"):
        kept.check()
    optimizer = kept.guard(optim.SGD(model.parameters(), lr=0.1))
    assert kept.check() == 0.5
    step(model, optimizer)
    assert model[0].weight.grad is not None
    assert not model[0].weight.grad[~kept.masks["0.weight"]].any()


def test_loading_into_a_guarded_network_leaves_it_guarded() -> None:
    model, trained = network(), network()
    kept = ticket_under().apply(model, seed=1)
    ticket_under().apply(trained, seed=2)
    optimizer = kept.guard(Noisy(model.parameters(), lr=0.1))
    model.load_state_dict(trained.state_dict())
    assert kept.check() == 0.5
    step(model, optimizer)
    assert kept.check() == 0.5


def test_a_deep_copy_is_a_plain_network() -> None:
    model = network()
    kept = ticket_under().apply(model, seed=1)
    kept.guard(optim.SGD(model.parameters()))
    twin = copy.deepcopy(model)
    step(twin, optim.SGD(twin.parameters(), lr=0.1))
    assert twin[0].weight.all()
    assert kept.check() == 0.5
    again = ticket_under().apply(twin)  # how to guard the copy: a handle of its own, then the weights once more
    twin.load_state_dict(model.state_dict())
    step(twin, again.guard(Noisy(twin.parameters(), lr=0.1)))
    assert again.check() == 0.5


def test_a_copy_of_the_handle_together_with_its_network_guards_the_copy() -> None:
    model = network()
    kept = ticket_under().apply(model, seed=1)
    kept.guard(optim.SGD(model.parameters()))
    twin, theirs = copy.deepcopy((model, kept))
    optimizer = theirs.guard(optim.SGD(twin.parameters(), lr=0.1, momentum=0.9))
    step(twin, optimizer)
    assert twin[0].weight.grad is not None
    assert not twin[0].weight.grad[~theirs.masks["0.weight"]].any()
    assert theirs.check() == 0.5


def test_a_frozen_layer_that_is_thawed_later_is_guarded() -> None:
    model = network()
    model[0].requires_grad_(False)
    kept = ticket_under().apply(model, seed=1)
    optimizer = kept.guard(optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    assert not model[0].weight.requires_grad
    step(model, optimizer)
    model[0].requires_grad_(True)
    step(model, optimizer)
    momentum = optimizer.state[model[0].weight]["momentum_buffer"]
    assert not momentum[~kept.masks["0.weight"]].any()
    assert kept.check() == 0.5


def test_several_optimizers_each_guard_their_own_weights() -> None:
    model = network()
    kept = ticket_under().apply(model, seed=1)
    first, second = (kept.guard(Noisy(model[layer].parameters(), lr=0.1)) for layer in (0, 3))
    loss = model(torch.ones(2, 4)).square().sum()
    first.step()
    loss.backward()  # it needs the second layer's weight as it was: the first one's step must not have written to it
    second.step()
    assert kept.check() == 0.5


def test_a_network_guarded_again_has_one_hook_per_weight_and_remove_takes_all_off() -> None:
    model = network()
    names = list(model.state_dict())
    kept = ticket_under().apply(model, seed=1)
    optimizers = [kept.guard(optim.SGD(model.parameters(), lr=0.1)) for _ in range(3)]
    assert [len(model.get_parameter(name)._backward_hooks or {}) for name in MASKED] == [1, 1]
    assert list(model.state_dict()) == names
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    kept.remove()
    step(model, optimizers[0])
    assert model[0].weight.all()


def test_a_dense_start_has_no_masks() -> None:
    model = network()
    kept = ticket_under().apply(model, seed=1, transfer=DENSE)
    step(model, kept.guard(optim.SGD(model.parameters(), lr=0.1)))
    assert (kept.masks, kept.check()) == ({}, 1.0)


def test_masks_are_those_that_the_transfer_drew() -> None:
    model = network()
    kept = ticket_under().apply(model, seed=1, transfer=TRANSFERS["shuffled"])
    assert all(torch.equal(mask, model.get_parameter(name) != 0) for name, mask in kept.masks.items())
    assert not torch.equal(kept.masks["3.weight"], ticket_under().masks["3.weight"])
    assert kept.check() == ticket_under().density
