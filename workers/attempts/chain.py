"""Iterative pruning: round 0 trains the dense network, and every later round prunes, rewinds and trains.

``orchestrator/planning/algorithm.py`` chains the rounds. docs/method.md has the rules and the tests that guard them;
docs/experiments.md has the methods.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import tickets
from workers.attempts.context import StageContext, load_state, save_training
from workers.pruning.rounds import round_masks
from workers.pruning.selection import density
from workers.stages import METHOD_OF_PSI, Pretrain, Round
from workers.storage import artifacts, schemas
from workers.training.evaluation import Reestimation, evaluate, reestimate_statistics
from workers.training.trainer import TrainingLog

AWS_EVALUATION_IMAGES = 5120
Masks = Mapping[str, Tensor]


def run_pretrain(context: StageContext, stage: Pretrain, out: Path, key: str) -> dict[str, Any]:
    """Round 0: train the dense network from its initialisation."""
    model = context.fresh_model(stage.init_seed)
    initialisation = model.state_dict()
    if context.member.is_leader:
        artifacts.save_weights(out / schemas.INIT, initialisation)
    digests = {
        "init_blake2b": artifacts.state_digest(initialisation),
        "data_blake2b": context.data.content_blake2b,
    }
    masks = _dense_masks(context, model)
    log = _train(context, stage, model, masks)
    return {**digests, **_save(context, stage, model, masks, log, out, key)}


def run_round(context: StageContext, stage: Round, inputs: Mapping[str, Path], out: Path, key: str) -> dict[str, Any]:
    """A round of iterative pruning: prune, rewind, train.

    Args:
        inputs: ``previous``, the network to prune: the round before, or round 0 if one-shot; and ``reset``, the
            network to rewind to, unless weights carry over.
    """
    model, masks = _load_previous(context, inputs["previous"])
    masks = _prune(context, stage, model, masks)
    _rewind(model, inputs.get("reset"))
    log = _train(context, stage, model, masks)
    return _save(context, stage, model, masks, log, out, key)


def _dense_masks(context: StageContext, model: nn.Module) -> Masks:
    """Masks that keep every prunable weight."""
    names = tickets.prunable_names(model, context.data.num_classes)
    parameters = dict(model.named_parameters())
    return {name: torch.ones_like(parameters[name], dtype=torch.bool) for name in names}


def _load_previous(context: StageContext, previous: Path) -> tuple[nn.Module, Masks]:
    """Load the network to prune, and its masks onto the device."""
    ticket = tickets.load(previous / schemas.TICKET)
    model = context.fresh_model()
    ticket.check_fits(model)
    model.load_state_dict(load_state(previous))
    return model, {name: mask.to(context.splits.device) for name, mask in ticket.masks.items()}


def _prune(context: StageContext, stage: Round, model: nn.Module, masks: Masks) -> Masks:
    """Choose the weights that survive, globally by the criterion's scores."""
    return round_masks(stage, model, masks, context.splits, context.control.beat)


def _rewind(model: nn.Module, reset: Path | None) -> None:
    """Reset weights, psi and running statistics to those of another stage; LRR and AWS keep the trained ones."""
    if reset is not None:
        model.load_state_dict(load_state(reset))


def _train(context: StageContext, stage: Pretrain | Round, model: nn.Module, masks: Masks) -> TrainingLog:
    """Train the survivors, with interpolated psi under AWS."""
    alpha = stage.alpha if stage.psi == "interpolated" else None
    log = context.train(model, stage.training, masks, stage.sgd_seed, alpha)
    if alpha and log.metrics and len(context.splits.validation) and context.member.is_leader:
        _log_unbiased_validation(context, stage, model, log)
    return log


def _log_unbiased_validation(
    context: StageContext, stage: Pretrain | Round, model: nn.Module, log: TrainingLog
) -> None:
    """Validate at alpha = 0 with re-estimated statistics: those of AWS's training mix all alphas."""
    network, splits, beat = copy.deepcopy(model), context.splits, context.control.beat
    training = stage.training
    how = Reestimation(AWS_EVALUATION_IMAGES, training.batch_size, None, training.augmentation, draw_seed=0)
    reestimate_statistics([network], splits, how, beat)
    (outcomes,) = evaluate([network], splits, splits.validation, beat)
    accuracy_percent, images = 100 - outcomes.error_percent, len(splits.validation)
    log.add_to_last_epoch("validation_reestimated", outcomes.mean_loss_nats, accuracy_percent, images)


def _save(
    context: StageContext,
    stage: Pretrain | Round,
    model: nn.Module,
    masks: Masks,
    log: TrainingLog,
    out: Path,
    key: str,
) -> dict[str, Any]:
    """Write the trained network and its ticket; return the results for the record, nothing on other ranks than 0."""
    if not context.member.is_leader:
        return {}
    save_training(model, masks, log, out)
    round_, named = (stage.round, stage.pruning.ticket_method) if isinstance(stage, Round) else (0, "")
    provenance = tickets.Provenance(
        dataset=context.setting.data.name,
        architecture=context.setting.model.name,
        method=named or METHOD_OF_PSI[stage.psi],
        round=round_,
        density=density(masks),
        preset=context.setting.preset,
        stage_key=key,
    )
    ticket = tickets.from_model(model, masks, context.data.num_classes, provenance)
    tickets.save(ticket, out / schemas.TICKET)
    last = log.metrics[-1] if log.metrics else None  # a network pruned at initialisation is not trained
    accuracy = last["accuracy_percent"] if last and last["split"].startswith("validation") else None
    return {"density": ticket.density, "validation_accuracy_percent": accuracy}
