"""Transfers: each test fails if one rule of docs/method.md is broken."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import tickets
from tickets import (
    DENSE,
    MASK,
    RETRAIN,
    SIGN_SOURCES,
    SIGNED,
    TRANSFERS,
    Provenance,
    Ticket,
    TicketError,
    Transfer,
    sign_source,
    transfer_,
)
from tickets.transfers.transfer import SignRule

PROVENANCE = Provenance("tiny", "net", "aws", 3, 0.5, "sound", "k")
PRUNABLE, BIAS, SCALE, SHIFT, CLASSIFIER = "0.weight", "0.bias", "1.weight", "1.bias", "4.weight"


def network(seed: int) -> nn.Sequential:
    """Convolution with bias, batch norm and a classifier; no parameter is 0 or 1."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )


def trained(seed: int = 9) -> tuple[nn.Sequential, dict[str, Tensor], Ticket]:
    """A network after a round: psi and statistics have moved, pruned weights are zero."""
    model = network(seed)
    mask = torch.rand(model[0].weight.shape) < 0.5
    with torch.no_grad():
        model[1].weight.normal_()
        model[1].bias.normal_()
        model[1].running_mean.normal_()
        model[1].running_var.uniform_(0.5, 2)
        model[0].weight *= mask
    return model, dict(model.state_dict()), tickets.from_model(model, {PRUNABLE: mask}, 3, PROVENANCE)


def start(transfer: Transfer, seed: int = 1) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor], Ticket]:
    """The state dicts (fresh, started, trained) and the ticket."""
    _, state, ticket = trained()
    model = network(seed)
    fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    masks = transfer_(model, transfer, ticket.tensors, state, torch.Generator().manual_seed(0))
    assert set(masks) == (set() if transfer == DENSE else {PRUNABLE})
    return fresh, dict(model.state_dict()), state, ticket


def test_signed_transfer_takes_signs_only() -> None:
    fresh, got, state, ticket = start(SIGNED)
    sign = ticket.tensors[PRUNABLE].sign
    assert torch.equal(got[PRUNABLE], fresh[PRUNABLE].abs() * sign)
    assert torch.equal(got[BIAS], fresh[BIAS].abs() * state[BIAS].sign())
    for name in (CLASSIFIER, "4.bias"):
        assert torch.equal(got[name], fresh[name].abs() * state[name].sign())
        assert got[name].count_nonzero() == got[name].numel()  # the classifier is dense
    for name in (SCALE, SHIFT, "1.running_mean", "1.running_var"):
        assert torch.equal(got[name], fresh[name])


def test_magnitudes_are_not_rescaled_for_density() -> None:
    fresh, got, _, ticket = start(SIGNED)
    alive = ticket.masks[PRUNABLE]
    assert torch.equal(got[PRUNABLE].abs()[alive], fresh[PRUNABLE].abs()[alive])


def test_mask_transfer_takes_the_mask_only() -> None:
    fresh, got, _, ticket = start(MASK)
    assert torch.equal(got[PRUNABLE], fresh[PRUNABLE] * ticket.masks[PRUNABLE])
    assert all(torch.equal(got[name], fresh[name]) for name in got if name != PRUNABLE)


def test_retrain_takes_everything() -> None:
    _, got, state, _ = start(RETRAIN)
    assert all(torch.equal(got[name], state[name]) for name in got)


def test_dense_takes_nothing() -> None:
    fresh, got, _, _ = start(DENSE)
    assert all(torch.equal(got[name], fresh[name]) for name in got)


def test_psi_kept_and_psi_signs() -> None:
    _, got, state, _ = start(TRANSFERS["signed_psi_kept"])
    assert torch.equal(got[SCALE], state[SCALE])
    assert torch.equal(got[SHIFT], state[SHIFT])
    _, got, state, _ = start(TRANSFERS["signed_psi_signs"])  # figure 5: scale 1 and shift 0.1, with trained signs
    assert torch.equal(got[SCALE], state[SCALE].sign())
    assert torch.allclose(got[SHIFT], 0.1 * state[SHIFT].sign())


