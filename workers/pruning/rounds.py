"""Prune a network at the start of a round, in one or several steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from workers.data.splits import Splits
from workers.devices.seeds import derive
from workers.pruning.criteria import Candidate, scores
from workers.pruning.masking import Masking
from workers.pruning.selection import prune, survivors_after
from workers.stages import Round


def round_masks(
    stage: Round, model: nn.Module, masks: Mapping[str, Tensor], splits: Splits, beat: Callable[[], None]
) -> Mapping[str, Tensor]:
    """The masks of a round.

    Any number of steps leaves as many survivors as a single step would.

    Args:
        model: the trained network; weights that a step prunes are zero in the next step.
        masks: the masks that the network was trained under.
        beat: called before each step.
    """
    pruning, training = stage.pruning, stage.training
    share = pruning.share(stage.prune_fraction, stage.round)
    weights = sum(mask.numel() for mask in masks.values())
    total = alive = int(torch.stack([mask.sum() for mask in masks.values()]).sum())
    for step in range(1, pruning.steps + 1):
        beat()
        keep = survivors_after(total, 1 - (1 - share) ** (step / pruning.steps))
        Masking(model, masks).mask_weights_()
        candidate = Candidate(
            model,
            masks,
            keep / weights,
            splits,
            training.augmentation,
            training.batch_size,
            derive(stage.sgd_seed, "step", step),
            beat,
        )
        masks = prune(scores(pruning.criterion, candidate), masks, 1 - keep / max(alive, 1))
        alive = keep
    return masks
