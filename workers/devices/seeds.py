"""Independent random streams from one seed."""

from __future__ import annotations

import torch

from tickets.files import digest


def derive(*labels: int | str) -> int:
    """Derive a 63-bit seed from labels and their order; different lists of labels give unrelated seeds."""
    text = "/".join(f"{type(label).__name__}:{label}" for label in labels)
    return int(digest.of_text(text, size_bytes=8), 16) >> 1


def generator(*labels: int | str) -> torch.Generator:
    """Make a CPU generator for one stream, so that its draws are the same for every device."""
    return torch.Generator().manual_seed(derive(*labels))
