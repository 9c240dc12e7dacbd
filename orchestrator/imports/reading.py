"""Tickets from elsewhere as starts of experiments: read, checked, and labelled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import log
from typing import Any

from orchestrator.imports.contents import Content, check_fits, read_content
from orchestrator.imports.places import TicketSource, slug
from orchestrator.planning.identity import stage_key
from orchestrator.recipes.experiments import Experiment, ForeignTicket, Found
from orchestrator.recipes.layers import RecipeError
from orchestrator.store import Store
from orchestrator.store.provenance import STATED
from orchestrator.store.record import Record
from tickets.formats import UNKNOWN
from workers.stages import Imported
from workers.storage import schemas

SAME_DENSITY = 0.02
"""Relative difference of densities that still count as one round's."""


def with_tickets(experiments: Sequence[Experiment], sources: Sequence[str], store: Store) -> list[Experiment]:
    """Give each experiment the tickets of the sources, read and checked.

    A ticket that the store holds a copy of keeps its labels; if its source is gone, the copy takes its place.

    Args:
        store: the sweep's own; nothing is written.

    Raises:
        RecipeError: a source holds no readable ticket, or one that does not fit an experiment.
        StoreError: another store cannot be read.
    """
    records = store.records({}) if store.storage.exists() else {}
    copies = {key: record for key, record in records.items() if record.kind == Imported.kind}
    parsed = [TicketSource.parse(text) for text in sources]
    names = [source.name for source in parsed]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RecipeError(f"--tickets: two sources are called {twice[0]}; give each a name, such as theirs=FOLDER")
    places_of = {source: _copies(source, copies, store) or source.find() for source in parsed}
    contents: dict[str, Content] = {}
    for each in (each for tickets in places_of.values() for each in tickets):
        contents[each.place] = read_content(each)
    return [_given_to(experiment, places_of, contents, copies) for experiment in experiments]


def _copies(source: TicketSource, copies: Mapping[str, Record], store: Store) -> list[Found]:
    """The store's copies of what a source held, if the source is gone."""
    if source.exists:
        return []
    held = []
    for key, record in copies.items():
        stated: Mapping[str, Any] = record.provenance.get(STATED) or {}
        if stated.get("source") != source.text or store.damage(key):
            continue
        names = [name for name in (schemas.TICKET, schemas.WEIGHTS) if name in record.files]
        files = store.local([(key, name) for name in names])
        held.append(
            Found(
                str(stated.get("place")),
                files[key, schemas.TICKET],
                files.get((key, schemas.WEIGHTS)),
                bool(stated.get("chosen")),
                record.labels.architecture,
                record.labels.chain,
                record.labels.round,
                stated.get("fingerprint"),
            )
        )
    return held


@dataclass(frozen=True)
class _Given:
    """A ticket that fits an experiment, before it has its labels."""

    source: TicketSource
    found: Found
    content: Content
    own_data: bool

    @property
    def stage(self) -> Imported:
        return Imported(self.content.ticket_blake2b, self.content.weights_blake2b)

    @property
    def key(self) -> str:
        return stage_key(self.stage, {})

    @property
    def method(self) -> str:
        """Who found it, the source, and its data set, as far as they are known: "aws@theirs:cifar10"."""
        stated = self.content.provenance
        found_by = stated.method if stated.method not in ("", UNKNOWN) else self.found.ticket.name.split(".")[0]
        data_set = "" if stated.dataset in ("", UNKNOWN) else f":{slug(stated.dataset)}"
        return f"{slug(found_by) or 'ticket'}@{self.source.name}{data_set}"

    def round_at(self, prune_fraction: float) -> int:
        """Its pruning round; if no one states it, the round of an iterative pruning that comes nearest its density."""
        stated = self.found.round if self.content.provenance.round is None else self.content.provenance.round
        if stated is not None:
            return stated
        return round(log(max(self.content.density, 1e-9)) / log(1 - prune_fraction))


