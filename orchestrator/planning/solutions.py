"""The solutions of tickets as stages in a plan: final trainings from each start, and probes of their pairs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from orchestrator.planning.landscape import add_landscape, reestimation
from orchestrator.planning.plan import Node
from orchestrator.planning.stage_planner import ChainPlanner, ExperimentPlanner
from orchestrator.recipes.experiments import ForeignTicket
from orchestrator.recipes.recipe import ROUND_END
from orchestrator.store.record import Labels, ProbeKind
from tickets import Transfer, named_source
from workers.probing.probes import PROBES
from workers.stages import PairProbe, PathEvaluation, Probe


class SolutionsPlanner:
    """Adds the solutions of one chain's tickets to a plan: trained from each start, and probed in pairs.

    Args:
        experiment: the data set and network that solutions are trained on.
        labels: of the chain; its tickets' rounds are added.
        prefix: the beginning of the solutions' names.
        ticket_of: returns the stage that holds a round's ticket.
        source_of: returns the stage of another source, such as "round_3" or "epoch_0".
        lacking: returns what a start takes that the tickets do not have; such a start is not possible.
        own_data: whether the tickets are of the experiment's data set. On another one the classifier is fresh, because
            a ticket's signs of it mean nothing for other classes; every other part keeps the transfer's source.
    """

    def __init__(
        self,
        experiment: ExperimentPlanner,
        labels: Labels,
        prefix: str,
        ticket_of: Callable[[int], Node],
        source_of: Callable[[str], Node],
        *,
        lacking: Callable[[Transfer], str] = lambda start: "",
        own_data: bool = True,
    ) -> None:
        self._experiment, self._plan, self._recipe = experiment, experiment.plan, experiment.recipe
        self._labels, self._prefix, self._own_data = labels, prefix, own_data
        self._ticket_of, self._source_of, self._lacking = ticket_of, source_of, lacking

    def start(self, name: str) -> Transfer:
        """A start by name, as these tickets are transferred."""
        transfer = self._recipe.start(name)
        return transfer if self._own_data else replace(transfer, classifier="fresh")

    def is_possible(self, name: str) -> bool:
        """Whether the tickets have all that a start takes."""
        return not self._lacking(self.start(name))

    def train(self, start: str, round_: int, seed: int, *, twin: bool = False) -> Node:
        """Add the final training of a round's ticket from a start; a twin differs in its SGD seed only."""
        name = f"{self._prefix}/round{round_:02d}/{start}/seed{seed}" + ("/twin" if twin else "")
        transfer, inputs = self.start(start), {"ticket": self._ticket_of(round_)}
        for source in transfer.others:  # such as round_3 or epoch_0 of this chain; an initialisation is no stage
            kind, number = named_source(source) or ("", 0)
            if kind in ("round", "epoch"):
                inputs[source] = self._source_of(source)
            elif kind == "dense":
                inputs[source] = self._experiment.train_dense(seed, number)
        if transfer.matched:
            inputs |= {"round_0": self._source_of("round_0"), "dense": self._experiment.train_dense(seed)}
        labels = replace(self._labels, round=round_, transfer=start, seed=seed, twin=twin)
        return self._experiment.add_training(name, labels, transfer, **inputs)

    def probe(self, kind: ProbeKind, a: Node, b: Node) -> None:
        """Add the barrier probe of a pair of solutions, and the recipe's other probes of this pair."""
        start, _, seed = a.name.rpartition("/")
        self._probe(f"{start}/{kind}/{seed}", replace(a.labels, probe=kind, twin=False), a, b)

    def probe_successive_rounds(self, rounds: Sequence[Node]) -> None:
        """Probe each round's network, as it is at the round's end, with that of the round before.

        Paul et al. (2023): successive solutions of iterative pruning are linearly connected. Their masks differ, so
        that points between them have the weights of both.

        Args:
            rounds: the stages of the chain, from round 0.
        """
        for round_, (before, network) in enumerate(pairwise(rounds), 1):
            labels = replace(self._labels, round=round_, transfer=ROUND_END, probe="successive")
            self._probe(f"{self._prefix}/round{round_:02d}/successive", labels, network, before)

    def _probe(self, name: str, labels: Labels, a: Node, b: Node) -> None:
        recipe, setting = self._recipe, self._experiment.setting
        stage = Probe(setting, recipe.probe_points, **reestimation(recipe))
        path = PathEvaluation(recipe.probe_points, **reestimation(recipe))
        self._plan.add(name, stage, labels, a=a, b=b)
        for probe in recipe.probes:
            registered = PROBES[probe]
            pair_probe = PairProbe(setting, probe, registered.version, path if registered.path else None)
            self._plan.add(f"{name}/{probe}", pair_probe, labels, a=a, b=b)

    def landscape(self, solutions: Sequence[Node]) -> None:
        """Add the error landscape through three solutions."""
        recipe = self._recipe
        add_landscape(self._plan, solutions, recipe.landscape_points, recipe.landscape_margin, recipe)


def of_chain(chain: ChainPlanner) -> SolutionsPlanner:
    """The solutions of a chain on its own data set."""
    return SolutionsPlanner(chain.experiment, chain.labels, chain.prefix, chain.rounds.__getitem__, chain.source)


def onto(experiment: ExperimentPlanner, chain: ChainPlanner) -> SolutionsPlanner:
    """The solutions of another data set's chain on this one; its method is called METHOD@DATASET."""
    method = f"{chain.labels.method}@{chain.labels.dataset}"
    labels = replace(experiment.labels, method=method, chain=chain.labels.chain)
    prefix = f"{experiment.prefix}/{method}/chain{chain.labels.chain}"
    return SolutionsPlanner(experiment, labels, prefix, chain.rounds.__getitem__, chain.source, own_data=False)


def of_foreign(experiment: ExperimentPlanner, ticket: ForeignTicket) -> SolutionsPlanner:
    """The solutions of a ticket from elsewhere, whose copy in the store is a stage of its own."""
    labels = replace(experiment.labels, method=ticket.method, chain=ticket.chain)
    prefix = f"{experiment.prefix}/{ticket.method}/chain{ticket.chain}"
    name, of_round = f"{prefix}/round{ticket.round:02d}/imported", replace(labels, round=ticket.round)
    copy = experiment.plan.add(name, ticket.stage, of_round)

    def no_source(name: str) -> Node:
        raise KeyError(name)  # a start that takes one is not possible

    return SolutionsPlanner(
        experiment, labels, prefix, lambda _: copy, no_source, lacking=ticket.lacks, own_data=ticket.own_data
    )
