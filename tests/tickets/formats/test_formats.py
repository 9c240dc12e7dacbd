"""Every format holds a ticket exactly, or refuses it and writes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import tickets
from tests.tickets.networks import PROVENANCE, network, networks, random_masks, signed, ticket_of
from tickets import Provenance, Role, SignedTensor, Ticket, TicketError, formats
from tickets.formats import FORMATS, Hints, placed
from workers.models import build_model
from workers.stages import Model

OWN = ("parquet", "safetensors", "hub")


def one_weight(sign: list[list[int]], mask: list[list[int]], role: Role = Role.PRUNABLE) -> SignedTensor:
    return SignedTensor(role, torch.tensor(sign, dtype=torch.int8), torch.tensor(mask).bool())


def small() -> Ticket:
    torch.manual_seed(0)
    model = network()
    return ticket_of(model, random_masks(model))


@pytest.mark.parametrize("name", FORMATS)
def test_a_ticket_survives_writing_and_reading(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    @settings(max_examples=20)
    @given(networks(zeros=name != "sparse"))
    def comes_back(ticket: Ticket) -> None:
        path = tmp_path_factory.mktemp("ticket") / "t"
        assert formats.write(ticket, path, name).format is FORMATS[name]
        recognised, back, _ = formats.read_with_format(path)
        assert recognised is FORMATS[name]
        assert dict(back.tensors) == dict(ticket.tensors)
        assert list(back.tensors) == list(ticket.tensors)
        if name in OWN:
            assert back.provenance == PROVENANCE
        else:
            assert back.provenance == Provenance(*["unknown"] * 3, None, ticket.density, "unknown", "unknown")

    comes_back()


@pytest.mark.parametrize("name", OWN)
def test_our_formats_hold_any_names_roles_and_masks(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    labels = st.text(min_size=1, max_size=8).filter(lambda text: text != "__metadata__")
    texts = st.text(max_size=8)
    provenances = st.builds(
        Provenance, texts, texts, texts, st.none() | st.integers(0, 99), st.floats(0, 1), texts, texts
    )
    shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
    tensors = st.tuples(st.sampled_from(Role), shapes).flatmap(lambda drawn: signed(*drawn, zeros=True))

    @settings(max_examples=20)
    @given(st.dictionaries(labels, tensors, max_size=3), provenances)
    def holds(named: dict[str, SignedTensor], provenance: Provenance) -> None:
        assume(not any(f"{each}.mask" in named for each in named))
        ticket, path = Ticket(named, provenance), tmp_path_factory.mktemp("ticket") / "t"
        formats.write(ticket, path, name)
        back = formats.read(path)
        assert (dict(back.tensors), back.provenance) == (named, provenance)

    holds()


def test_a_plain_state_dict_refuses_a_surviving_zero(tmp_path: Path) -> None:
    ticket = Ticket({"a.weight": one_weight([[1, 0]], [[1, 1]]), "b.weight": one_weight([[1]], [[1]])}, PROVENANCE)
    with pytest.raises(TicketError, match=r"a\.weight: 1 surviving weights are exactly 0"):
        formats.write(ticket, tmp_path / "t.pt", "sparse")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(set(FORMATS) - set(OWN)))
def test_a_ticket_that_a_format_would_change_is_refused(name: str, tmp_path: Path) -> None:
    pruned_bias = SignedTensor(Role.BIAS, torch.zeros(1, dtype=torch.int8), torch.zeros(1, dtype=torch.bool))
    tensors = {"a.weight": one_weight([[1, 0]], [[1, 0]]), "a.bias": pruned_bias}
    head = {"b.weight": one_weight([[1]], [[1]], Role.CLASSIFIER)}
    with pytest.raises(TicketError, match=r"a\.bias: .* cannot hold this bias"):
        formats.write(Ticket({**tensors, **head}, PROVENANCE), tmp_path / "t", name)
    assert list(tmp_path.iterdir()) == []


def test_turboprune_refuses_convolutions_that_it_takes_for_linear_layers(tmp_path: Path) -> None:
    over_one_position = SignedTensor(Role.PRUNABLE, torch.ones(2, 2, 1, dtype=torch.int8), torch.ones(2, 2, 1).bool())
    ticket = Ticket({"a.weight": over_one_position, "b.weight": one_weight([[1]], [[1]], Role.CLASSIFIER)}, PROVENANCE)
    with pytest.raises(TicketError, match=r"a\.weight: .* cannot hold"):
        formats.write(ticket, tmp_path / "t.pt", "turboprune")
    assert list(tmp_path.iterdir()) == []


def test_safetensors_refuses_a_parameter_named_as_anothers_mask(tmp_path: Path) -> None:
    ticket = Ticket({"a": one_weight([[1]], [[1]]), "a.mask": one_weight([[1]], [[1]])}, PROVENANCE)
    with pytest.raises(TicketError, match=r"a\.mask: two tensors would have this name"):
        formats.write(ticket, tmp_path / "t.safetensors")


def test_safetensors_hold_plain_signs_and_masks(tmp_path: Path) -> None:
    ticket = small()
    formats.write(ticket, tmp_path / "t.safetensors")
    tensors = load_file(tmp_path / "t.safetensors")
    assert tensors["0.weight"].dtype is torch.int8
    assert torch.equal(tensors["0.weight.mask"], ticket.masks["0.weight"])
    with safe_open(tmp_path / "t.safetensors", "pt") as file:
        header = json.loads(file.metadata()["winning_sign"])
    assert header["roles"]["7.bias"] == "classifier"
    assert header["provenance"]["round"] == 3


def rewritten(path: Path, **changes: torch.Tensor) -> Path:
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = {**load_file(path), **{name.replace("__", "."): tensor for name, tensor in changes.items()}}
    save_file({name: tensor for name, tensor in tensors.items() if tensor.numel()}, path, metadata)
    return path


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("7__bias", torch.tensor([1, 2, 0]).to(torch.int8), r"7\.bias: a sign is -1, 0 or \+1"),
        ("7__bias", torch.tensor([1.0, 1, 0]), r"7\.bias: a sign is int8"),
        ("7__bias__mask", torch.zeros(3).bool(), r"7\.bias: a pruned weight has a sign"),
        ("7__bias__mask", torch.ones(4).bool(), r"7\.bias: sign \(3,\) and mask \(4,\)"),
        ("7__bias__mask", torch.zeros(0), r"the file lacks the tensor 7\.bias\.mask"),
        ("other", torch.ones(1), "the header does not name the tensor other"),
    ],
)
def test_damaged_safetensors_name_the_tensor(tmp_path: Path, name: str, value: torch.Tensor, sentence: str) -> None:
    formats.write(small(), tmp_path / "t.safetensors")
    with pytest.raises(TicketError, match=sentence):
        formats.read(rewritten(tmp_path / "t.safetensors", **{name: value}))


def test_weights_with_masks_in_safetensors_are_read_without_our_header(tmp_path: Path) -> None:
    weights = {"a.weight": torch.tensor([[0.5, -2.0, 0.0]]), "a.weight.mask": torch.tensor([[0.0, 1, 1]])}
    save_file({**weights, "b.weight": torch.tensor([[-1.0]])}, tmp_path / "t.safetensors")
    recognised, ticket, _ = formats.read_with_format(tmp_path / "t.safetensors")
    assert recognised.name == "safetensors"
    assert ticket.tensors["a.weight"] == one_weight([[0, -1, 0]], [[0, 1, 1]])
    assert ticket.tensors["b.weight"].role is Role.CLASSIFIER


def test_a_hub_folder_has_a_card_with_provenance_and_checksums(tmp_path: Path) -> None:
    ticket = replace(
        small(), provenance=replace(small().provenance, architecture="net|<b>`x`\nline", dataset="unknown")
    )
    formats.write(ticket, tmp_path / "hub", "hub")
    assert sorted(path.name for path in (tmp_path / "hub").iterdir()) == [
        "README.md",
        "ticket.parquet",
        "ticket.safetensors",
    ]
    text = (tmp_path / "hub" / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["datasets"] == []
    assert front["winning_sign"]["round"] == 3
    assert set(front["winning_sign"]["sha256"]) == {"ticket.parquet", "ticket.safetensors"}
    body = text.split("---\n", 2)[2]
    assert r"| architecture | net\|\<b\>\`x\` line |" in body
    assert "| stage key | k |" in body
    example = body.split("```python\n")[1].split("```")[0].replace('"ticket.parquet"', "path")
    assert len(example.splitlines()) == 3
    names = {"model": network(), "path": tmp_path / "hub" / "ticket.parquet"}
    exec(example, names)
    assert set(names["kept"].masks) == set(ticket.masks)


def test_a_hub_folder_whose_files_changed_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        formats.write(small(), tmp_path / name, "hub")
    file, card = tmp_path / "one" / "ticket.parquet", tmp_path / "one" / "README.md"
    before = sha256(file.read_bytes()).hexdigest()
    tickets.save(replace(small(), provenance=PROVENANCE), file)
    with pytest.raises(TicketError, match=r"one/ticket\.parquet is not the file that the card lists"):
        formats.read(tmp_path / "one")
    card.write_text(card.read_text().replace(before, sha256(file.read_bytes()).hexdigest()))
    with pytest.raises(TicketError, match="hold different tickets"):
        formats.read(tmp_path / "one")
    (tmp_path / "two" / "ticket.safetensors").unlink()
    with pytest.raises(TicketError, match=r"two/ticket\.safetensors is missing, though the card names it"):
        formats.read(tmp_path / "two")
    (tmp_path / "three" / "README.md").write_text("no front matter")
    with pytest.raises(TicketError, match="front matter lacks the SHA-256"):
        formats.read(tmp_path / "three")


def test_the_extension_chooses_the_format_if_only_one_has_it(tmp_path: Path) -> None:
    for name, expected in {"t.parquet": "parquet", "t.safetensors": "safetensors", "t.pth.tar": "authors"}.items():
        assert formats.write(small(), tmp_path / name).format.name == expected
    for name, choice in {"t.pt": "torch-prune, turboprune, sparse", "folder": "hub, open-lth"}.items():
        with pytest.raises(TicketError, match=f"choose one of {choice} with --to"):
            formats.write(small(), tmp_path / name)
    with pytest.raises(TicketError, match="unknown format 'torch_prune'; did you mean torch-prune"):
        formats.read(tmp_path / "t.parquet", "torch_prune")
    with pytest.raises(
        TicketError, match=r"is not a checkpoint of the paper's .*; it is this project's ticket\.parquet"
    ):
        formats.read(tmp_path / "t.parquet", "authors")


def test_hints_replace_a_files_provenance(tmp_path: Path) -> None:
    for name in OWN:
        formats.write(small(), tmp_path / name, name)
        provenance = formats.read(tmp_path / name, hints=Hints(provenance={"dataset": "mine", "round": 7})).provenance
        assert provenance == replace(small().provenance, dataset="mine", round=7)


def test_existing_files_stay_without_force_and_beside_other_files(tmp_path: Path) -> None:
    other = Ticket({**small().tensors, "x.bias": small().tensors["7.bias"]}, PROVENANCE)
    for name, form in {"t.parquet": "parquet", "hub": "hub"}.items():
        formats.write(small(), tmp_path / name, form)
        with pytest.raises(TicketError, match="exists"):
            formats.write(other, tmp_path / name, form)
        assert formats.read(tmp_path / name) == small()
        formats.write(other, tmp_path / name, form, force=True)
        assert formats.read(tmp_path / name) == other
    (tmp_path / "hub" / "notes.txt").write_text("mine")
    with pytest.raises(TicketError, match=r"hub holds notes\.txt, which would be lost"):
        formats.write(small(), tmp_path / "hub", "hub", force=True)
    with pytest.raises(TicketError, match="a folder cannot replace it"):
        formats.write(small(), tmp_path / "t.parquet", "hub", force=True)
    with pytest.raises(TicketError, match="is no folder; create it first"):
        formats.write(small(), tmp_path / "none" / "t.parquet")
    assert formats.read(tmp_path / "t.parquet") == formats.read(tmp_path / "hub") == other
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub", "t.parquet"]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("before")

    def fails(place: Path) -> None:
        place.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(TicketError, match=r"t cannot be written: .*No space left"):
        placed(tmp_path / "t", fails, force=True)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("t", "before")]


def test_a_ticket_of_unknown_round_can_be_written_as_parquet(tmp_path: Path) -> None:
    ticket = replace(small(), provenance=replace(PROVENANCE, round=None))
    tickets.save(ticket, tmp_path / "t.parquet")
    assert tickets.load(tmp_path / "t.parquet") == ticket


def test_a_network_of_one_layer_has_names_without_a_dot(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "t.pt")
    assert {n: t.role for n, t in formats.read(tmp_path / "t.pt").tensors.items()} == {
        "weight": Role.CLASSIFIER,
        "bias": Role.CLASSIFIER,
    }


@pytest.mark.parametrize("name", ["torch-prune", "open-lth", "sparse"])
def test_a_vision_transformers_ticket_is_read_back_as_written(name: str, tmp_path: Path) -> None:
    model = build_model(
        Model("vit_tiny", {"image_size": 8, "width": 4, "depth": 1, "heads": 2}),
        in_channels=1,
        num_classes=10,
        init_seed=1,
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    masks = {name: model.get_parameter(name) > 0 for name in tickets.prunable_names(model, 10)}
    ticket = tickets.from_model(model, masks, 10, PROVENANCE)
    path = tmp_path / ("folder" if name == "open-lth" else "ticket.pt")
    formats.write(ticket, path, name)
    assert formats.read(path, name).tensors == ticket.tensors
    with pytest.raises(TicketError, match=r"in_proj_weight: .* cannot hold this prunable tensor"):
        formats.write(ticket, tmp_path / "other.pt", "turboprune")  # it names every mask alike, and a layer has one
