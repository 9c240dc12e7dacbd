import pytest
from torch import nn

from tickets import Role, UnknownLayerError, classifier_name, parameter_roles, prunable_names


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
