"""Permute a chain's ticket onto another initialisation's dense solution (Adnan et al. 2025, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

import tickets
from workers.attempts.context import StageContext, load_state
from workers.devices.seeds import derive, generator
from workers.probing.path import copy_with
from workers.stages import Train
from workers.training.evaluation import Reestimation, reestimate_statistics, training_images

MATCHED_IMAGES = 1024  # ours; the paper gives no number for CIFAR
STATISTICS_IMAGES = 5120


def permuted_sources(
    context: StageContext,
    stage: Train,
    model: nn.Module,
    inputs: Mapping[str, Path],
    ticket: tickets.Origin,
    sources: Mapping[str, tickets.Origin],
) -> dict[str, tickets.Origin]:
    """Permute the ticket, and the other networks of its chain that a transfer names.

    The permutation is the one that puts the units of the chain's dense solution (input ``round_0``) where the dense
    training of the start's own initialisation (input ``dense``) has them.

    Args:
        model: a network of the setting, on the device; it is not changed.
        ticket: the ticket's masks and signs, and its round's network.
        sources: networks by the names in ``stage.transfer.others``.

    Returns:
        The permuted ticket as "permuted", and the permuted networks by their names.

    Raises:
        StageError: the network's permutations cannot be traced.
    """
    from workers.probing.alignment import match_activations, match_weights, trace_permutations  # imports scipy

    beat, splits = context.control.beat_or_stop, context.splits
    graph = trace_permutations(model, splits.blank(1))
    own, chain = (_on_device(load_state(inputs[name]), context) for name in ("dense", "round_0"))
    if stage.transfer.matching == "weights":
        names = [name for name, _ in model.named_parameters()]
        permutation = match_weights(graph, own, chain, names, generator("matching"), beat)
    else:
        own, chain = _with_statistics(context, stage, model, (own, chain))
        images = training_images(splits, MATCHED_IMAGES, derive("matching", "images"), beat)
        permutation = match_activations(graph, own, chain, images, beat)

    def permuted(origin: tickets.Origin) -> tickets.Origin:
        state = graph.permuted(origin.state, permutation)
        if origin.signed is None:
            return tickets.Origin(state)
        signs = graph.permuted({name: each.sign for name, each in origin.signed.items()}, permutation)
        masks = graph.permuted({name: each.mask for name, each in origin.signed.items()}, permutation)
        signed = {name: replace(each, sign=signs[name], mask=masks[name]) for name, each in origin.signed.items()}
        return tickets.Origin(state, signed)

    of_chain = [name for name in sources if (tickets.named_source(name) or ("", 0))[0] in ("round", "epoch")]
    return {tickets.PERMUTED: permuted(ticket), **{name: permuted(sources[name]) for name in of_chain}}


def _with_statistics(
    context: StageContext, stage: Train, model: nn.Module, states: Sequence[Mapping[str, Tensor]]
) -> list[dict[str, Tensor]]:
    """The states with re-estimated batch-norm statistics: those of a chain under AWS mix all alphas."""
    networks = [copy_with(model, state) for state in states]
    training = stage.training
    how = Reestimation(STATISTICS_IMAGES, training.batch_size, None, training.augmentation, draw_seed=0)
    reestimate_statistics(networks, context.splits, how, context.control.beat_or_stop)
    return [network.state_dict() for network in networks]


def _on_device(state: Mapping[str, Tensor], context: StageContext) -> dict[str, Tensor]:
    return {name: tensor.to(context.splits.device) for name, tensor in state.items()}
