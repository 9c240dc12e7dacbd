"""The released code's networks: their modules' names, shapes and order of computation, and its masks.

Source: models/*.py of the released code at commit cbb5889; for MLP-Mixer, which it does not contain, mlp-mixer-pytorch.
Training-only parts, such as dropout, are left out.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet50

CLASSES = 7


class ExpandedBlock(nn.Module):
    """Block of MobileNetV2 and, with ``squeeze``, of EfficientNet."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int, squeeze: bool) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.conv1 = nn.Conv2d(inputs, hidden, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False)
        self.bn2 = nn.BatchNorm2d(hidden)
        if squeeze:
            self.se = nn.Module()
            self.se.se1 = nn.Conv2d(hidden, inputs // 4, 1)
            self.se.se2 = nn.Conv2d(inputs // 4, hidden, 1)
        self.conv3 = nn.Conv2d(hidden, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if not squeeze and stride == 1 and inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.adds = stride == 1 and (inputs == outputs or not squeeze)
        self.expands = expansion > 1 or not squeeze
        self.activation = F.silu if squeeze else F.relu

    def forward(self, x: Tensor) -> Tensor:
        out = self.activation(self.bn1(self.conv1(x))) if self.expands else x
        out = self.activation(self.bn2(self.conv2(out)))
        if hasattr(self, "se"):
            gate = self.se.se2(F.silu(self.se.se1(out.mean((2, 3), keepdim=True))))
            out = out * gate.sigmoid()
        out = self.bn3(self.conv3(out))
        return out + self.shortcut(x) if self.adds else out


class Expanded(nn.Module):
    """MobileNetV2 and, with ``squeeze``, EfficientNet-B0. Stages: expansion, width, blocks, kernel, first stride."""

    def __init__(self, stages: list[tuple[int, int, int, int, int]], squeeze: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        blocks, inputs = [], 32
        for expansion, width, number, kernel, stride in stages:
            for block in range(number):
                blocks.append(ExpandedBlock(inputs, width, expansion, kernel, stride if block == 0 else 1, squeeze))
                inputs = width
        self.layers = nn.Sequential(*blocks)
        if not squeeze:
            self.conv2 = nn.Conv2d(inputs, 1280, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(1280)
        self.linear = nn.Linear(inputs if squeeze else 1280, CLASSES)
        self.activation = F.silu if squeeze else F.relu

    def forward(self, x: Tensor) -> Tensor:
        out = self.layers(self.activation(self.bn1(self.conv1(x))))
        if hasattr(self, "conv2"):
            out = F.relu(self.bn2(self.conv2(out)))
        return self.linear(out.mean((2, 3)))


def mobilenetv2() -> nn.Module:
    widths, numbers = (16, 24, 32, 64, 96, 160, 320), (1, 2, 3, 4, 3, 3, 1)
    return Expanded(list(zip((1, *[6] * 6), widths, numbers, [3] * 7, (1, 1, 2, 2, 1, 2, 1), strict=True)), False)


def efficientnet_b0() -> nn.Module:
    widths, numbers = (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)
    kernels, strides = (3, 3, 5, 3, 5, 5, 3), (1, 2, 2, 2, 1, 2, 1)
    return Expanded(list(zip((1, *[6] * 6), widths, numbers, kernels, strides, strict=True)), True)


def in_one(name: str, convolution: nn.Conv2d) -> nn.Module:
    layer = nn.Module()
    layer.add_module(name, nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels)))
    return layer


class Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int, halve: bool) -> None:
        super().__init__()
        hidden, stride = outputs // 4, 2 if halve else 1
        self.bottlneck = nn.Sequential(in_one("pointwise", nn.Conv2d(inputs, hidden, 1, groups=3)), nn.ReLU())
        self.depthwise = in_one("depthwise", nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden))
        width = outputs - inputs if halve else outputs
        self.expand = in_one("pointwise", nn.Conv2d(hidden, width, 1, groups=3))
        self.halve = halve

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bottlneck[0].pointwise(x))
        batch, channels, height, width = out.shape
        out = out.view(batch, 3, channels // 3, height, width).transpose(1, 2).reshape(out.shape)
        out = self.expand.pointwise(self.depthwise.depthwise(out))
        return F.relu(torch.cat([F.avg_pool2d(x, 3, 2, 1), out], 1) if self.halve else x + out)


class ShuffleNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Module()
        self.conv1.conv = nn.Conv2d(3, 24, 3, 1, 1)
        self.conv1.bn = nn.BatchNorm2d(24)
        inputs = 24
        for stage, width, units in ((2, 240, 4), (3, 480, 8), (4, 960, 4)):
            first, *others = (Unit(inputs if unit == 0 else width, width, unit == 0) for unit in range(units))
            self.add_module(f"stage{stage}", nn.Sequential(first, *others))
            inputs = width
        self.fc = nn.Linear(960, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.conv1.bn(self.conv1.conv(x)))
        return self.fc(self.stage4(self.stage3(self.stage2(out))).mean((2, 3)))


class PreNormResidual(nn.Module):
    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.norm = nn.LayerNorm(512)

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(self.norm(x)) + x


class Patches(nn.Module):
    """Each patch as one vector, over its rows, then columns, then channels."""

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        x = x.view(batch, channels, height // 16, 16, width // 16, 16).permute(0, 2, 4, 3, 5, 1)
        return x.reshape(batch, -1, 16 * 16 * channels)


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def mlp_mixer(image_size: int = 32) -> nn.Module:
    patches = (image_size // 16) ** 2

    def over(layer: Callable[[int, int], nn.Module], width: int, hidden: int) -> nn.Module:
        none = nn.Dropout(0.0)
        return PreNormResidual(nn.Sequential(layer(width, hidden), nn.GELU(), none, layer(hidden, width), none))

    blocks = [
        nn.Sequential(over(lambda a, b: nn.Conv1d(a, b, 1), patches, 4 * patches), over(nn.Linear, 512, 256))
        for _ in range(12)
    ]
    return nn.Sequential(Patches(), nn.Linear(768, 512), *blocks, nn.LayerNorm(512), Mean(), nn.Linear(512, CLASSES))


def small_resnet50() -> nn.Module:
    network = resnet50(num_classes=CLASSES)
    network.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    network.maxpool = nn.Identity()
    return network


RELEASED = {
    "resnet50": small_resnet50,
    "mobilenetv2": mobilenetv2,
    "efficientnet_b0": efficientnet_b0,
    "shufflenet_g3": ShuffleNet,
    "mlp_mixer": mlp_mixer,
}
"""Their networks by our architectures' names."""


def masked(network: nn.Module, density: float = 0.4) -> nn.Module:
    """Give each layer but the classifier a random mask, as a parameter ``fixed_m``."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear) and module.weight.shape[0] != CLASSES:
            module.fixed_m = nn.Parameter((torch.rand(module.weight.shape) < density).float(), requires_grad=False)
    return network
