"""Files of other projects, written by their libraries or with their names, against the masks that were written."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import tickets
from tests.tickets.networks import PROVENANCE, network, random_masks, ticket_of
from tickets import Role, Ticket, TicketError, formats
from tickets.formats import Hints, NeedsHintError

Masks = dict[str, Tensor]
HEAD = "7.weight"


def authors(model: nn.Module, masks: Masks, path: Path) -> Path:
    """A checkpoint of the authors' train.py: masks are parameters after all others; pruned weights keep values."""
    for name, mask in masks.items():
        layer = model.get_submodule(name.removesuffix(".weight"))
        layer.fixed_m = nn.Parameter(mask.float(), requires_grad=False)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    saved = {"epoch": 10, "state_dict": model.state_dict(), "acc": 76.5, "optimizer": optimizer.state_dict()}
    torch.save(saved, path / "checkpoint.pth.tar")
    return path / "checkpoint.pth.tar"


def torch_prune(model: nn.Module, masks: Masks, path: Path) -> Path:
    for name, mask in masks.items():
        prune.custom_from_mask(model.get_submodule(name.removesuffix(".weight")), "weight", mask)
    torch.save(model.state_dict(), path / "pruned.pt")
    return path / "pruned.pt"


def open_lth(model: nn.Module, masks: Masks, path: Path) -> Path:
    """open_lth's folder of a level: int masks of all convolutions and linear layers, the first and the last model."""
    whole = torch.ones_like(model.get_parameter(HEAD))
    torch.save({name: mask.int() for name, mask in {**masks, HEAD: whole, **masks}.items()}, path / "mask.pth")
    torch.save(network().state_dict(), path / "model_ep0_it0.pth")
    torch.save(network().state_dict(), path / "model_ep9_it0.pth")
    torch.save(model.state_dict(), path / "model_ep160_it0.pth")
    return path


