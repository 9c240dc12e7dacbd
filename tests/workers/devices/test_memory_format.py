"""oneDNN issue 6035: on CPUs, channels last breaks gradients of strided 1x1 convolutions with few channels."""

import pytest
import torch
from torch import nn

from workers.devices.memory_format import memory_format
from workers.models import ARCHITECTURES, build_model
from workers.stages import Model

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("layer", "safe"),
    [
        (nn.Conv2d(8, 16, 1, 2), False),
        (nn.Conv2d(8, 16, 1, (1, 2)), False),
        (nn.Conv2d(64, 64, 1, 2, groups=8), False),
        (nn.Conv2d(16, 32, 1, 2), True),
        (nn.Conv2d(8, 16, 1), True),
        (nn.Conv2d(8, 16, 3, 2), True),
    ],
)
def test_a_network_with_an_affected_layer_is_not_channels_last_on_cpus(layer: nn.Module, safe: bool) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), layer)
    assert memory_format(model, CPU) == (torch.channels_last if safe else torch.contiguous_format)
    assert memory_format(model, GPU) == torch.channels_last


@pytest.mark.parametrize("name", ["resnet1d", "resnet20", "resnet32", "resnet50", "mobilenetv2", "shufflenet_g3"])
def test_no_built_in_network_has_an_affected_layer_even_when_narrow(name: str) -> None:
    options = {"width": 4} if "width" in ARCHITECTURES[name].build.__code__.co_varnames else {}
    model = build_model(Model(name, options), in_channels=3, num_classes=10, init_seed=0)
    assert memory_format(model, CPU) == torch.channels_last


def test_narrow_networks_train_on_large_images() -> None:
    # width 4 at 64 pixels crashed the process with "corrupted size vs. prev_size"
    model = build_model(Model("resnet20", {"width": 4}), in_channels=3, num_classes=8, init_seed=0)
    model = model.to(memory_format=torch.channels_last).train()
    for _ in range(5):
        model(torch.rand(16, 3, 64, 64).to(memory_format=torch.channels_last)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