def test_random_signs_keep_mask_and_magnitudes() -> None:
    fresh, got, _, ticket = start(TRANSFERS["random_signs"])
    assert torch.equal(got[PRUNABLE].abs(), fresh[PRUNABLE].abs() * ticket.masks[PRUNABLE])
    assert not torch.equal(got[PRUNABLE].sign().to(torch.int8), ticket.tensors[PRUNABLE].sign)


@pytest.fixture
def own_signs() -> Iterator[Callable[[SignRule], Transfer]]:
    """Register a sign source called "own", and return its transfer."""

    def register(rule: SignRule) -> Transfer:
        sign_source("own", version=2)(rule)
        return replace(TRANSFERS["own_signs"], signs_version=2)

    yield register
    del SIGN_SOURCES["own"], TRANSFERS["own_signs"]


def test_a_sign_source_registers_a_signed_transfer(own_signs: Callable[[SignRule], Transfer]) -> None:
    transfer = own_signs(lambda weight, _: -weight.sign)
    assert replace(transfer, signs="ticket", signs_version=1) == SIGNED
    (fresh, got, _, ticket), (_, signed, _, _) = start(transfer), start(SIGNED)
    assert torch.equal(got[PRUNABLE], -fresh[PRUNABLE].abs() * ticket.tensors[PRUNABLE].sign)
    assert all(torch.equal(got[name], signed[name]) for name in got if name != PRUNABLE)
    with pytest.raises(TicketError, match="no sign source own of version 1 is registered"):
        start(replace(transfer, signs_version=1))


@pytest.mark.parametrize(
    "wrong",
    [lambda sign: sign.float(), lambda sign: 2 * sign, lambda sign: sign[:1]],
    ids=["floats", "twos", "another shape"],
)
def test_values_that_are_no_signs_are_refused(
    own_signs: Callable[[SignRule], Transfer], wrong: Callable[[Tensor], Tensor]
) -> None:
    with pytest.raises(TicketError, match=r"the sign source own gives .* return int8 of -1, 0 and 1"):
        start(own_signs(lambda weight, _: wrong(weight.sign)))


def test_shuffled_keeps_counts_per_layer() -> None:
    _, got, _, ticket = start(TRANSFERS["shuffled"])
    sign = got[PRUNABLE].sign().to(torch.int8)
    assert not torch.equal(sign, ticket.tensors[PRUNABLE].sign)
    assert sorted(sign.flatten().tolist()) == sorted(ticket.tensors[PRUNABLE].sign.flatten().tolist())


def test_flipped_quarter_flips_that_share() -> None:
    _, got, _, ticket = start(TRANSFERS["flipped_quarter"])
    differ = (got[PRUNABLE].sign().to(torch.int8) != ticket.tensors[PRUNABLE].sign).sum()
    assert int(differ) == round(0.25 * int(ticket.masks[PRUNABLE].sum()))


def test_trained_magnitudes_may_carry_fresh_signs() -> None:
    fresh, got, state, ticket = start(replace(MASK, magnitudes="trained"))
    assert torch.equal(got[PRUNABLE], state[PRUNABLE].abs() * fresh[PRUNABLE].sign() * ticket.masks[PRUNABLE])


def test_apply_draws_the_seed_anew_and_repeats_itself() -> None:
    _, _, ticket = trained()
    one, two, other = network(1), network(2), network(1)
    ticket.apply(one, seed=5)
    ticket.apply(two, seed=5)
    ticket.apply(other, seed=6)
    assert all(torch.equal(one.state_dict()[name], two.state_dict()[name]) for name in one.state_dict())
    assert not torch.equal(one[0].weight, other[0].weight)


def test_apply_leaves_the_global_generator_alone() -> None:
    _, _, ticket = trained()
    model = network(1)
    before = torch.random.get_rng_state()
    ticket.apply(model, seed=5)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_transfer_without_a_mask_is_dense() -> None:
    with pytest.raises(ValueError, match="dense start"):
        Transfer(mask="none", signs="ticket")


