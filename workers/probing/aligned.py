"""Barriers up to permutation: permute one network of a pair onto the other, and measure the barrier that is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from workers.probing.path import State, barrier_row, mix, reestimation
from workers.probing.probes import Pair, probe
from workers.stages.execution import StageError
from workers.training.evaluation import reestimate_statistics

ACTIVATION_IMAGES = 1024


class Aligned(NamedTuple):
    """The second network of a pair, permuted onto the first.

    Attributes:
        state: its state dict.
        moved_share: share of its units that moved.
    """

    state: dict[str, Tensor]
    moved_share: float


@probe("aligned_barrier", path=True)
def aligned_barrier(pair: Pair) -> dict[str, float]:
    """Barrier after weight matching (Ainsworth et al. 2023): b is permuted so that its weights are closest to a's."""
    aligned = aligned_by_weights(pair)
    return _numbers(pair, aligned, pair.barrier(b=aligned.state))


@probe("activation_aligned_barrier", path=True)
def activation_aligned_barrier(pair: Pair) -> dict[str, float]:
    """Barrier after activation matching (Li et al. 2016), on 1,024 training images without augmentation.

    Both networks are matched with re-estimated statistics, as they are evaluated.
    """
    from workers.probing.alignment import match_activations, trace_permutations  # scipy takes a while to import

    graph = trace_permutations(pair.a, pair.splits.blank(1))
    a, b = (pair.reestimated(end.state_dict()).state_dict() for end in (pair.a, pair.b))
    permutation = match_activations(graph, a, b, pair.training_batches(ACTIVATION_IMAGES), pair.beat)
    aligned = Aligned(graph.permuted(b, permutation), graph.moved_share(permutation))
    return _numbers(pair, aligned, pair.barrier(b=aligned.state))


def unrepairable(model: nn.Module, prunable: Sequence[str]) -> str:
    """Say why REPAIR cannot correct a network, in words that follow its name; empty if it can."""
    from workers.probing.alignment.repair import beyond_layers, needs_repair

    if not needs_repair(model) or not (beyond := beyond_layers(model, prunable)):
        return ""
    return f"has {beyond[0]}, a weight that no convolution or linear layer applies, so REPAIR cannot correct it"


@probe("repaired_barrier", path=True, unfit=unrepairable)
def repaired_barrier(pair: Pair) -> dict[str, float]:
    """Barrier after weight matching and REPAIR (Jordan et al. 2023).

    With batch norm, REPAIR is the re-estimation that every barrier has, so the numbers are those of
    ``aligned_barrier``. Otherwise every prunable weight must be that of a layer, whose outputs are corrected: a network
    with ``nn.MultiheadAttention``, whose projections are weights without a layer, is refused.
    """
    from workers.probing.alignment.repair import needs_repair

    aligned = aligned_by_weights(pair)
    if not needs_repair(pair.a):
        return _numbers(pair, aligned, pair.barrier(b=aligned.state))
    states, model = repaired_path(pair, aligned.state)
    return _numbers(pair, aligned, barrier_row(pair.evaluation.lambdas, pair.outcomes(states, model)))


def aligned_by_weights(pair: Pair) -> Aligned:
    """Permute b onto a by their parameters."""
    from workers.probing.alignment import match_weights, trace_permutations

    graph = trace_permutations(pair.a, pair.splits.blank(1))
    names = [name for name, _ in pair.a.named_parameters()]
    b = pair.b.state_dict()
    permutation = match_weights(graph, pair.a.state_dict(), b, names, pair.generator("matching"), pair.beat)
    return Aligned(graph.permuted(b, permutation), graph.moved_share(permutation))


def repaired_path(pair: Pair, b: State) -> tuple[Iterator[dict[str, Tensor]], nn.Module]:
    """The points of the path between a and another state whose every layer's outputs are corrected.

    Returns:
        State dicts from lambda 0 (b) to 1 (a), and the network that they fit; its statistics are yet to be estimated.

    Raises:
        StageError: a prunable weight has no layer, or the network never calls its layer.
    """
    from workers.probing.alignment.repair import corrected_state, unmeasured, with_statistics

    path = pair.evaluation
    if why := unrepairable(pair.a, pair.prunable):
        raise StageError(f"repaired_barrier: the network {why}")
    layers = [name.removesuffix(".weight") for name in pair.prunable]
    ends = [with_statistics(pair.a, layers, corrects=False) for _ in range(2)]
    ends[1].load_state_dict(b, strict=False)  # the statistics are not in it
    reestimate_statistics(ends, pair.splits, replace(reestimation(path), reset=True), pair.beat)
    if silent := unmeasured(ends[0], layers):
        raise StageError(f"repaired_barrier: the network never calls {silent[0]}, so REPAIR could not correct it")
    a = pair.a.state_dict()
    between = ((share, mix((a, b), (share, 1 - share))) for share in path.lambdas)
    states = (corrected_state(state, ends[0], ends[1], layers, share) for share, state in between)
    return states, with_statistics(pair.a, layers, corrects=True)


def _numbers(pair: Pair, aligned: Aligned, barriers: Mapping[str, Any]) -> dict[str, float]:
    return {
        "points": barriers["barrier_points"],
        "standard_error_points": barriers["barrier_standard_error_points"],
        "above_chord_points": barriers["barrier_above_chord_points"],
        "loss_nats": barriers["loss_barrier_nats"],
        "loss_above_chord_nats": barriers["loss_barrier_above_chord_nats"],
        "l2_before": _distance(pair, pair.b.state_dict()),
        "l2_after": _distance(pair, aligned.state),
        "moved_units_percent": 100 * aligned.moved_share,
    }


def _distance(pair: Pair, state: State) -> float:
    """Euclidean distance of all parameters to a's."""
    squares = [(a.detach().double() - state[name].double()).square().sum() for name, a in pair.a.named_parameters()]
    return float(torch.stack(squares).sum().sqrt())
