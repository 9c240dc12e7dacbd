"""Independent random streams from one seed."""

from __future__ import annotations

import torch

from tickets.files import digest


def derive(*labels: int | str) -> int:
    """A 63-bit seed that depends on every label and on their order; unrelated for any two lists of labels."""
    text = "/".join(f"{type(label).__name__}:{label}" for label in labels)
    return int(digest.of_text(text, size_bytes=8), 16) >> 1


def generator(*labels: int | str) -> torch.Generator:
    """A CPU generator for one stream: draws are the same whatever device they are used on."""
    return torch.Generator().manual_seed(derive(*labels))
