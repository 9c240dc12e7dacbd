"""Tickets of a store, found by the names of the stages that made them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import tickets
from tests.tickets.networks import network, random_masks, ticket_of
from tickets import TicketError
from tickets.files import digest


def made(store: Path, name: str, key: str, *, kind: str = "round") -> Path:
    """Commit a stage with a ticket; return its folder."""
    folder = store / "stages" / kind / f"{name.replace('/', '-')}-{key[:16]}"
    path = folder / "attempts" / "2" / "out" / "ticket.parquet"
    path.parent.mkdir(parents=True)
    model = network()
    tickets.save(ticket_of(model, random_masks(model)), path)
    files = {"ticket.parquet": {"size_bytes": path.stat().st_size, "blake2b": digest.of_file(path)}}
    record = {"key": key, "name": name, "out": "attempts/2/out", "files": files}
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    made(tmp_path, "digits/tiny/aws/chain1/round00", "0" * 32, kind="pretrain")
    for number, name in enumerate(("aws/chain1/round01", "aws/chain1/round10", "lrr/chain1/round10"), start=1):
        made(tmp_path, f"digits/tiny/{name}", f"{number}" * 32)
    return tmp_path


@pytest.mark.parametrize(
    ("stage", "key"),
    [
        ("digits/tiny/aws/chain1/round10", "2" * 32),
        ("aws/chain1/round10", "2" * 32),
        ("round01", "1" * 32),
        ("chain1/round00", "0" * 32),
        ("33333333", "3" * 32),
    ],
)
def test_a_ticket_is_found_by_the_end_of_its_stages_name_or_by_its_key(store: Path, stage: str, key: str) -> None:
    [path] = store.glob(f"stages/*/*-{key[:16]}/attempts/2/out/ticket.parquet")
    ticket = tickets.load(store, stage)
    assert ticket == tickets.load(path)
    assert "\n" not in str(ticket)


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        (
            "aws/chain1/round11",
            "unknown stage 'aws/chain1/round11'; did you mean aws/chain1/round10 or aws/chain1/round",
        ),
        ("ain1/round10", "unknown stage 'ain1/round10'; did you mean chain1/round10"),
        ("zz", "unknown stage 'zz'; known: round00, round01, round10"),
        ("4" * 8, "unknown stage '44444444'; known: round00, round01, round10"),
        (
            "round10",
            "2 stages are named 'round10'; choose digits/tiny/aws/chain1/round10 or digits/tiny/lrr/chain1/round10",
        ),
    ],
)
def test_a_name_of_no_stage_or_of_several_is_refused_with_the_names_that_are_meant(
    store: Path, stage: str, sentence: str
) -> None:
    with pytest.raises(TicketError) as error:
        tickets.load(store, stage)
    assert str(error.value).startswith(f"{store}: {sentence}")


def test_stages_of_one_name_are_told_apart_by_their_keys(store: Path) -> None:
    made(store, "digits/tiny/aws/chain1/round10", "5" * 32)
    with pytest.raises(TicketError, match=f"choose {'2' * 16} or {'5' * 16}"):
        tickets.load(store, "aws/chain1/round10")
    assert tickets.load(store, "5" * 16)


def test_a_copied_folder_is_no_second_stage(store: Path) -> None:
    [folder] = store.glob("stages/round/*-1111111111111111")
    folder.rename(folder.with_name("renamed-1111111111111111"))
    made(store, "digits/tiny/aws/chain1/round01", "1" * 32)
    assert tickets.load(store, "round01")


def test_a_ticket_that_differs_from_its_record_is_refused(store: Path) -> None:
    [path] = store.glob("stages/round/*-1111111111111111/attempts/2/out/ticket.parquet")
    model = network()
    tickets.save(ticket_of(model, random_masks(model)), path)
    with pytest.raises(TicketError, match="is not the file that the record of digits/tiny/aws/chain1/round01 lists"):
        tickets.load(store, "round01")
    path.unlink()
    with pytest.raises(TicketError, match=r"is missing, though .* is done"):
        tickets.load(store, "round01")


@pytest.mark.parametrize("content", ["{", "[]", '{"key": 1}', '{"key": "1111111111111111", "name": "x", "out": ".."}'])
def test_a_damaged_record_is_named_only_if_it_may_be_the_wanted_one(store: Path, content: str) -> None:
    [record] = store.glob("stages/round/*-1111111111111111/record.json")
    record.write_text(content, encoding="utf-8")
    assert tickets.load(store, "aws/chain1/round10")
    with pytest.raises(TicketError, match=r"1 of 4 records cannot be read, such as .*; winning-sign verify"):
        tickets.load(store, "round01")


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        (".", "no stage has made a ticket yet"),
        ("elsewhere", "is no store with stages; give the folder"),
        ("s3://bucket/sweeps", "is a bucket; copy the ticket.parquet"),
    ],
)
def test_what_is_no_store_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, sentence: str
) -> None:
    (tmp_path / "stages").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TicketError, match=sentence):
        tickets.load(folder, "round01")
