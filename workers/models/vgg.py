"""VGG-16 with batch norm for small images, as the lottery-ticket literature has it.

The convolutions of Simonyan and Zisserman (2015, table 1, D), each with a bias and batch norm; then the mean over what
is left of the image, and one linear layer in place of three: open_lth's network (Frankle et al.), which has average
pooling instead of the fifth max-pool. Draws are its ``kaiming_normal``.
"""

from __future__ import annotations

from torch import Tensor, nn

from workers.models.he import draw_he
from workers.models.registry import architecture

STAGES = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))
"""Widths of the convolutions by stage, in units of the first width; a max-pool lies between two stages."""
SMALLEST = 16
"""Side of the smallest image, which four max-pools leave one pixel of."""


class Vgg16(nn.Module):
    """VGG-16 with batch norm. Input (batch, channels, height, width), of at least 16x16 pixels."""

    def __init__(self, in_channels: int, num_classes: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = in_channels
        for stage, widths in enumerate(STAGES):
            if stage:
                layers.append(nn.MaxPool2d(2))
            for factor in widths:
                outputs = factor * width
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
                inputs = outputs
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, num_classes)

    reset_parameters = draw_he

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) < SMALLEST:
            raise ValueError(f"vgg16 halves an image four times; give images of at least {SMALLEST}x{SMALLEST} pixels")
        return self.classifier(self.features(x).mean((2, 3)))


@architecture("vgg16")
def vgg16(in_channels: int, num_classes: int, width: int = 64) -> nn.Module:
    """VGG-16 with batch norm for small images: widths 64 to 512, one linear layer."""
    if not 1 <= width <= 10_000:
        raise ValueError(f"width is a number from 1 to 10,000, not {width}")
    return Vgg16(in_channels, num_classes, width)
