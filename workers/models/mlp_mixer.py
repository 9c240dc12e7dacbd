"""MLP-Mixer (Tolstikhin et al. 2021, section 2) with the widths of the paper's ImageNet experiment."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from tickets import reset_layers
from workers.models.registry import architecture, check_patches

PATCH = 16
DIM = 512
DEPTH = 12


class Residual(nn.Sequential):
    """Layers in a row with a shortcut: x + layers(x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class MlpMixer(nn.Module):
    """A linear embedding of each patch, blocks that mix patches and then channels, mean over patches, linear."""

    def __init__(self, in_channels: int, num_classes: int, image_size: int) -> None:
        super().__init__()
        check_patches(image_size, PATCH)
        patches = (image_size // PATCH) ** 2
        self.embed = nn.Linear(in_channels * PATCH**2, DIM)
        layers: list[nn.Module] = []
        for _ in range(DEPTH):
            layers.append(
                Residual(
                    nn.LayerNorm(DIM),
                    nn.Conv1d(patches, 4 * patches, 1),  # a linear layer over the patches, shared by all channels
                    nn.GELU(),
                    nn.Conv1d(4 * patches, patches, 1),
                )
            )
            layers.append(Residual(nn.LayerNorm(DIM), nn.Linear(DIM, DIM // 2), nn.GELU(), nn.Linear(DIM // 2, DIM)))
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(DIM)
        self.classifier = nn.Linear(DIM, num_classes)

    reset_parameters = reset_layers

    def forward(self, x: Tensor) -> Tensor:
        patches = F.pixel_unshuffle(x, PATCH).flatten(2).transpose(1, 2)
        return self.classifier(self.norm(self.blocks(self.embed(patches))).mean(1))


@architecture("mlp_mixer")
def mlp_mixer(in_channels: int, num_classes: int, image_size: int = 224) -> nn.Module:
    """MLP-Mixer with patches of 16 pixels."""
    return MlpMixer(in_channels, num_classes, image_size)
