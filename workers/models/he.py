"""He's initialisation (He et al. 2015, equation 10), which small convolutional networks share."""

from __future__ import annotations

from torch import nn

from tickets import reset_layers


def draw_he(network: nn.Module) -> None:
    """Draw each layer's own initialisation, then He's for the weights of convolutions and linear layers."""
    reset_layers(network)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
