"""Tickets under other networks' names: the released code's five, and maps of a user's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import analysis
import tickets
from tests.tickets.formats.released_networks import CLASSES, RELEASED, masked
from tests.tickets.networks import PROVENANCE
from tickets import Role, SignedTensor, Ticket, TicketError, formats
from tickets.__main__ import app
from tickets.formats import Hints
from workers.models import ARCHITECTURES


def checkpoint(network: nn.Module, path: Path) -> Path:
    """A checkpoint of the released train.py."""
    torch.save({"epoch": 10, "state_dict": network.state_dict(), "acc": 76.5}, path / "checkpoint.pth.tar")
    return path / "checkpoint.pth.tar"


def ours(name: str) -> nn.Module:
    options = {"image_size": 32} if name == "mlp_mixer" else {}
    return ARCHITECTURES[name].build(in_channels=3, num_classes=CLASSES, **options).eval()


@torch.no_grad()
def by_shape_(network: nn.Module) -> nn.Module:
    """Give all parameters of one shape one magnitude, under their signs and masks."""
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "fixed_m":
                continue
            magnitude = 1.0 if name == "weight" else 0.1
            if parameter.dim() > 1:
                magnitude = (4 / parameter[0].numel()) ** 0.5
            parameter.copy_(parameter.sign() * magnitude * (getattr(module, "fixed_m", 1) if name == "weight" else 1))
    return network.eval()


def random_signs_(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
    return network


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_networks_checkpoint_starts_ours_with_the_same_outputs(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    theirs = masked(random_signs_(RELEASED[name]()))
    parquet = tmp_path / "ticket.parquet"
    done = CliRunner().invoke(app, ["convert", str(checkpoint(theirs, tmp_path)), str(parquet)])
    assert done.exit_code == 0, done.output
    assert (f"translated to ours by {name}" in done.output) == (name != "resnet50")  # torchvision's names are ours

    ticket = tickets.load(parquet)
    network = by_shape_(random_signs_(ours(name)))
    kept = ticket.apply(network, transfer=replace(tickets.SIGNED, psi="signed"))
    by_shape_(theirs)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected, outputs = theirs(images), network(images)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))

    again = tickets.from_model(network, kept.masks, CLASSES, ticket.provenance)
    total = analysis.compare({"theirs": ticket, "ours": again}).iloc[0]
    assert total["overlap_percent"] == total["agreement_percent"] == 100
    assert ticket.provenance.architecture == (name if name != "resnet50" else "unknown")
    assert ticket.provenance.density == ticket.density


@pytest.mark.parametrize("name", RELEASED)
def test_a_ticket_of_ours_is_what_the_released_codes_strict_loader_wants(name: str, tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = random_signs_(ours(name))
    prunable = tickets.prunable_names(network, CLASSES)
    masks = {each: torch.rand(network.get_parameter(each).shape) < 0.4 for each in prunable}
    ticket = tickets.from_model(network, masks, CLASSES, PROVENANCE)
    written = formats.write(ticket, tmp_path / "t.pth.tar")
    assert (written.names and (written.names.title, written.names.towards)) == (
        None if name == "resnet50" else (name, "theirs")
    )
    theirs = masked(RELEASED[name]())
    theirs.load_state_dict(torch.load(tmp_path / "t.pth.tar", weights_only=True)["state_dict"], strict=True)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean.abs().max() == module.num_batches_tracked == 0
            assert module.running_var.min() == module.running_var.max() == 1

    assert dict(formats.read(tmp_path / "t.pth.tar").tensors) == dict(ticket.tensors)
    formats.write(ticket, tmp_path / "as-ours.pth.tar", names="none")
    state = torch.load(tmp_path / "as-ours.pth.tar", weights_only=True)["state_dict"]
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert missing == []
    assert {each.rpartition(".")[2] for each in unexpected} == {"fixed_m"}


def test_names_stay_as_they_are_if_a_checkpoint_is_of_no_known_network(tmp_path: Path) -> None:
    network = masked(RELEASED["shufflenet_g3"]())
    del network.stage4[3]
    assert "stage4.2.expand.pointwise.0.weight" in formats.read(checkpoint(network, tmp_path)).tensors


def test_a_built_in_map_is_left_out_on_demand_and_applies_to_other_formats_by_name(tmp_path: Path) -> None:
    network = random_signs_(RELEASED["mlp_mixer"]())
    file = checkpoint(masked(network), tmp_path)
    assert "2.0.fn.0.weight" in formats.read(file, hints=Hints(names="none")).tensors
    torch.save({name: t for name, t in network.state_dict().items() if "fixed_m" not in name}, tmp_path / "plain.pt")
    assert "2.0.fn.0.weight" in formats.read(tmp_path / "plain.pt").tensors
    tensors = formats.read(tmp_path / "plain.pt", hints=Hints(names="mlp_mixer")).tensors
    weight = network.get_parameter("1.weight").view(512, 16, 16, 3).permute(0, 3, 1, 2).reshape(512, 768)
    assert torch.equal(tensors["embed.weight"].sign, weight.sign().to(torch.int8))


def small() -> Ticket:
    sign = torch.tensor([[1, -1, 1, -1, 1, 1]], dtype=torch.int8)
    names = ("a.0.w.weight", "a.1.w.weight", "b.weight")
    roles = {**dict.fromkeys(names, Role.PRUNABLE), "a.0.w.bias": Role.BIAS}
    return Ticket({name: SignedTensor(role, sign, sign != 0) for name, role in roles.items()}, PROVENANCE)


def translated(text: str, folder: Path, ticket: Ticket | None = None) -> Ticket:
    tickets.save(ticket or small(), folder / "t.parquet")
    (folder / "map.yaml").write_text(text, encoding="utf-8")
    return formats.read(folder / "t.parquet", hints=Hints(names=str(folder / "map.yaml")))


OWN = """
names: {"a.{0..1}": "x.{2..4..2}.y", b.weight: head.weight}
within: {w: conv}
columns:
  x.2.y.conv.weight: {sizes: {p: 2, q: 3}, theirs: [p, q], ours: [q, p]}
