"""Initial draws of every architecture, layer by layer, beside the rules of the released code and the cited papers."""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer

from orchestrator.recipes.resolution import resolve
from workers.models import build_model
from workers.models.vision_transformer import TorchvisionVit
from workers.stages import Model


class Draw(NamedTuple):
    """A distribution: its standard deviation, and its bound (infinite for a normal one)."""

    sd: float
    bound: float = math.inf


def he_out(weight: Tensor) -> Draw:
    """He's normal by fan-out, with ReLU's gain: torchvision's for ResNet and MobileNetV2."""
    return Draw(math.sqrt(2 / (weight.shape[0] * math.prod(weight.shape[2:]))))


def he_in(weight: Tensor) -> Draw:
    """He's normal by fan-in (He et al. 2015)."""
    return Draw(math.sqrt(2 / math.prod(weight.shape[1:])))


def torchs(weight: Tensor) -> Draw:
    """torch's default for convolutions and linear layers: uniform within 1 / sqrt(fan in)."""
    bound = 1 / math.sqrt(math.prod(weight.shape[1:]))
    return Draw(bound / math.sqrt(3), bound)


def narrow(weight: Tensor) -> Draw:
    return Draw(0.01)


def bert(weight: Tensor) -> Draw:
    """BERT's and DeiT's: deviation 0.02 (their truncation lies at 100 deviations)."""
    return Draw(0.02)


def le_cun(weight: Tensor) -> Draw:
    """Normal by fan-in, truncated far outside: torchvision's for a patch embedding."""
    return Draw(1 / math.sqrt(math.prod(weight.shape[1:])))


def xavier(weight: Tensor) -> Draw:
    """Uniform by the mean of fan-in and fan-out (Glorot and Bengio 2010); of attention's three projections as one."""
    bound = math.sqrt(6 / sum(weight.shape))
    return Draw(bound / math.sqrt(3), bound)


def zero(weight: Tensor) -> Draw:
    return Draw(0.0, 0.0)


ZERO = Draw(0.0, 0.0)

# For each network: the distribution of weights by pattern of their names, the first match first; then whether biases of
# convolutions and linear layers are drawn (torch's default, uniform within 1 / sqrt(fan in) of their weight) or zero.
RULES = {
    # the released code replaces conv1 after torchvision's constructor has drawn the other convolutions
    "cifar100/resnet50": ({"conv1.weight": torchs, "layer*": he_out, "fc.weight": torchs}, True),
    "tiny-imagenet/resnet50": ({"conv1.weight": torchs, "layer*": he_out, "fc.weight": torchs}, True),
    "cifar100/mobilenetv2": ({"*": torchs}, True),
    "cifar100/efficientnet_b0": ({"*": torchs}, True),
    "cifar100/shufflenet_g3": ({"*": torchs}, True),
    "imagenet/resnet50": ({"conv1.weight": he_out, "layer*": he_out, "fc.weight": torchs}, True),
    "imagenet/mobilenetv2": ({"features*": he_out, "classifier*": narrow}, False),
    "imagenet/mlp_mixer": ({"*": torchs}, True),
    # ours
    "cifar100/resnet20": ({"*": he_in}, True),
    "cifar100/resnet32": ({"*": he_in}, True),
    "cifar10/resnet56": ({"*": he_in}, True),
    "cifar10/vgg16": ({"*": he_in}, True),
    "cifar10/resnet20_unnormalized": ({"fc.weight": torchs, "*": he_in}, False),
    "mnist1d/resnet1d": ({"*": he_in}, True),
    # torchvision's
    "cifar10/resnet18": ({"fc.weight": torchs, "*": he_out}, True),
    # DeiT's
    "cifar10/vit_tiny": ({"conv_proj.weight": torchs, "*": bert}, False),
}
CLASSES = {"cifar10": 10, "cifar100": 100, "tiny-imagenet": 200, "imagenet": 1000, "mnist1d": 10}