def _given_to(
    experiment: Experiment,
    found: Mapping[TicketSource, Sequence[Found]],
    contents: Mapping[str, Content],
    copies: Mapping[str, Record],
) -> Experiment:
    """Check the tickets that an experiment takes of each source, and give them to it."""
    recipe, given = experiment.recipe, list[_Given]()
    for source, places in found.items():
        wanted = [
            each
            for each in places
            if each.chosen or (each.architecture == recipe.arch and each.round in recipe.compared_rounds)
        ]
        if not wanted:
            rounds = ", ".join(map(str, recipe.compared_rounds)) or "none"
            raise RecipeError(
                f"--tickets {source.text}: the store has no ticket of {recipe.arch} at the rounds that are compared "
                f"({rounds}); name its stages, such as {source.place}:aws/chain1/round10"
            )
        for each in wanted:
            content = contents[each.place]
            same_name = content.provenance.dataset == recipe.dataset
            own_data = same_name and each.fingerprint in (None, experiment.data_fingerprint)
            check_fits(content, experiment, each.place, own_data=own_data)
            given.append(_Given(source, each, content, own_data))
    return replace(experiment, tickets=tuple(_labelled(given, experiment, copies)))


def _labelled(given: Sequence[_Given], experiment: Experiment, copies: Mapping[str, Record]) -> Iterator[ForeignTicket]:
    """Label tickets: chains keep a store's numbers; files are numbered, and keep their numbers when others are added.

    Raises:
        RecipeError: two tickets are the same, or cannot be told apart, or are no chains of one experiment.
    """
    recipe = experiment.recipe
    taken = {(r.labels.method, r.labels.round, r.labels.chain): key for key, r in copies.items()}
    places: dict[str, _Given] = {}
    densities: dict[tuple[str, int], _Given] = {}
    for each in sorted(given, key=lambda each: (each.found.chain is None, each.key)):
        if each.key in places:
            raise RecipeError(f"--tickets: {places[each.key].found.place} and {each.found.place} hold the same ticket")
        places[each.key] = each
        method, round_, chain = each.method, each.round_at(recipe.prune_fraction), each.found.chain
        if each.key in copies:
            labels = copies[each.key].labels
            method, round_, chain = labels.method or method, labels.round or 0, labels.chain
        elif chain is None:
            chain = next(n for n in count(1) if (method, round_, n) not in taken)
        other = taken.setdefault((method, round_, chain), each.key)
        if other != each.key:
            rival = places[other].found.place if other in places else copies[other].name
            raise RecipeError(
                f"--tickets: {rival} and {each.found.place} are both chain {chain}, round {round_} of {method}; give "
                f"them as sources of different names, such as first=PLACE,second=PLACE"
            )
        first = densities.setdefault((method, round_), each)
        a, b = first.content.density, each.content.density
        if abs(a - b) > SAME_DENSITY * max(a, b):
            raise RecipeError(
                f"--tickets: {first.found.place} and {each.found.place} are both round {round_} of {method}, and their "
                f"densities are {a:.3g} and {b:.3g}, so they are no chains of one experiment; give them as sources of "
                f"different names, such as first=PLACE,second=PLACE"
            )
        probed = bool(recipe.probe_rounds) and (each.found.chosen or round_ in recipe.probe_rounds)
        yield ForeignTicket(
            each.stage,
            each.source.text,
            each.found,
            each.content.provenance,
            each.content.density,
            method,
            chain or 1,
            round_,
            each.own_data,
            probed,
        )


def remarks(experiment: Experiment) -> Iterator[str]:
    """Say which tickets from elsewhere an experiment starts from, and what is different or left out for them."""
    recipe = experiment.recipe
    of_method: dict[str, list[ForeignTicket]] = {}
    for ticket in experiment.tickets:
        of_method.setdefault(ticket.method, []).append(ticket)
    for method, tickets in of_method.items():
        chains, rounds = ({getattr(each, name) for each in tickets} for name in ("chain", "round"))
        places = f"chains {_listed(chains)}, rounds {_listed(rounds)}"
        sentence = f"{recipe.dataset}/{recipe.arch}: tickets from elsewhere {method}: {places}"
        if not all(each.own_data for each in tickets):
            of = {each.provenance.dataset for each in tickets if not each.own_data} - {UNKNOWN, ""}
            stated = f"they are of {', '.join(sorted(of))}" if of else "their data set is unknown"
            sentence += f"; the classifier is fresh, because {stated}"
        left_out: dict[str, set[str]] = {}
        for name in ("retrain", *recipe.transfers):
            for lacking in filter(None, {each.lacks(recipe.start(name)) for each in tickets}):
                left_out.setdefault(lacking, set()).add(name)
        for lacking, names in sorted(left_out.items()):
            pairs = " and its pairs" if "retrain" in names else ""
            sentence += f"; left out without {lacking}: {', '.join(sorted(names))}{pairs}"
        yield f"{sentence}."


def _listed(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
