"""The final training: transfer a ticket to a start, train it, and read the test set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import tickets
from workers.attempts.context import StageContext, load_state, save_training
from workers.devices.seeds import derive, generator
from workers.pruning.selection import density
from workers.stages import Train
from workers.storage import artifacts, schemas
from workers.training.evaluation import evaluate_share


def run_final_training(context: StageContext, stage: Train, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Transfer, train, evaluate.

    Args:
        inputs: ``ticket``, unless the start is dense, and the other sources that the transfer names.
    """
    model = context.fresh_model(stage.init_seed)
    init_digest = artifacts.state_digest(model.state_dict())
    masks = _transfer(context, stage, model, inputs)
    log = context.train(model, stage.training, masks, stage.sgd_seed)
    if stage.read_test_set and not context.setting.watch_test_set:
        split = context.splits.test
        loss, error = evaluate_share(model, context.splits, split, context.member, context.control.beat)
        log.add_to_last_epoch("test", loss, 100 - error, len(split))
    if not context.member.is_leader:
        return {}
    save_training(model, masks, log, out)
    last = log.metrics[-1]
    return {
        "init_blake2b": init_digest,
        "data_blake2b": context.data.content_blake2b,
        "density": density(masks) if masks else 1.0,
        f"{last['split']}_accuracy_percent": last["accuracy_percent"],
        f"{last['split']}_loss_nats": last["loss_nats"],
    }


def _transfer(
    context: StageContext, stage: Train, model: nn.Module, inputs: Mapping[str, Path]
) -> Mapping[str, Tensor]:
    """Give a fresh network what the transfer takes from the ticket and other sources; return the masks."""
    signed, trained, sources = None, None, {}
    if "ticket" in inputs:
        signed = tickets.load(inputs["ticket"] / schemas.TICKET).tensors
        trained = load_state(inputs["ticket"])
        sources = {name: _source(context, name, inputs) for name in stage.transfer.others}
    stream = generator(stage.init_seed, "transfer")
    return tickets.transfer_(model, stage.transfer, signed, trained, stream, sources)


def _source(context: StageContext, name: str, inputs: Mapping[str, Path]) -> tickets.Origin:
    """A source that the transfer names: an input, or the initialisation of a transfer seed."""
    if name in inputs:
        return tickets.Origin(load_state(inputs[name]), tickets.load(inputs[name] / schemas.TICKET).tensors)
    kind, seed = tickets.named_source(name) or ("", 0)
    if kind != "init":
        raise ValueError(f"this transfer takes values of {name}, and the stage has no such input")
    return tickets.Origin(context.fresh_model(derive("init", "seed", seed)).state_dict())