def check(name: str, tensor: Tensor, drawn: Draw) -> None:
    """Compare a tensor's standard deviation and largest value with those of a distribution, within five errors."""
    values = tensor.detach().double()
    n = values.numel()
    assert float(values.abs().max()) <= drawn.bound, name
    if n < 30 or not drawn.bound:
        return
    kurtosis = 3.0 if drawn.bound == math.inf else 1.8
    within = 5 * math.sqrt((kurtosis - 1) / (4 * n))  # five standard errors of a sample's standard deviation
    assert float(values.std()) == pytest.approx(drawn.sd, rel=within), name
    assert abs(float(values.mean())) < 5 * drawn.sd / math.sqrt(n), name
    largest = float(values.abs().max()) / drawn.sd
    if drawn.bound < math.inf:
        assert largest > math.sqrt(3) * (1 - 15 / n), name
    elif n > 1000:  # a normal distribution's largest of n values
        assert math.sqrt(2 * math.log(n)) - 1 < largest < math.sqrt(2 * math.log(n)) + 2, name


@pytest.mark.parametrize("case", RULES)
def test_every_parameter_of_a_new_sweeps_network_is_drawn_as_released(case: str) -> None:
    dataset, arch = case.split("/")
    options = resolve(dataset, arch, "reference").model
    channels = 1 if dataset == "mnist1d" else 3
    model = build_model(Model(arch, options), in_channels=channels, num_classes=CLASSES[dataset], init_seed=7)
    rules, biases = RULES[case]
    for name, parameter in model.named_parameters():
        layer = model.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, nn.BatchNorm2d | nn.LayerNorm):
            expected = 1.0 if name.endswith("weight") else 0.0
            assert bool((parameter == expected).all()), name
        elif name.endswith("bias"):
            drawn = torchs(layer.get_parameter("weight")) if biases or name == "conv_proj.bias" else ZERO
            check(name, parameter, drawn)
        else:
            rule = next(rule for pattern, rule in rules.items() if fnmatchcase(name, pattern))
            check(name, parameter, rule(parameter))
    for name, buffer in model.named_buffers():
        assert bool((buffer == (1 if name.endswith("running_var") else 0)).all()), name


def test_vit_b16_is_drawn_as_torchvision_draws_it() -> None:
    model = TorchvisionVit(3, 10, 32, patch_size=16, width=96, depth=2, heads=2)
    torch.manual_seed(7)
    model.reset_parameters()
    rules = {
        "class_token": zero,
        "heads*": zero,
        "conv_proj.weight": le_cun,
        "encoder.pos_embedding": bert,
        "*out_proj.weight": torchs,
        "*in_proj_weight": xavier,
        "*mlp.?.weight": xavier,
        "*mlp.?.bias": lambda weight: Draw(1e-6),
        "*": zero,
    }
    original = VisionTransformer(32, 16, 2, 2, 96, 4 * 96, num_classes=10).state_dict()
    for name, parameter in model.named_parameters():
        if "ln" in name:
            assert bool((parameter == float(name.endswith("weight"))).all()), name
            continue
        rule = next(rule for pattern, rule in rules.items() if fnmatchcase(name, pattern))
        check(name, parameter, rule(parameter))
        check(name, original[name], rule(parameter))


def stem(options: dict[str, int | float | bool | str]) -> Tensor:
    model = build_model(Model("resnet50", options), in_channels=3, num_classes=100, init_seed=7)
    return model.get_parameter("conv1.weight").detach()


def test_stages_without_the_option_keep_the_stem_that_they_were_trained_from() -> None:
    weight = stem({})
    check("conv1.weight", weight, he_out(weight))
    # the first weights as the code drew them before it had the option
    torch.testing.assert_close(weight.flatten()[:3], torch.tensor([0.05440871, -0.01305074, -0.02266782]))


@pytest.mark.parametrize(
    ("dataset", "changes", "options"),
    [
        ("cifar100", {}, {"stem_init": "uniform"}),
        ("cifar100", {"variant": "small"}, {"variant": "small", "stem_init": "uniform"}),
        ("cifar100", {"stem_init": "normal"}, {}),  # the key of results that are older than the option
        ("cifar100", {"variant": "small", "stem_init": "normal"}, {"variant": "small"}),
        ("imagenet", {}, {"variant": "imagenet"}),
        ("imagenet", {"stem_init": "uniform"}, {"variant": "imagenet", "stem_init": "uniform"}),
        ("imagefolder:mine", {"variant": "small"}, {"variant": "small", "stem_init": "uniform"}),
        ("mnist1d", {}, {"stem_init": "uniform"}),
    ],
)
def test_a_recipe_draws_the_small_stem_as_released_and_can_ask_for_the_former_draw(
    dataset: str, changes: dict[str, str], options: dict[str, str]
) -> None:
    assert resolve(dataset, "resnet50", "sound", [{"model": changes}]).model == options