def test_a_transfer_without_its_sources_says_what_is_missing() -> None:
    with pytest.raises(TicketError, match="from a ticket; give one"):
        transfer_(network(1), SIGNED, None, None, torch.Generator())
    with pytest.raises(TicketError, match=r"0\.weight: this transfer keeps trained values"):
        transfer_(network(1), RETRAIN, trained()[2].tensors, None, torch.Generator())


def test_every_part_may_name_another_network() -> None:
    _, state, ticket = trained()
    other = network(5)
    parts = ("signs", "magnitudes", "psi", "classifier", "biases", "statistics")
    for part in parts:
        model, fresh = network(1), network(1).state_dict()
        origin = {"epoch_3": tickets.Origin(other.state_dict())}
        transfer_(model, Transfer(**{part: "epoch_3"}), ticket.tensors, state, torch.Generator(), origin)
        theirs = other.state_dict()
        names = {"psi": (SCALE, SHIFT), "classifier": (CLASSIFIER, "4.bias"), "biases": (BIAS,)}
        taken = {**names, "statistics": ("1.running_mean", "1.running_var")}.get(part, ())
        mask = ticket.tensors[PRUNABLE].mask
        sign = theirs[PRUNABLE].sign() if part == "signs" else fresh[PRUNABLE].sign()
        size = theirs[PRUNABLE].abs() if part == "magnitudes" else fresh[PRUNABLE].abs()
        for name, tensor in model.state_dict().items():
            expected = theirs[name] if name in taken else fresh[name]
            assert torch.equal(tensor, size * sign * mask if name == PRUNABLE else expected), (part, name)


def test_a_survivor_without_a_sign_in_a_sparser_round_takes_its_fresh_one() -> None:
    _, state, ticket = trained()
    model, fresh = network(1), network(1).state_dict()[PRUNABLE]
    sparser = {**state, PRUNABLE: torch.zeros_like(state[PRUNABLE])}
    sparser[PRUNABLE][0] = -1
    transfer = Transfer(signs="round_5")
    transfer_(model, transfer, ticket.tensors, state, torch.Generator(), {"round_5": tickets.Origin(sparser)})
    sign = fresh.sign()
    sign[0] = -1
    assert torch.equal(model.state_dict()[PRUNABLE], fresh.abs() * sign * ticket.masks[PRUNABLE])
    # which version 1 began at zero; nothing else has another key
    assert transfer.signs_version == 2
    assert Transfer(signs="epoch_0").signs_version == Transfer(mask="round_5", signs="round_5").signs_version == 1
    assert {each.signs_version for each in TRANSFERS.values()} == {1}


def test_a_denser_rounds_mask_gives_the_tickets_signs_and_fresh_ones_where_it_has_none() -> None:
    _, state, ticket = trained()
    model, fresh = network(1), network(1).state_dict()[PRUNABLE]
    whole = tickets.from_model(network(9), {PRUNABLE: torch.ones_like(fresh, dtype=torch.bool)}, 3, PROVENANCE)
    transfer = Transfer(mask="round_2", signs="ticket")
    denser = {"round_2": tickets.Origin(network(9).state_dict(), whole.tensors)}
    transfer_(model, transfer, ticket.tensors, state, torch.Generator(), denser)
    signed, got = ticket.tensors[PRUNABLE], model.state_dict()[PRUNABLE]
    sign = torch.where(signed.sign == 0, fresh.sign(), signed.sign.to(fresh))
    assert (signed.sign == 0).any()
    assert torch.equal(got, fresh.abs() * sign)
    assert transfer.signs_version == 2


