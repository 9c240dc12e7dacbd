import pytest
import torch

from tickets import prunable_names, reinitialise_
from workers.models import build_model
from workers.stages import Model

PARAMETERS = {  # with 100 classes; resnet1d with one channel and 10
    "resnet1d": 7_474,
    "resnet20": 278_324,
    "resnet32": 472_756,
    "resnet50": 23_705_252,
}


def build(name: str, seed: int = 0) -> torch.nn.Module:
    channels, classes = (1, 10) if name == "resnet1d" else (3, 100)
    return build_model(Model(name), in_channels=channels, num_classes=classes, init_seed=seed)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name: str) -> None:
    assert sum(parameter.numel() for parameter in build(name).parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", ["resnet1d", "resnet20", "resnet32"])
def test_logits_have_one_column_per_class(name: str) -> None:
    shape = (2, 1, 1, 40) if name == "resnet1d" else (2, 3, 32, 32)
    assert build(name)(torch.randn(shape)).shape == (2, 10 if name == "resnet1d" else 100)


def test_resnet50_keeps_the_resolution_in_its_stem() -> None:
    model = build("resnet50").eval()
    assert model.maxpool(model.conv1(torch.randn(1, 3, 32, 32))).shape == (1, 64, 32, 32)
    assert "conv1.weight" in prunable_names(model, 100)
    assert "layer1.0.downsample.0.weight" in prunable_names(model, 100)
    assert "fc.weight" not in prunable_names(model, 100)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_ticket_starts_a_network_from_the_same_initialisation_as_a_sweep(name: str) -> None:
    built, again = build(name, 5), build(name, 6)
    reinitialise_(again, 5)
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in built.state_dict().items())


@pytest.mark.parametrize("name", PARAMETERS)
def test_weights_are_drawn_by_hes_rule(name: str) -> None:
    for key, weight in build(name).named_parameters():
        if weight.dim() == 4 and weight.numel() > 1000:
            fan = weight[0].numel() if name != "resnet50" else weight.shape[0] * weight[0, 0].numel()
            assert float(weight.detach().std()) == pytest.approx((2 / fan) ** 0.5, rel=0.15), key


def test_an_initialisation_is_a_function_of_its_seed_alone() -> None:
    torch.manual_seed(1)
    one = build("resnet20", 5).state_dict()
    torch.rand(3)
    state = torch.random.get_rng_state()
    two, other = build("resnet20", 5).state_dict(), build("resnet20", 6).state_dict()
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["conv.weight"], other["conv.weight"])
