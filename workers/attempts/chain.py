"""A chain of rounds, and the final training of its tickets.

Round 0 trains the dense network, every later round prunes, rewinds and trains. The final training transfers a ticket to
a start. ``orchestrator/planning/algorithm.py`` chains the rounds. docs/method.md has the rules and the tests that guard
them; docs/experiments.md has the methods.
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
from workers.attempts.permuted import permuted_sources
from workers.devices.seeds import derive, generator
from workers.pruning.rounds import round_masks
from workers.pruning.selection import density
from workers.stages import METHOD_OF_PSI, Pretrain, Round, Train
from workers.stages.execution import StageError
from workers.storage import artifacts, schemas
from workers.training.evaluation import Reestimation, evaluate, evaluate_share, reestimate_statistics
from workers.training.trainer import TrainingLog

AWS_EVALUATION_IMAGES = 5120
Masks = Mapping[str, Tensor]
ChainStage = Pretrain | Round


def run_pretrain(context: StageContext, stage: Pretrain, out: Path, key: str) -> dict[str, Any]:
    """Round 0: train the dense network from its initialisation."""
    model = context.fresh_model(stage.init_seed)
    initialisation = model.state_dict()
    if context.member.is_leader:
        artifacts.save_weights(out / schemas.INIT, initialisation)
    digests = {"init_blake2b": artifacts.state_digest(initialisation), "data_blake2b": context.data.content_blake2b}
    prunable = tickets.prunable_names(model, context.data.num_classes)
    masks = {name: torch.ones_like(model.get_parameter(name), dtype=torch.bool) for name in prunable}
    log = _train(context, stage, model, masks)
    return {**digests, **_save(context, stage, model, masks, log, out, key)}


def run_round(context: StageContext, stage: Round, inputs: Mapping[str, Path], out: Path, key: str) -> dict[str, Any]:
    """A round of iterative pruning: prune, rewind, train.

    Args:
        inputs: ``previous``, the network to prune: the round before, or round 0 if one-shot; and ``reset``, the
            network to rewind to, unless weights carry over.
    """
    model = context.load_model(inputs["previous"])
    ticket = tickets.load(inputs["previous"] / schemas.TICKET)
    ticket.check_fits(model)
    masks: Masks = {name: mask.to(context.splits.device) for name, mask in ticket.masks.items()}
    # prune: the lowest scores by the criterion, globally
    masks = round_masks(stage, model, masks, context.splits, context.control.beat)
    # rewind weights, psi and running statistics; LRR and AWS keep the trained ones
    if "reset" in inputs:
        model.load_state_dict(load_state(inputs["reset"]))
    log = _train(context, stage, model, masks)
    return _save(context, stage, model, masks, log, out, key)


def run_final_training(context: StageContext, stage: Train, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Transfer, train, evaluate.

    Args:
        inputs: ``ticket``, unless the start is dense, and the other sources that the transfer names.
    """
    model = context.fresh_model(stage.init_seed)
    init_digest = artifacts.state_digest(model.state_dict())
    masks = _transfer(context, stage, model, inputs)
    log = context.train(model, stage.training, masks, stage.sgd_seed)
    watched = context.setting.watch_test_set and bool(log.metrics)  # nothing is watched without an epoch
    if stage.read_test_set and not watched:
        split = context.splits.test
        loss, error = evaluate_share(model, context.splits, split, context.member, context.control.beat)
        log.add_to_last_epoch("test", loss, 100 - error, len(split))
    if not context.member.is_leader:
        return {}
    signs = save_training(model, masks, log, out)
    last = log.metrics[-1]
    return {
        "init_blake2b": init_digest,
        "data_blake2b": context.data.content_blake2b,
        "density": density(masks) if masks else 1.0,
        f"{last['split']}_accuracy_percent": last["accuracy_percent"],
        f"{last['split']}_loss_nats": last["loss_nats"],
        **signs,
    }


def _train(context: StageContext, stage: ChainStage, model: nn.Module, masks: Masks) -> TrainingLog:
    """Train the survivors, with interpolated psi under AWS."""
    alpha = stage.alpha if stage.psi == "interpolated" else None
    log = context.train(model, stage.training, masks, stage.sgd_seed, alpha)
    if alpha and log.metrics and len(context.splits.validation) and context.member.is_leader:
        _log_unbiased_validation(context, stage, model, log)
    return log


def _log_unbiased_validation(context: StageContext, stage: ChainStage, model: nn.Module, log: TrainingLog) -> None:
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
    signs = save_training(model, masks, log, out)
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
    return {"density": ticket.density, "validation_accuracy_percent": accuracy, **signs}


def _transfer(context: StageContext, stage: Train, model: nn.Module, inputs: Mapping[str, Path]) -> Masks:
    """Give a fresh network what the transfer takes from the ticket and other sources; return the masks."""
    signed, trained, sources = None, None, {}
    if "ticket" in inputs:
        signed = tickets.load(inputs["ticket"] / schemas.TICKET).tensors
        # a ticket from elsewhere may have no weights
        trained = load_state(inputs["ticket"]) if stage.transfer.takes_trained else None
        named = [name for name in stage.transfer.others if tickets.named_source(name)]
        sources = {name: _source(context, name, inputs) for name in named}
        if stage.transfer.matched:
            sources |= permuted_sources(context, stage, model, inputs, tickets.Origin(trained or {}, signed), sources)
    stream = generator(stage.init_seed, "transfer")
    return tickets.transfer_(model, stage.transfer, signed, trained, stream, sources)


def _source(context: StageContext, name: str, inputs: Mapping[str, Path]) -> tickets.Origin:
    """A source that the transfer names: an input, or the initialisation of a transfer seed."""
    if name in inputs:
        ticket = inputs[name] / schemas.TICKET  # a dense training has none
        return tickets.Origin(load_state(inputs[name]), tickets.load(ticket).tensors if ticket.exists() else None)
    kind, seed = tickets.named_source(name) or ("", 0)
    if kind != "init":
        raise StageError(f"this transfer takes values of {name}, and the stage has no such input")
    return tickets.Origin(context.fresh_model(derive("init", "seed", seed)).state_dict())
