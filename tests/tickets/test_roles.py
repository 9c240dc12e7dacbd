from dataclasses import replace

import pytest
import torch
from torch import nn

from tickets import (
    MASK,
    RETRAIN,
    SIGNED,
    Provenance,
    Role,
    UnknownLayerError,
    classifier_name,
    from_model,
    parameter_roles,
    prunable_names,
    reinitialise_,
)


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 10, 3),
        nn.BatchNorm2d(10),
        nn.Conv2d(10, 10, 3, groups=10, bias=False),
        nn.Conv1d(4, 6, 1),
        nn.LayerNorm(6),
        nn.GroupNorm(2, 6),
        nn.Linear(6, 10),
        nn.Linear(10, 10),
    )


def test_every_convolution_and_linear_but_the_classifier_is_prunable() -> None:
    assert prunable_names(network(), 10) == ["0.weight", "2.weight", "3.weight", "6.weight"]


def test_psi_and_biases_are_never_prunable() -> None:
    roles = parameter_roles(network(), 10)
    assert {roles[f"{layer}.{leaf}"] for layer in (1, 4, 5) for leaf in ("weight", "bias")} == {Role.NORMALIZATION}
    assert {roles[f"{layer}.bias"] for layer in (0, 3, 6)} == {Role.BIAS}


def test_classifier_is_the_last_layer_of_that_width_and_only_it() -> None:
    # released code: every layer of that width went unmasked, and all got the last one's signs
    assert classifier_name(network(), 10) == "7"
    roles = parameter_roles(network(), 10)
    assert roles["7.weight"] == roles["7.bias"] == Role.CLASSIFIER
    assert roles["6.weight"] is Role.PRUNABLE


def test_roles_follow_the_parameters_order() -> None:
    model = network()
    assert list(parameter_roles(model, 10)) == [name for name, _ in model.named_parameters()]


def test_no_classifier_is_an_error_that_says_so() -> None:
    with pytest.raises(UnknownLayerError, match="7 outputs"):
        parameter_roles(network(), 7)


def test_unknown_layer_with_parameters_is_named() -> None:
    with pytest.raises(UnknownLayerError, match=r"0\.weight: .* Embedding"):
        parameter_roles(nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 10)), 10)


class Tokens(nn.Module):
    """Attention over a class token and the image's, as transformers of several libraries have it."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.ones(1, 1, 4))
        self.pos_embed = nn.Parameter(torch.ones(1, 3, 4))
        self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True)
        self.cross = nn.MultiheadAttention(4, 2, kdim=3, vdim=5)
        self.gamma = nn.Parameter(torch.ones(4))
        self.norm = nn.RMSNorm(4)
        self.head = nn.Linear(4, 10)
        self.register_buffer("positions", torch.arange(3), persistent=False)


def test_attentions_projections_are_prunable_and_tokens_positions_and_layer_scales_are_not() -> None:
    roles = parameter_roles(Tokens(), 10)
    projections = {name for name in roles if name.endswith("proj_weight") or name.endswith("out_proj.weight")}
    assert len(projections) == 2 + 4
    assert {name for name, role in roles.items() if role is Role.PRUNABLE} == projections
    biases = {f"attention.{name}" for name in ("in_proj_bias", "bias_k", "bias_v", "out_proj.bias")}
    assert {name for name, role in roles.items() if role is Role.BIAS} >= biases
    assert roles["cls_token"] is roles["pos_embed"] is Role.EMBEDDING
    assert (roles["gamma"], roles["norm.weight"]) == (Role.SCALE, Role.NORMALIZATION)


class Normed(nn.Module):
    """A normalization of a user's own, whose scale is called gamma."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(4))


class Scaled(nn.Conv2d):
    """A convolution with a factor of its own."""

    def __init__(self) -> None:
        super().__init__(3, 4, 1)
        self.gain = nn.Parameter(torch.ones(4))


@pytest.mark.parametrize(("layer", "name"), [(Normed(), "0.gamma"), (Scaled(), "0.gain")])
def test_a_name_alone_makes_no_layer_scale_and_no_bias(layer: nn.Module, name: str) -> None:
    with pytest.raises(UnknownLayerError, match=f"{name}: the method has no rule for this parameter"):
        parameter_roles(nn.Sequential(layer, nn.Linear(4, 10)), 10)


def test_a_role_of_a_later_version_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'adapter' is none of the roles .* with the version that wrote it"):
        Role("adapter")


@pytest.mark.parametrize("source", ["biases", "fresh", "signed", "trained"])
def test_a_transfer_starts_embeddings_and_layer_scales_as_it_says_and_leaves_constants(source: str) -> None:
    model, round_ = Tokens(), Tokens()
    with torch.no_grad():
        for parameter in round_.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    masks = {name: torch.ones_like(round_.get_parameter(name)).bool() for name in prunable_names(round_, 10)}
    ticket = from_model(round_, masks, 10, Provenance("d", "a", "lrr", 1, 1.0, "sound", "k"))
    transfer = replace(SIGNED, embeddings=source)
    ticket.apply(model, transfer=transfer, trained=round_.state_dict())  # no state has the constant positions
    for name in ("cls_token", "pos_embed", "gamma"):
        trained = round_.get_parameter(name)
        expected = {"fresh": torch.ones_like(trained), "trained": trained}.get(source, trained.sign())
        assert torch.equal(model.get_parameter(name), expected), name
    sources = [transfer.embeddings_source for transfer in (RETRAIN, SIGNED, MASK)]
    assert sources == ["trained", "signed", "fresh"]


def test_attention_is_drawn_anew_as_its_constructor_draws_it() -> None:
    for layer in (nn.MultiheadAttention(4, 2), nn.TransformerEncoderLayer(4, 2, 8)):
        with torch.random.fork_rng():
            torch.manual_seed(7)
            built = type(layer)(4, 2, 8) if isinstance(layer, nn.TransformerEncoderLayer) else type(layer)(4, 2)
        reinitialise_(layer, 7)
        for name, parameter in built.named_parameters():
            if "self_attn" in name or isinstance(layer, nn.MultiheadAttention):
                assert torch.equal(layer.get_parameter(name), parameter), name
