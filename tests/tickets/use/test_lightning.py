"""A ticket in a network that Lightning trains."""

import warnings
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, optim
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from tests.tickets.use.own_training import batches, network, ticket_under


class Lit(lightning.LightningModule):
    """A user's Lightning module: the network is a submodule, and configure_optimizers guards the optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()
        self.kept = ticket_under().apply(self.net, seed=1)
        self.densities: list[float] = []

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        return cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        optimizer = self.kept.guard(optim.AdamW(self.parameters(), lr=0.05))
        return [optimizer], [optim.lr_scheduler.StepLR(optimizer, 1)]

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        weight = self.net[0].weight
        assert not weight.grad[~self.kept.masks["0.weight"]].any()

    def on_train_batch_end(self, *_: Any) -> None:
        self.densities.append(self.kept.check())


@pytest.mark.parametrize(
    "options", [{}, {"precision": "bf16-mixed", "accumulate_grad_batches": 2}], ids=["plain", "bf16"]
)
def test_lightning_trains_with_the_guarded_optimizer(options: dict[str, Any]) -> None:
    model = Lit()
    start = [parameter.clone() for parameter in model.parameters()]
    x, y = (torch.cat(parts) for parts in zip(*batches(4), strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            accelerator="cpu",
            max_epochs=2,
            gradient_clip_val=0.5,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **options,
        )
        trainer.fit(model, DataLoader(TensorDataset(x, y), batch_size=8))
    assert model.densities == [0.5] * 8
    assert not any(torch.equal(before, after) for before, after in zip(start, model.parameters(), strict=True))