def test_magnitudes_of_a_later_round_than_the_masks_do_not_fit() -> None:
    assert "magnitudes of round 7 are zero" in Transfer(mask="round_5", magnitudes="trained").unfit_at(7)
    assert "the mask of round 4 keeps more" in Transfer(magnitudes="round_5").unfit_at(4)
    for fitting in (Transfer(magnitudes="round_3"), Transfer(mask="round_5", magnitudes="epoch_1"), RETRAIN, MASK):
        assert not fitting.unfit_at(4)


@pytest.mark.parametrize("magnitudes", ["trained", "round_3"])
def test_survivors_of_a_shuffled_mask_do_not_begin_at_zero(magnitudes: str) -> None:
    with pytest.raises(ValueError, match=f"under a shuffled mask, magnitudes cannot be {magnitudes}"):
        Transfer(mask="shuffled", magnitudes=magnitudes)


def test_a_transfer_without_its_named_network_changes_nothing() -> None:
    model, before = network(1), network(1).state_dict()
    with pytest.raises(TicketError, match="takes values from epoch_0; give them in others"):
        trained()[2].apply(model, transfer=TRANSFERS["rewound"])
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_registered_source_gives_the_signs_in_its_version_only() -> None:
    @tickets.sign_source("upside_down", version=2)
    def upside_down(weight: tickets.SignedWeight, generator: torch.Generator) -> Tensor:
        return -weight.sign

    _, _, ticket = trained()
    model = network(1)
    ticket.apply(model, transfer=Transfer(signs="upside_down", signs_version=2))
    fresh, signed = network(1).state_dict()[PRUNABLE], ticket.tensors[PRUNABLE]
    assert torch.equal(model.state_dict()[PRUNABLE], fresh.abs() * -signed.sign)
    with pytest.raises(TicketError, match="upside_down of version 1"):
        ticket.apply(network(1), transfer=Transfer(signs="upside_down"))


@pytest.mark.parametrize(("name", "draws"), [("retrain", False), ("rewound", False), ("signed", True), ("mask", True)])
def test_a_start_draws_unless_every_part_is_given(name: str, draws: bool) -> None:
    assert TRANSFERS[name].draws == draws
    assert replace(TRANSFERS[name], mask="shuffled", magnitudes="fresh").draws


def other_classes(classes: int, *, bias: bool = True) -> nn.Sequential:
    """The network for another number of classes."""
    model = network(1)
    torch.manual_seed(1)
    model[4] = nn.Linear(4, classes, bias=bias)
    return model


@pytest.mark.parametrize("transfer", [SIGNED, MASK, RETRAIN])
@pytest.mark.parametrize("classes", [3, 7])
def test_a_fresh_classifier_may_have_any_shape_and_stays_as_it_is(transfer: Transfer, classes: int) -> None:
    _, state, ticket = trained()
    model = other_classes(classes)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    fresh_classifier = replace(transfer, classifier="fresh")
    masks = transfer_(model, fresh_classifier, ticket.tensors, state, torch.Generator())
    assert masks.keys() == {PRUNABLE}
    same_network = network(1)
    transfer_(same_network, fresh_classifier, ticket.tensors, state, torch.Generator())
    for name, value in model.state_dict().items():
        if name.startswith("4."):
            assert torch.equal(value, fresh[name])
        else:
            assert torch.equal(value, same_network.state_dict()[name]), name


def test_a_fresh_classifier_may_have_a_bias_that_the_tickets_lacks() -> None:
    model, state, _ = trained()
    ticket = tickets.from_model(model, {PRUNABLE: torch.ones_like(model[0].weight).bool()}, 3, PROVENANCE)
    del ticket.tensors["4.bias"]  # type: ignore[attr-defined]
    transfer_(other_classes(5), replace(SIGNED, classifier="fresh"), ticket.tensors, state, torch.Generator())


def test_a_classifier_of_another_shape_is_refused_unless_it_is_fresh() -> None:
    _, state, ticket = trained()
    with pytest.raises(TicketError, match="it is the classifier, for 3 classes in the ticket"):
        transfer_(other_classes(7), SIGNED, ticket.tensors, state, torch.Generator())
