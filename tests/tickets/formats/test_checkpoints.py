"""The state dict inside a checkpoint, as training scripts wrap it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tests.tickets.networks import network
from tickets import Ticket, TicketError, formats
from tickets.formats import Hints, NeedsHintError

State = dict[str, Tensor]


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return network()


def read(content: Any, folder: Path, **hints: Any) -> Ticket:
    torch.save(content, folder / "t.pt")
    return formats.read(folder / "t.pt", hints=Hints(**hints))


@pytest.mark.parametrize(
    "keys", ["net", "model", "state_dict", "model_state_dict", "ema", "generator", "model.ema.net"]
)
def test_a_wrapped_state_dict_is_found_under_any_key(keys: str, model: nn.Module, tmp_path: Path) -> None:
    wrapped: Any = model.state_dict()
    for key in reversed(keys.split(".")):
        wrapped = {key: wrapped, "epoch": 9, "confusion": torch.ones(3, 3)}
    assert read(wrapped, tmp_path) == read(model.state_dict(), tmp_path)


def test_what_lies_beside_the_network_does_not_count(model: nn.Module, tmp_path: Path) -> None:
    model(torch.randn(2, 2, 4, 4)).sum().backward()
    optimizer = torch.optim.Adam(model.parameters())
    optimizer.step()
    saved = {
        "optimizer": optimizer.state_dict(),
        "optim_by_name": {"state": {"0.weight": {"exp_avg": torch.ones(4)}}, "weight": torch.ones(2, 2)},
        "net": model.state_dict(),
        "acc": np.float64(93.2),
        "epoch": np.int64(7),
    }
    assert read(saved, tmp_path) == read(model.state_dict(), tmp_path)


@pytest.mark.parametrize(
    "wrap",
    [
        AveragedModel,
        torch.compile,
        nn.DataParallel,
        lambda model: nn.DataParallel(torch.compile(model)),
        lambda model: AveragedModel(torch.compile(nn.DataParallel(model))),
        lambda model: nn.Sequential(*(torch.compile(layer) for layer in model)),
    ],
)
def test_names_lose_what_wrappers_add(wrap: Any, model: nn.Module, tmp_path: Path) -> None:
    plain = read(model.state_dict(), tmp_path)
    assert read({"net": wrap(model).state_dict()}, tmp_path) == plain


def test_of_several_state_dicts_one_must_be_chosen(model: nn.Module, tmp_path: Path) -> None:
    torch.manual_seed(1)
    saved = {"net": model.state_dict(), "ema": {"decay": 0.9, "module": network().state_dict()}}
    with pytest.raises(
        NeedsHintError, match=r"t\.pt holds 2 state dicts, net and ema\.module; choose one with --state"
    ):
        read(saved, tmp_path)
    for key, state in (("net", saved["net"]), ("ema", saved["ema"]["module"]), ("ema.module", saved["ema"]["module"])):
        assert read(saved, tmp_path, state=key) == read(state, tmp_path)
    with pytest.raises(TicketError, match=r"t\.pt: unknown state dict 'ema\.modul'; did you mean ema\.module"):
        read(saved, tmp_path, state="ema.modul")
    with pytest.raises(TicketError, match=r"t\.pt holds one state dict, without a key; leave --state out"):
        read(saved["net"], tmp_path, state="net")


def test_the_same_state_dict_under_two_keys_needs_no_choice(model: nn.Module, tmp_path: Path) -> None:
    saved = {"model": model.state_dict(), "state_dict": model.state_dict()}
    assert read(saved, tmp_path) == read(model.state_dict(), tmp_path)


def test_a_file_of_another_kind_has_no_state_dicts_to_choose_from(model: nn.Module, tmp_path: Path) -> None:
    formats.write(read(model.state_dict(), tmp_path), tmp_path / "t.safetensors")
    with pytest.raises(TicketError, match=r"t\.safetensors is no checkpoint of torch\.save"):
        formats.read(tmp_path / "t.safetensors", hints=Hints(state="net"))
    formats.write(formats.read(tmp_path / "t.safetensors"), tmp_path / "t.parquet")
    with pytest.raises(TicketError, match=r"t\.parquet is no checkpoint of torch\.save"):
        formats.read(tmp_path / "t.parquet", hints=Hints(state="net"))


def test_the_choice_counts_in_the_file_with_the_signs(model: nn.Module, tmp_path: Path) -> None:
    mask = {name: torch.ones_like(tensor).int() for name, tensor in model.named_parameters() if tensor.dim() > 1}
    torch.save({"net": model.state_dict(), "ema": network().state_dict()}, tmp_path / "weights.pt")
    chosen = read(mask, tmp_path, weights=tmp_path / "weights.pt", state="net")
    torch.save(model.state_dict(), tmp_path / "plain.pt")
    assert chosen == read(mask, tmp_path, weights=tmp_path / "plain.pt")