def turboprune(model: nn.Module, masks: Masks, path: Path) -> Path:
    """TurboPrune's state dict: a buffer ``mask`` in every layer; linear layers are convolutions over one position."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            mask = masks.get(f"{name}.weight", torch.ones_like(module.weight)).float()
            module.register_buffer("mask", mask)
    state = dict(model.state_dict())
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            state |= {f"{name}.{leaf}": state[f"{name}.{leaf}"].unsqueeze(-1) for leaf in ("weight", "mask")}
    torch.save(state, path / "model_level_9.pt")
    return path / "model_level_9.pt"


def sparse(model: nn.Module, masks: Masks, path: Path) -> Path:
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)
    torch.save(model.state_dict(), path / "sparse.pth")
    return path / "sparse.pth"


MAKERS = {
    "authors": authors,
    "torch-prune": torch_prune,
    "open-lth": open_lth,
    "turboprune": turboprune,
    "sparse": sparse,
}


@pytest.fixture(params=range(3))
def trained(request: pytest.FixtureRequest) -> tuple[nn.Module, Masks, Ticket]:
    torch.manual_seed(request.param)
    model = network()
    masks = random_masks(model)
    return model, masks, ticket_of(model, masks)


@pytest.mark.parametrize("name", MAKERS)
def test_a_foreign_file_gives_the_same_ticket_as_the_network(
    name: str, trained: tuple[nn.Module, Masks, Ticket], tmp_path: Path
) -> None:
    model, masks, expected = trained
    file = MAKERS[name](model, masks, tmp_path)
    recognised, ticket, _ = formats.read_with_format(file)
    assert recognised.name == name
    assert dict(ticket.tensors) == dict(expected.tensors)
    assert list(ticket.tensors) == list(expected.tensors)
    assert ticket.provenance.density == expected.density

    # and back: written as that format again, it is the same masks and signs
    again = tmp_path / "again"
    formats.write(ticket, again, name)
    assert formats.read(again) == ticket


def masks_in(file: Path, marker: str) -> Masks:
    loaded = torch.load(file, weights_only=True)
    return {name: tensor for name, tensor in loaded.get("state_dict", loaded).items() if name.endswith(marker)}


@pytest.mark.parametrize(("name", "marker"), [("authors", "fixed_m"), ("torch-prune", "_mask"), ("turboprune", "mask")])
def test_written_files_have_the_other_projects_names_shapes_and_masks(
    name: str, marker: str, trained: tuple[nn.Module, Masks, Ticket], tmp_path: Path
) -> None:
    model, masks, ticket = trained
    theirs = masks_in(MAKERS[name](model, masks, tmp_path), marker)
    formats.write(ticket, tmp_path / "ours", name)
    ours = masks_in(tmp_path / "ours", marker)
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[key], theirs[key]) and ours[key].dtype == theirs[key].dtype for key in theirs)


def test_torch_prune_loads_a_written_file(trained: tuple[nn.Module, Masks, Ticket], tmp_path: Path) -> None:
    _, masks, ticket = trained
    formats.write(ticket, tmp_path / "t.pt", "torch-prune")
    fresh = network()
    for name in masks:
        prune.identity(fresh.get_submodule(name.removesuffix(".weight")), "weight")
    fresh.load_state_dict(torch.load(tmp_path / "t.pt", weights_only=True), strict=True)
    layer = fresh[0]
    prune.remove(layer, "weight")
    assert torch.equal(layer.weight, ticket.tensors["0.weight"].sign.float())


@pytest.mark.parametrize(
    ("layers", "statistics"),
    [
        ((nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.LayerNorm(4), nn.Linear(4, 4)), None),
        ((nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)), True),
        ((nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 4, 1)), False),
        ((nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4)), None),
    ],
)
def test_a_strict_loader_accepts_a_written_state_dict(
    layers: tuple[nn.Module, ...], statistics: bool | None, tmp_path: Path
) -> None:
    model = nn.Sequential(*layers)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    ticket = tickets.from_model(model, {"0.weight": model.get_parameter("0.weight") > 0}, 4, PROVENANCE)
    for name, file in {"sparse": "t.pt", "open-lth": "level/model_ep0_it0.pth"}.items():
        formats.write(ticket, tmp_path / file.split("/")[0], name, statistics=statistics)
        model.load_state_dict(torch.load(tmp_path / file, weights_only=True), strict=True)


def test_an_open_lth_mask_includes_the_classifier_in_int32(tmp_path: Path) -> None:
    model = network()
    formats.write(ticket_of(model, random_masks(model)), tmp_path / "level", "open-lth")
    mask = torch.load(tmp_path / "level" / "mask.pth", weights_only=True)
    assert set(mask) == {"0.weight", "2.weight", "5.weight", "7.weight"}
    assert {tensor.dtype for tensor in mask.values()} == {torch.int32}
    assert bool(mask["7.weight"].all())


def test_a_mask_alone_needs_the_signs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = network()
    masks = random_masks(model)
    open_lth(model, masks, tmp_path)
    with pytest.raises(NeedsHintError, match=r"mask\.pth has masks but no signs; name a state dict with --weights"):
        formats.read(tmp_path / "mask.pth")
    hints = Hints(weights=tmp_path / "model_ep160_it0.pth")
    assert formats.read(tmp_path / "mask.pth", hints=hints) == formats.read(tmp_path)
    torch.save({"other.weight": torch.ones(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(TicketError, match=r"other\.pth lacks 0\.weight, of which"):
        formats.read(tmp_path / "mask.pth", hints=Hints(weights=tmp_path / "other.pth"))


def test_prefixes_of_parallel_and_compiled_models_are_left_out(tmp_path: Path) -> None:
    model = network()
    expected = formats_of_state({f"{name}": t for name, t in model.state_dict().items()}, tmp_path)
    for prefix in ("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."):
        assert formats_of_state({prefix + name: t for name, t in model.state_dict().items()}, tmp_path) == expected


def formats_of_state(state: dict[str, Tensor], folder: Path) -> Ticket:
    torch.save(state, folder / "state.pt")
    return formats.read(folder / "state.pt")


def test_a_network_whose_last_layer_is_pruned_has_no_classifier(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = network()
    masks = random_masks(model, ("0.weight", "2.weight", "5.weight", HEAD))
    ticket = formats.read(turboprune(model, masks, tmp_path))
    assert set(ticket.masks) == set(masks)
    assert ticket.tensors["7.bias"].role is Role.BIAS
    with pytest.raises(TicketError, match="7: its weight is pruned, so the layer is no classifier"):
        formats.read(tmp_path / "model_level_9.pt", hints=Hints(classifier="7"))


def test_the_classifier_may_be_named(tmp_path: Path) -> None:
    torch.manual_seed(1)
    path = torch_prune((model := network()), {"0.weight": random_masks(model)["0.weight"]}, tmp_path)
    assert formats.read(path).tensors["7.weight"].role is Role.CLASSIFIER  # the last of three without a mask
    roles = {name: formats.read(path, hints=Hints(classifier=name)).tensors for name in ("5", "5.weight", "none")}
    assert roles["5"] == roles["5.weight"]
    assert roles["5"]["5.bias"].role is Role.CLASSIFIER
    assert roles["5"]["7.weight"].role is roles["none"]["7.weight"].role is Role.PRUNABLE
    with pytest.raises(TicketError, match="unknown classifier 'fc'"):
        formats.read(path, hints=Hints(classifier="fc"))


def state(**changes: Tensor | None) -> dict[str, Tensor]:
    plain = {
        "a.weight": torch.tensor([[1.0, -2.0]]),
        "a.bias": torch.tensor([1.0]),
        "a.fixed_m": torch.tensor([[1.0, 0.0]]),
        "b.weight": torch.tensor([[3.0]]),
    }
    merged = {**plain, **{name.replace("__", "."): tensor for name, tensor in changes.items()}}
    return {name: tensor for name, tensor in merged.items() if tensor is not None}


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        (
            {"a__fixed_m": torch.tensor([[1.0, 0.5]])},
            TicketError,
            r"a\.weight: its mask holds values other than 0",
        ),
        ({"a__fixed_m": torch.ones(3)}, TicketError, r"a\.weight: its mask has shape \(3,\), its weight \(1, 2\)"),
        ({"a__weight": None}, TicketError, r"a\.(bias|fixed_m): the method has no rule"),
        ({"a__weight": torch.tensor([[1.0, float("nan")]])}, TicketError, r"a\.weight: the weights are complex or NaN"),
        ({"slope": torch.ones(1, 2)}, TicketError, r"slope: the method has no rule .* leave this parameter out"),
        (
            {"c__weight": torch.ones(1, 1), "c__fixed_m": torch.ones(1, 1)},
            NeedsHintError,
            r"b may be the classifier, and c is the last layer; say --classifier NAME",
        ),
        (
            {
                "b2__weight": torch.ones(1, 1),
                "c__weight": torch.ones(1, 1),
                "c__fixed_m": torch.ones(1, 1),
            },
            NeedsHintError,
            r"b or b2 may be the classifier, and c is the last layer; say --classifier NAME",
        ),
    ],
)
def test_a_tensor_that_no_ticket_can_hold_is_named(
    changes: dict[str, Tensor | None], error: type[Exception], sentence: str, tmp_path: Path
) -> None:
    torch.save({"state_dict": state(**changes)}, tmp_path / "t.pth.tar")
    with pytest.raises(error, match=sentence) as caught:
        formats.read(tmp_path / "t.pth.tar")
    assert str(caught.value).startswith(str(tmp_path / "t.pth.tar"))


def test_a_pruned_bias_is_refused(tmp_path: Path) -> None:
    layer = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    prune.custom_from_mask(layer[0], "bias", torch.tensor([0, 1]))
    torch.save(layer.state_dict(), tmp_path / "t.pt")
    with pytest.raises(TicketError, match=r"0\.bias: a bias parameter is pruned, but only weights may be"):
        formats.read(tmp_path / "t.pt")


def test_sparse_tensors_are_read_as_dense_ones(tmp_path: Path) -> None:
    weight = torch.tensor([[0.0, -1.0], [2.0, 0.0]])
    torch.save({"a.weight": weight.to_sparse(), "b.weight": torch.ones(1, 2)}, tmp_path / "t.pt")
    assert formats.read(tmp_path / "t.pt").tensors["a.weight"].sign.tolist() == [[0, -1], [1, 0]]


@pytest.mark.parametrize("make", [lambda: network(), lambda: {"args": argparse.Namespace(lr=1)}])
def test_a_file_that_needs_code_is_refused(make: Callable[[], object], tmp_path: Path) -> None:
    torch.save(make(), tmp_path / "t.pt")
    with pytest.raises(TicketError, match=r"t\.pt holds a [\w.]+, and reading it would run code") as caught:
        formats.read(tmp_path / "t.pt")
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)  # torch advises to read it all the same


@pytest.mark.parametrize(
    ("weight", "sentence"),
    [
        (
            torch.ones(2, 2).to(torch.float8_e4m3fn),
            r"a\.weight is of torch\.float8_e4m3fn, whose",
        ),
        (torch.ones(2, 2).to(torch.complex64), r"a\.weight is of torch\.complex64"),
        (torch.ones(2, 2, device="meta"), r"a\.weight has no values"),
    ],
)
def test_tensors_without_signs_are_refused(weight: Tensor, sentence: str, tmp_path: Path) -> None:
    torch.save({"a.weight": weight, "b.weight": torch.ones(1, 2)}, tmp_path / "t.pt")
    with pytest.raises(TicketError, match=sentence):
        formats.read(tmp_path / "t.pt")


@pytest.mark.parametrize("kept", [3, 100, -60])
def test_a_truncated_file_is_refused(kept: int, tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "t.pt")
    (tmp_path / "t.pt").write_bytes((tmp_path / "t.pt").read_bytes()[:kept])
    with pytest.raises(TicketError, match=r"t\.pt is (no readable file of torch\.save|of no known format)") as caught:
        formats.read(tmp_path / "t.pt")
    assert "\n" not in str(caught.value)


def test_a_file_without_a_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "t.pt")
    (tmp_path / "t.txt").write_text("a ticket")
    (tmp_path / "folder").mkdir()
    for name, sentence in {
        "t.pt": "holds no state dict",
        "t.txt": "no known format",
        "folder": "no known format",
    }.items():
        with pytest.raises(TicketError, match=sentence):
            formats.read(tmp_path / name)
    with pytest.raises(TicketError, match="does not exist"):
        formats.read(tmp_path / "none")
