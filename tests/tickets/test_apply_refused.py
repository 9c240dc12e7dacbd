"""``Ticket.apply`` refuses in one sentence and leaves the model unchanged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

import tickets
from tests.tickets.use.own_training import network, ticket_under
from tickets import RETRAIN, TicketError
from tickets.network.initialisation import check_redrawable


class InConstructor(nn.Module):
    """Initialises its layers in the constructor."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = network()
        nn.init.normal_(self.layers[0].weight, std=9)


class Again(InConstructor):
    """Can be initialised again."""

    def reset_parameters(self) -> None:
        tickets.reset_layers(self)
        nn.init.normal_(self.layers[0].weight, std=9)


def values(model: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


@pytest.mark.parametrize("model", [resnet18(num_classes=3), nn.Sequential(InConstructor()), InConstructor()])
def test_a_constructors_own_initialisation_is_not_guessed(model: nn.Module) -> None:
    before = values(model)
    with pytest.raises(TicketError, match=r"a (ResNet|InConstructor) initialises in its constructor.*manual_seed\(4\)"):
        check_redrawable(model, 4)
    assert all(map(torch.equal, values(model), before))


def test_apply_refuses_a_seed_for_a_model_that_cannot_be_redrawn() -> None:
    names = {name: f"layers.{name}" for name in ticket_under().tensors}
    model = InConstructor()
    before = values(model)
    with pytest.raises(TicketError, match="initialises in its constructor"):
        ticket_under().apply(model, seed=4, names=names)
    assert all(map(torch.equal, values(model), before))
    ticket_under().apply(model, names=names).check()
    ticket_under().apply(Again(), seed=4, names=names).check()


@pytest.mark.parametrize("model", [Again(), nn.Sequential(nn.Sequential(Again()), nn.Linear(3, 3))])
def test_a_class_with_reset_parameters_is_redrawn_at_any_depth(model: nn.Module) -> None:
    tickets.reinitialise_(model, 4)
    (weight,) = (p for name, p in model.named_parameters() if name.endswith("layers.0.weight"))
    assert weight.std() > 4


def test_reinitialisation_restores_all_generators(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()

    def on_all_gpus(seed: int) -> None:
        raise AssertionError("all ranks would draw alike")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", on_all_gpus)
    monkeypatch.setattr(torch, "manual_seed", on_all_gpus)
    state = torch.get_rng_state()
    tickets.reinitialise_(model, 4)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("trained", "sentence"),
    [
        (None, "give the trained state dict with this tensor"),
        ({}, "give the trained state dict with this tensor"),
        ({name: value[:1] for name, value in network().state_dict().items()}, "the trained tensor has shape"),
    ],
)
def test_a_transfer_without_its_trained_values_changes_nothing(
    trained: dict[str, Tensor] | None, sentence: str
) -> None:
    model = network()
    before = values(model)
    with pytest.raises(TicketError, match=sentence):
        ticket_under().apply(model, seed=1, transfer=RETRAIN, trained=trained)
    assert all(map(torch.equal, values(model), before))


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (network().state_dict(), {}, "a torch.nn.Module, not to a OrderedDict"),
        (network().to("meta"), {}, "on the meta device"),
        (network(), {"transfer": "masks"}, r'say transfer=tickets.TRANSFERS\["mask"\]'),
    ],
)
def test_something_other_than_a_model_or_a_transfer_is_refused(
    model: Any, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(TicketError, match=sentence):
        ticket_under().apply(model, **options)


def test_a_layer_of_another_name_and_shape_finds_the_nearest() -> None:
    names = [str(number) for number in range(len(network()))]
    model = nn.Sequential()
    for name, layer in zip(names, network(), strict=True):
        model.add_module("first" if name == "0" else name, nn.Linear(4, 9) if name == "0" else layer)
    with pytest.raises(TicketError, match=r"0\.weight: .*none has its shape \(5, 4\); nearest: first\.weight \(9, 4\)"):
        ticket_under().apply(model)
