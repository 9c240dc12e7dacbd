"""Networks without batch norm learn from their first steps on real images."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from orchestrator.recipes.resolution import resolve
from tests.support.images import REAL_CIFAR10
from workers.models import build_model
from workers.stages import Model

STEPS, BATCH = 16, 16
SMALL: dict[str, dict[str, Any]] = {
    "resnet20_unnormalized": {"width": 8},
    "vit_tiny": {"width": 24, "depth": 4},
}


@pytest.mark.skipif(not REAL_CIFAR10.is_dir(), reason="this machine has no CIFAR-10 beside the checkout")
@pytest.mark.parametrize("name", SMALL)
def test_the_loss_on_a_batch_of_cifar_falls_at_the_built_in_learning_rate(name: str) -> None:
    rows = next(pq.ParquetFile(REAL_CIFAR10 / "train.parquet").iter_batches(BATCH)).to_pydict()
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(image["bytes"]))) for image in rows["image"]])
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.47) / 0.25
    labels = torch.tensor(rows["label"])
    model = build_model(Model(name, SMALL[name]), in_channels=3, num_classes=10, init_seed=1)
    given = resolve("cifar10", name, "sound").optimizer
    kind = torch.optim.Adam if given.name == "adam" else torch.optim.SGD
    momentum = {} if given.name == "adam" else {"momentum": given.momentum}
    optimizer = kind(model.parameters(), lr=given.learning_rate, weight_decay=given.weight_decay, **momentum)
    losses = []
    for _ in range(STEPS):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] < 3  # of 10 classes: the first guesses are not confident
    # no normalization learns more slowly; a loss that had not moved would be 2.3
    assert sum(losses[-4:]) / 4 < losses[0] - 0.2, losses