unused: {}
"""


def test_a_map_of_a_users_own_translates_there_and_back(tmp_path: Path) -> None:
    ticket = translated(OWN, tmp_path)
    assert set(ticket.tensors) == {"x.2.y.conv.weight", "x.4.y.conv.weight", "x.2.y.conv.bias", "head.weight"}
    assert ticket.tensors["x.2.y.conv.weight"].sign.tolist() == [[1, -1, -1, 1, 1, 1]]
    assert ticket.tensors["x.4.y.conv.weight"].sign.tolist() == [[1, -1, 1, -1, 1, 1]]
    (tmp_path / "t.parquet").unlink()
    assert translated(OWN, tmp_path, ticket) == small()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("names: {a: x}", r'has no rule for b\.weight; every tensor needs one: "b\.weight: b\.weight" keeps its name'),
        ("names: {a: x, b: y, c: z}", "the ticket has no c; correct or remove this rule"),
        ("names: {a: x, b: x.0.w}", r"a\.0\.w\.weight and b\.weight would both be called x\.0\.w\.weight"),
        ("names: {a: x, b: x}", "two rules name x; remove one"),
        ("names: {a: x, a: y, b: z}", "a stands twice; remove one"),
        ("names: {'a.{0..1}': 'x.{0..2}', b: b}", r"a\.\{0\.\.1\} stands for 2 names and x\.\{0\.\.2\} for 3"),
        ("names: {'a.{1..0}': x, b: b}", r"a\.\{1\.\.0\} stands for no name"),
        ("names: {'a.{0..999999999}': x, b: b}", "stands for no name, or for more than 100,000"),
        ("names: {a: x, b: y}\nwithin: {0.v: w}", r"has no rule for a\.0\.w\.weight"),
        (
            "names: {a: x, b: y}\ncolumns: {b.weight: {sizes: {p: 6}, theirs: [p], ours: [p]}}",
            r"no tensor is called b\.weight",
        ),
        (
            "names: {a: x, b: y}\ncolumns: {y.weight: {sizes: {p: 4}, theirs: [p], ours: [p]}}",
            r"y\.weight has shape \(1, 6\), and its axes need 4 columns",
        ),
        ("names: {a: x, b: y}\ncolumns: {y.weight: {sizes: {p: 6}, theirs: [p], ours: [q]}}", "name different axes"),
        ("a: x\nb: y", r"is no map of names: names: field required; docs/exchange\.md shows a map"),
        ("names: {1: x}", r"names\.1"),
        ("names: [", "is no map of names: "),
        ("", "is no map of names: the file: "),
    ],
)
def test_a_map_that_does_not_fit_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(TicketError, match=sentence) as caught:
        translated(text, tmp_path)
    assert "\n" not in str(caught.value)
