"""Tickets from elsewhere: what is read, how it is labelled, and what is refused before any work starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import prune

import tickets
from orchestrator.imports.places import MOST_TICKETS, TicketSource
from orchestrator.imports.reading import remarks, with_tickets
from orchestrator.imports.writing import import_tickets
from orchestrator.planning.algorithm import count_solutions, count_stages, expand
from orchestrator.recipes.experiments import Experiment, ForeignTicket, Parameter
from orchestrator.recipes.layers import RecipeError
from orchestrator.store import Store
from tests.orchestrator.recipes.small_recipes import recipe
from tests.tickets.networks import PROVENANCE, network
from tickets import Provenance, Ticket, formats
from workers.stages import Imported, Train

CLASSES = 3


def experiment(model: nn.Module | None = None, **changes: Any) -> Experiment:
    """An experiment on the test network, by default on the data set that the tickets are of."""
    model = model or network()
    roles = tickets.parameter_roles(model, CLASSES)
    parameters = {name: Parameter(role, tuple(model.get_parameter(name).shape)) for name, role in roles.items()}
    buffers = {name: tuple(buffer.shape) for name, buffer in model.named_buffers()}
    return Experiment(recipe(**{"dataset": "cifar100", **changes}), "print", parameters=parameters, buffers=buffers)


def ticket(seed: int = 0, share: float = 0.5, **provenance: Any) -> tuple[Ticket, dict[str, Tensor]]:
    """A ticket whose density is the same for all seeds, and the weights that it is of."""
    torch.manual_seed(seed)
    model = network()
    masks = {}
    for name in tickets.prunable_names(model, CLASSES):
        size = model.get_parameter(name).numel()
        masks[name] = (torch.randperm(size) < share * size).view(model.get_parameter(name).shape)
        model.get_parameter(name).data *= masks[name]
    found = tickets.from_model(model, masks, CLASSES, PROVENANCE)
    about = {"method": "aws", "round": 3, "dataset": "cifar100", "density": found.density, **provenance}
    return Ticket(found.tensors, replace(PROVENANCE, **about)), model.state_dict()


def given(source: str, experiment_: Experiment, store: Path) -> list[ForeignTicket]:
    [found] = with_tickets([experiment_], [source], Store(store))
    return list(found.tickets)


def labels(tickets_: list[ForeignTicket]) -> dict[str, tuple[str, int, int]]:
    return {Path(each.found.place).name: (each.method, each.chain, each.round) for each in tickets_}


@pytest.mark.parametrize(
    ("text", "name", "place"),
    [
        ("theirs.parquet", "theirs", "theirs.parquet"),
        ("a/level_3.pth.tar", "level_3", "a/level_3.pth.tar"),
        ("mine=a/b", "mine", "a/b"),
        ("runs/lent:aws/chain1/round10", "lent", "runs/lent:aws/chain1/round10"),
        ("s3://bucket/sweeps", "sweeps", "s3://bucket/sweeps"),
        ("s3://bucket/sweeps:aws/*", "sweeps", "s3://bucket/sweeps:aws/*"),
        ("odd name!/", "odd-name", "odd name!/"),
    ],
)
def test_a_source_has_a_name_and_a_place(text: str, name: str, place: str) -> None:
    assert TicketSource.parse(text) == TicketSource(text, name, place)


def test_files_are_chains_and_keep_their_numbers_when_others_are_added(tmp_path: Path) -> None:
    store, folder = tmp_path / "store", tmp_path / "theirs"
    folder.mkdir()
    for seed in (1, 2):
        tickets.save(ticket(seed)[0], folder / f"{seed}.parquet")
    before = with_tickets([experiment()], [str(folder)], Store(store))
    first = labels(list(before[0].tickets))
    assert {chain for _, chain, _ in first.values()} == {1, 2}
    assert {(method, round_) for method, _, round_ in first.values()} == {("aws@theirs:cifar100", 3)}
    opened = Store(store)
    opened.open_for_writing()
    assert len(import_tickets(expand(before), before, opened, "driver")) == 2
    for seed in range(3, 9):  # of any order of their keys
        tickets.save(ticket(seed)[0], folder / f"{seed}.parquet")
    after = labels(given(str(folder), experiment(), store))
    assert {name: after[name] for name in first} == first
    assert sorted(chain for _, chain, _ in after.values()) == list(range(1, 9))


def test_a_ticket_of_unknown_origin_has_the_round_of_its_density_and_a_fresh_classifier(tmp_path: Path) -> None:
    unknown = {"method": "unknown", "round": None, "dataset": "unknown"}
    tickets.save(ticket(share=0.64, **unknown)[0], tmp_path / "found.parquet")
    [found] = given(str(tmp_path / "found.parquet"), experiment(), tmp_path / "store")
    assert (found.method, found.chain, found.round, found.own_data) == ("found@found", 1, 2, False)
    [sentence] = remarks(replace(experiment(), tickets=(found,)))
    assert "the classifier is fresh, because their data set is unknown" in sentence
    assert "left out without trained weights: retrain and its pairs" in sentence


def test_the_content_identifies_a_ticket(tmp_path: Path) -> None:
    same, state = ticket()
    tickets.save(same, tmp_path / "a.parquet")
    tickets.save(
        replace(same, provenance=Provenance("x", "y", "z", 1, same.density, "sound", "")), tmp_path / "b.parquet"
    )
    formats.write(same, tmp_path / "c.safetensors")
    stages = {
        given(str(tmp_path / name), experiment(dataset="other"), tmp_path / "store")[0].stage
        for name in ("a.parquet", "b.parquet", "c.safetensors")
    }
    [stage] = stages
    assert stage.weights_blake2b is None
    formats.write(same, tmp_path / "hub", "hub")
    assert given(str(tmp_path / "hub"), experiment(dataset="other"), tmp_path / "store")[0].stage == stage
    (tmp_path / "downloaded").mkdir()
    (tmp_path / "hub").rename(tmp_path / "downloaded" / "model")
    (tmp_path / "downloaded" / "README.txt").write_text("not a ticket")
    assert given(str(tmp_path / "downloaded"), experiment(dataset="other"), tmp_path / "store")[0].stage == stage
    (tmp_path / "out").mkdir()
    tickets.save(same, tmp_path / "out" / "ticket.parquet")
    save_file(state, tmp_path / "out" / "weights.safetensors")
    [whole] = given(str(tmp_path / "out"), experiment(), tmp_path / "store")
    assert whole.stage.ticket_blake2b == stage.ticket_blake2b
    assert whole.has_weights


def test_a_checkpoint_of_another_project_brings_its_weights_but_one_of_signs_alone_brings_none(tmp_path: Path) -> None:
    model = network()
    for name in tickets.prunable_names(model, CLASSES):
        prune.l1_unstructured(model.get_submodule(name.removesuffix(".weight")), "weight", amount=0.5)
    torch.save(model.state_dict(), tmp_path / "pruned.pt")
    formats.write(ticket()[0], tmp_path / "signs.pt", "torch-prune")
    own = experiment(dataset="other", methods=())
    [pruned], [signs] = (given(str(tmp_path / name), own, tmp_path / "store") for name in ("pruned.pt", "signs.pt"))
    assert pruned.has_weights
    assert not signs.has_weights
    store = Store(tmp_path / "store")
    store.open_for_writing()
    plan = expand([replace(own, tickets=(pruned,))])
    import_tickets(plan, [replace(own, tickets=(pruned,))], store, "driver")
    [key] = [node.key for node in plan if isinstance(node.stage, Imported)]
    copied = tickets.load(store.local([(key, "ticket.parquet")])[key, "ticket.parquet"])
    assert copied.density == pytest.approx(0.5, abs=0.02)
    trained = [n for n in plan if isinstance(n.stage, Train) and n.labels.transfer == "retrain"]
    assert {node.inputs["ticket"] for node in trained} == {key}


def test_the_stages_of_tickets_are_counted_before_they_are_planned(tmp_path: Path) -> None:
    tickets.save(ticket()[0], tmp_path / "a.parquet")
    [found] = with_tickets([experiment(methods=(), seeds=2)], [str(tmp_path / "a.parquet")], Store(tmp_path / "store"))
    assert len(expand([found])) <= count_stages(found.recipe) + count_solutions(found.recipe) + 1


def refused(folder: Path, source: str, sentence: str, of: Experiment | None = None) -> None:
    with pytest.raises(RecipeError, match=sentence):
        given(source, of or experiment(), folder / "store")
    assert not (folder / "store").exists()


def test_what_is_no_set_of_chains_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    tickets.save(ticket(1)[0], folder / "a.parquet")
    tickets.save(ticket(1)[0], folder / "b.parquet")
    refused(tmp_path, str(folder), "a.parquet and .*b.parquet hold the same ticket")
    tickets.save(ticket(2, share=0.25)[0], folder / "b.parquet")
    refused(tmp_path, str(folder), r"both round 3 of aws@theirs:cifar100, and their densities are 0\.\d+ and 0\.\d+")


def test_weights_must_be_the_tickets_own_and_finite(tmp_path: Path) -> None:
    own, state = ticket(1)
    tickets.save(own, tmp_path / "ticket.parquet")
    save_file(ticket(2)[1], tmp_path / "weights.safetensors")
    refused(tmp_path, str(tmp_path), "has other signs than the ticket, so these weights are another one's")
    name = next(iter(state))
    save_file({**state, name: torch.full_like(state[name], torch.nan)}, tmp_path / "weights.safetensors")
    refused(tmp_path, str(tmp_path), "has values that are no finite numbers")
    save_file({n: t for n, t in state.items() if n != name}, tmp_path / "weights.safetensors")
    refused(tmp_path, str(tmp_path), "of the trained weights is missing, or has another shape")


def test_a_misfit_is_refused(tmp_path: Path) -> None:
    tickets.save(ticket()[0], tmp_path / "a.parquet")
    wide = nn.Sequential(nn.Conv2d(2, 8, 3), nn.Flatten(), nn.Linear(8, CLASSES))
    refused(
        tmp_path, str(tmp_path / "a.parquet"), "a.parquet: 0.weight is prunable of shape .* there", experiment(wide)
    )
    other_classes = network()
    other_classes[-1] = nn.Linear(6, 3, bias=False)
    named = "its classifier .* does not fit cifar100, which its provenance names"
    refused(tmp_path, str(tmp_path / "a.parquet"), named, experiment(other_classes))
    assert given(str(tmp_path / "a.parquet"), experiment(other_classes, dataset="other"), tmp_path / "store")


def test_a_folder_of_too_many_files_is_refused_before_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(MOST_TICKETS + 1):
        (tmp_path / "many" / f"{number}.parquet").touch()
    refused(tmp_path, str(tmp_path / "many"), r"1,001 tickets, and at most 1,000 are read")
