"""Match a ticket with networks under other names, and name the remedy if it does not fit."""

import ast
from dataclasses import replace

import pytest
import torch
from torch import nn

import tickets
from tests.tickets.use.own_training import PROVENANCE, network, ticket_under
from tickets import MASK, RETRAIN, SIGNED, TicketError

FRESH_CLASSIFIER = replace(SIGNED, classifier="fresh")


def started(model: nn.Module, **options: object) -> list[torch.Tensor]:
    ticket_under().apply(model, seed=1, **options)  # type: ignore[arg-type]
    return list(model.parameters())


def same(ones: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return len(ones) == len(others) and all(torch.equal(a, b) for a, b in zip(ones, others, strict=True))


class Holder(nn.Module):
    """A network as a part of another module, as in a user's training wrapper."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def reset_parameters(self) -> None:
        tickets.reset_layers(self)


def suggested_names(error: TicketError) -> str:
    """The value of ``names`` in a message."""
    return str(error).split("names=", 1)[1].split("}", 1)[0] + "}"


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel, lambda m: nn.DataParallel(torch.compile(m))])
def test_a_wrapped_network_starts_as_the_network_does(wrap: object) -> None:
    model = wrap(network(5))  # type: ignore[operator]
    assert same(started(model), started(network(6)))
    kept = ticket_under().apply(model, seed=1)
    assert list(kept.masks) == ["0.weight", "3.weight"]


def test_a_wrapped_network_with_an_initialisation_of_its_own_uses_it() -> None:
    class SelfInitialising(Holder):
        def reset_parameters(self) -> None:
            for parameter in self.parameters():
                nn.init.normal_(parameter)

    def self_initialising() -> nn.Module:
        return SelfInitialising(a=nn.Linear(4, 4), b=nn.Linear(4, 3))

    ticket = tickets.from_model(self_initialising(), {"a.weight": torch.eye(4) > 0}, 3, PROVENANCE)
    plain, wrapped = self_initialising(), nn.DataParallel(self_initialising())
    ticket.apply(plain, seed=1)
    ticket.apply(wrapped, seed=1)
    assert same(list(plain.parameters()), list(wrapped.parameters()))


def test_a_network_of_which_a_part_is_compiled_needs_no_mapping() -> None:
    model = network()
    model[0] = torch.compile(model[0])
    assert "0._orig_mod.weight" in dict(model.named_parameters())
    assert same(started(model), started(network()))


def test_a_ticket_of_a_wrapped_network_fits_the_plain_one() -> None:
    ticket = ticket_under()
    wrapped = replace(ticket, tensors={f"module.{name}": tensor for name, tensor in ticket.tensors.items()})
    model = network()
    wrapped.apply(model, seed=1)
    assert same(list(model.parameters()), started(network()))


def test_names_map_the_tickets_names_to_the_models() -> None:
    inner = network()
    model = Holder(stem=inner[0], norm=inner[1], rest=inner[3], head=inner[5])
    layers = {"0": "stem", "1": "norm", "3": "rest", "5": "head"}
    names = {f"{old}.{leaf}": f"{new}.{leaf}" for old, new in layers.items() for leaf in ("weight", "bias")}
    kept = ticket_under().apply(model, seed=1, names=names)
    assert list(kept.masks) == ["stem.weight", "rest.weight"]
    assert same(list(model.parameters()), started(network()))
    ticket_under().check_fits(model, names)


def test_trained_values_and_statistics_go_with_the_names() -> None:
    def normed() -> nn.Sequential:
        return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))

    source = normed()
    source(torch.randn(9, 4))
    ticket = tickets.from_model(source, {"0.weight": torch.ones(4, 4) > 0}, 3, PROVENANCE)
    model = Holder(net=normed())
    names = {name: f"net.{name}" for name in ticket.tensors}
    ticket.apply(model, transfer=RETRAIN, trained=source.state_dict(), names=names)
    assert all(torch.equal(model.state_dict()[f"net.{name}"], value) for name, value in source.state_dict().items())


def test_a_common_prefix_in_the_model_is_named_and_both_remedies_work() -> None:
    model = Holder(net=network())
    with pytest.raises(TicketError, match=r'the model has "net\." before each of the names in the ticket') as refused:
        started(model)
    ticket = ticket_under()
    expected = started(network())
    assert 'model.get_submodule("net")' in str(refused.value)
    ticket.apply(model.get_submodule("net"), seed=1)
    assert same(list(model.parameters()), expected)
    names = eval(suggested_names(refused.value), {"ticket": ticket})
    assert same(started(Holder(net=network()), names=names), expected)


def test_a_common_prefix_in_the_ticket_is_named_and_its_remedy_works() -> None:
    ticket = ticket_under()
    longer = replace(ticket, tensors={f"net.{name}": tensor for name, tensor in ticket.tensors.items()})
    model = network()
    with pytest.raises(TicketError, match=r'the ticket has "net\." before each of the names in the model') as refused:
        longer.apply(model, seed=1)
    longer.apply(model, seed=1, names=eval(suggested_names(refused.value), {"ticket": longer}))
    assert same(list(model.parameters()), started(network()))


def test_a_renamed_layer_is_reported_with_layers_of_its_shape_and_a_mapping_to_copy() -> None:
    inner = network()
    model = nn.Sequential()
    for name, part in zip(("0", "1", "2", "third", "4", "5"), inner, strict=True):
        model.add_module(name, part)
    with pytest.raises(
        TicketError, match=r"^3\.weight: .*no such parameter; of the same shape: third\.weight;"
    ) as refused:
        started(model)
    assert ast.literal_eval(suggested_names(refused.value)) == {"3.weight": "third.weight"}
    names = {"3.weight": "third.weight", "3.bias": "third.bias"}
    assert same(started(model, names=names), started(network()))


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ({"0.wait": "0.weight"}, r"0\.wait: the keys of names are names in the ticket.* nearest: 0\.weight"),
        ({"0.weight": "0.wait"}, r"0\.weight: names calls it 0\.wait, and the model has no such .* shape: 0\.weight"),
        ({"0.weight": "3.weight"}, r"3\.weight and 0\.weight both match the model's 3\.weight"),
        ({"0.bias": "3.bias", "3.bias": "0.bias"}, r"0\.bias: the ticket has shape \(5,\), the model's 3\.bias \(6,\)"),
    ],
)
def test_a_wrong_mapping_is_refused(names: dict[str, str], sentence: str) -> None:
    model = network()
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(TicketError, match=sentence):
        started(model, names=names)
    assert same(before, list(model.parameters()))


def test_a_classifier_for_other_classes_is_named_and_may_be_fresh() -> None:
    with pytest.raises(TicketError, match=r"5\.weight: .*\(3, 6\), the model \(100, 6\); .* for 3 classes.*\"fresh\""):
        started(network(classes=100))
    one, other = network(classes=100), network()
    ticket_under().apply(one, seed=1, transfer=FRESH_CLASSIFIER)
    ticket_under().apply(other, seed=1, transfer=FRESH_CLASSIFIER)
    assert same(list(one.parameters())[:-2], list(other.parameters())[:-2])
    fresh = network(classes=100)
    tickets.reinitialise_(fresh, 1)
    assert torch.equal(one[5].weight, fresh[5].weight)
    ticket_under().apply(network(classes=100), seed=1, transfer=MASK)


def test_a_renamed_classifier_is_reported_and_can_be_mapped() -> None:
    model = Holder(**{str(index): part for index, part in enumerate(network()[:5])}, head=nn.Linear(6, 9))
    with pytest.raises(TicketError, match=r"^5\.weight: the model has no such parameter; .*it is the classifier"):
        started(model)
    with pytest.raises(
        TicketError, match=r"head\.weight: the ticket has no such tensor; .*the new classifier"
    ) as refused:
        started(model, transfer=FRESH_CLASSIFIER)
    names = ast.literal_eval(suggested_names(refused.value))
    assert names == {"5.weight": "head.weight"}
    expected = started(network(), transfer=FRESH_CLASSIFIER)
    assert same(started(model, transfer=FRESH_CLASSIFIER, names=names)[:-2], expected[:-2])


def test_a_model_may_have_several_classifier_layers_or_none() -> None:
    expected = started(network(), transfer=FRESH_CLASSIFIER)[:-2]
    model = network()
    model[5] = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 9))
    with pytest.raises(TicketError, match="new classifier"):
        started(model, transfer=FRESH_CLASSIFIER)
    assert same(started(network()[:5], transfer=FRESH_CLASSIFIER), expected)


def test_a_backbone_with_another_classifier_is_reported_as_such() -> None:
    model = Holder(backbone=network()[:5], head=nn.Linear(6, 9))
    with pytest.raises(TicketError, match=r'the model has "backbone\." before each .*get_submodule\("backbone"\)'):
        started(model)
    with pytest.raises(TicketError, match=r"^5\.weight: the model has no such parameter; .*it is the classifier"):
        started(model.get_submodule("backbone"))
    expected = started(network(), transfer=FRESH_CLASSIFIER)[:-2]
    assert same(started(model.get_submodule("backbone"), transfer=FRESH_CLASSIFIER), expected)


def test_a_deeper_network_is_refused_though_every_tensor_of_the_ticket_fits() -> None:
    model = network()
    model.add_module("6", nn.Linear(3, 3))
    for transfer in (SIGNED, FRESH_CLASSIFIER):
        with pytest.raises(TicketError, match=r"6\.weight: the ticket has no such tensor; nearest.*made for"):
            started(model, transfer=transfer)
