"""Vision transformers of torchvision's parts (Dosovitskiy et al. 2021): ViT-B/16, and DeiT-tiny for small images.

Attention's projections are prunable, position embedding and class token are not: ``tickets.roles``.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torchvision.models.vision_transformer import VisionTransformer

from tickets import reset_layers
from workers.models.registry import check_patches

MLP_RATIO = 4


class Vit(VisionTransformer):
    """torchvision's network for images of any number of channels.

    Args:
        width: features of each token.
        depth: blocks of attention and perceptron.
        heads: of each attention; a divisor of the width.
    """

    def __init__(
        self, in_channels: int, num_classes: int, image_size: int, patch_size: int, width: int, depth: int, heads: int
    ) -> None:
        check_patches(image_size, patch_size)
        if min(width, depth, heads) < 1 or width % heads:
            raise ValueError(
                f"width {width}, depth {depth}, heads {heads}: give positive numbers; heads divide the width"
            )
        super().__init__(image_size, patch_size, depth, heads, width, MLP_RATIO * width, num_classes=num_classes)
        self.conv_proj = nn.Conv2d(in_channels, width, patch_size, patch_size)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != (self.image_size, self.image_size):
            height, width = x.shape[2:]
            raise ValueError(
                f"the network is built for images of {self.image_size}x{self.image_size} pixels, not {height}x{width}; "
                f"give square images their side, such as --set model.image_size={width}"
            )
        return super().forward(x)

    def _reset_layers(self) -> None:
        reset_layers(self.conv_proj)
        for block in self.encoder.layers:
            reset_layers(block)
        reset_layers(self.encoder.ln)
        reset_layers(self.heads)


class TorchvisionVit(Vit):
    """A vision transformer with torchvision's initialisation, whose class token and classifier are zero."""

    def reset_parameters(self) -> None:
        """Draw torchvision's initialisation."""
        self._reset_layers()
        fan_in = self.conv_proj.weight[0].numel()
        nn.init.trunc_normal_(self.conv_proj.weight, std=math.sqrt(1 / fan_in))
        for block in self.encoder.layers:
            for layer in block.mlp:
                if isinstance(layer, nn.Linear):
                    nn.init.xavier_uniform_(layer.weight)
                    nn.init.normal_(layer.bias, std=1e-6)
        nn.init.normal_(self.encoder.pos_embedding, std=0.02)
        for name in ("class_token", "conv_proj.bias", "heads.head.weight", "heads.head.bias"):
            nn.init.zeros_(self.get_parameter(name))


class SmallVit(Vit):
    """A vision transformer with DeiT's initialisation (Touvron et al. 2021, their ``_init_weights``).

    Normal with deviation 0.02 and zero biases, but torch's own draw for the patch embedding. No weight starts at zero,
    so a signed transfer has a magnitude for every sign.
    """

    def reset_parameters(self) -> None:
        """Draw DeiT's initialisation."""
        self._reset_layers()
        for module in self.modules():
            if isinstance(module, nn.MultiheadAttention):
                nn.init.trunc_normal_(module.in_proj_weight, std=0.02)
                nn.init.zeros_(module.in_proj_bias)
            elif isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for parameter in (self.class_token, self.encoder.pos_embedding):
            nn.init.trunc_normal_(parameter, std=0.02)
