"""How the rounds of a chain prune."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from workers.stages.serialisation import serialised_as


@dataclass(frozen=True)
class Criterion:
    """A pruning criterion by its registered name (``workers.pruning.criteria``); the lowest scores are pruned."""

    name: str = "magnitude"
    version: int = 1


@dataclass(frozen=True)
class Pruning:
    """How the rounds of a chain prune. The defaults are the paper's, for AWS and LRR.

    Attributes:
        ticket_method: the method's name in its tickets; empty for AWS and LRR, which ``psi`` tells apart.
        prune_at: prune the network as it was after this epoch of round 0, in all rounds, without training in between;
            0 prunes at initialisation. None trains after each pruning.
        reset_to: after each pruning, reset the survivors to their values after this epoch of round 0 (input
            ``reset``); 0 is the initialisation. None keeps the trained weights.
        schedule_from: where the learning-rate schedule begins after a pruning: at its full value ("start"), in the
            epoch of ``reset_to`` ("reset"), or at its last value ("end": fine-tuning).
        one_shot: prune the network of round 0 in every round, directly to the round's density.
        steps: prunings per round, with new scores before each.
    """

    ticket_method: str = field(default="", metadata=serialised_as("method"))
    criterion: Criterion = Criterion()
    prune_at: int | None = None
    reset_to: int | None = None
    schedule_from: Literal["start", "reset", "end"] = "start"
    one_shot: bool = False
    steps: int = 1

    def share(self, prune_fraction: float, round_: int) -> float:
        """Share of the surviving weights of its input network that a round prunes."""
        return 1 - (1 - prune_fraction) ** round_ if self.one_shot else prune_fraction


MAGNITUDE_PRUNING = Pruning()
