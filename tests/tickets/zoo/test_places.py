"""Tickets loaded from a zoo's folder: by name, checked on every load, and refused in one sentence."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tickets
from tests.tickets.zoo.conftest import command
from tickets import TicketError, formats
from tickets.files.zoo.index import SCHEMA

pytestmark = pytest.mark.slow(seconds=10)


def with_index(zoo: Path, **changes: object) -> None:
    """Change columns of the index, and its digest with them, as somebody who forges a zoo would."""
    table = pd.read_parquet(zoo / "index.parquet").assign(**changes)
    pq.write_table(pa.Table.from_pandas(table, SCHEMA, preserve_index=False), zoo / "index.parquet")
    digest = hashlib.sha256((zoo / "index.parquet").read_bytes()).hexdigest()
    lines = [line for line in (zoo / "SHA256SUMS").read_text().splitlines() if not line.endswith("index.parquet")]
    (zoo / "SHA256SUMS").write_text("\n".join([*lines, f"{digest}  index.parquet", ""]))


@pytest.mark.parametrize(
    "name", ["aws/chain1/round02", "patterns/resnet1d/aws/chain1/round02", "a*/chain1/round02", ""]
)
def test_a_ticket_is_found_by_name_end_pattern_or_key(name: str, shown: Path, swept: Path) -> None:
    index = pd.read_parquet(shown / "index.parquet").set_index("name")
    key = index["key"]["patterns/resnet1d/aws/chain1/round02"]
    assert tickets.load(f"zoo:{shown}/{name or key[:8]}") == tickets.load(swept / "store", "aws/chain1/round02")


def test_a_place_may_be_relative_and_the_commands_take_it(
    shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shown.parent)
    place = "zoo:zoo/aws/chain1/round02"
    assert "aws round 2" in str(tickets.load(place))
    monkeypatch.chdir(shown)
    assert tickets.load("zoo:aws/chain1/round02") == tickets.load(f"zoo:{shown}/aws/chain1/round02")
    monkeypatch.chdir(shown.parent)
    assert f"{place}: parquet" in command("show", place).stdout
    assert "agreement" in command("diff", place, "zoo:zoo/lrr/chain1/round02").stdout
    assert command("convert", place, tmp_path / "t.safetensors").exit_code == 0
    assert formats.read(tmp_path / "t.safetensors") == tickets.load(place)
    done = command("verify", "zoo", place)
    assert (done.exit_code, done.stdout) == (0, "2 files: nothing broken\n")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "",
            "4 tickets match; choose patterns/resnet1d/aws/chain1/round02 or patterns/resnet1d/aws/chain2/round02 or ",
        ),
        ("aws/*", "2 tickets match; choose patterns/resnet1d/aws/chain1/round02 or "),
        ("aws/chain7/round02", "has no ticket 'aws/chain7/round02'; it has patterns/resnet1d/aws/chain1/round02, "),
    ],
)
def test_several_tickets_or_none_are_refused_with_a_list(name: str, sentence: str, shown: Path) -> None:
    with pytest.raises(TicketError) as refused:
        tickets.load(f"zoo:{shown}/{name}")
    assert sentence in str(refused.value)


def test_what_is_no_zoo_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TicketError, match="no folder of this path is a zoo"):
        tickets.load(f"zoo:{tmp_path}/aws/chain1/round02")


@pytest.mark.parametrize("file", ["ticket.parquet", "index.parquet", "SHA256SUMS"])
def test_a_changed_file_is_refused_on_load_and_named_by_verify(file: str, zoo: Path) -> None:
    place = f"zoo:{zoo}/aws/chain1/round02"
    path = zoo / file if file != "ticket.parquet" else zoo / "patterns/resnet1d/aws/chain1/round02" / file
    if file == "ticket.parquet":  # a sound ticket, but another one
        path.write_bytes((zoo / "patterns/resnet1d/aws/chain2/round02" / file).read_bytes())
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 1
        path.write_bytes(content)
    if file != "SHA256SUMS":
        with pytest.raises(TicketError, match=f"{file} is not the file that zoo:.* lists: its SHA-256 differs"):
            tickets.load(place)
    done = command("verify", zoo)
    assert (done.exit_code, "1 broken" in done.stdout) == (1, True)


def test_a_name_of_no_ticket_is_a_refusal_and_no_broken_file(shown: Path) -> None:
    for name, sentence in (("/aws/chain7/round02", "has no ticket"), ("", "4 tickets match; choose ")):
        done = command("verify", f"zoo:{shown}{name}")
        assert (done.exit_code, done.stdout, sentence in done.stderr) == (2, "", True), done.output


def test_checksums_without_the_index_are_broken(zoo: Path) -> None:
    lines = [line for line in (zoo / "SHA256SUMS").read_text().splitlines() if not line.endswith("  index.parquet")]
    (zoo / "SHA256SUMS").write_text("\n".join([*lines, ""]))
    done = command("verify", zoo)
    assert (done.exit_code, "SHA256SUMS has no digest of index.parquet" in done.stdout) == (1, True), done.output


def test_a_missing_ticket_is_named(zoo: Path) -> None:
    (zoo / "patterns/resnet1d/aws/chain1/round02/ticket.parquet").unlink()
    with pytest.raises(TicketError, match=r"lacks patterns/resnet1d/aws/chain1/round02/ticket\.parquet"):
        tickets.load(f"zoo:{zoo}/aws/chain1/round02")


@pytest.mark.parametrize("path", ["../secret.parquet", "/etc/passwd", "a/../../b", ".git/config", "-x", ""])
def test_an_index_cannot_lead_out_of_its_zoo(path: str, zoo: Path) -> None:
    with_index(zoo, path=path)
    with pytest.raises(TicketError, match="is no path within a zoo"):
        tickets.load(f"zoo:{zoo}/aws/chain1/round02")


def test_a_name_that_no_file_can_have_is_refused(zoo: Path) -> None:
    with_index(zoo, path="a" * 300)
    with pytest.raises(TicketError, match="cannot be read"):
        tickets.load(f"zoo:{zoo}/aws/chain1/round02")


def test_a_zoo_without_its_index_columns_is_refused(zoo: Path) -> None:
    pq.write_table(pq.read_table(zoo / "index.parquet").drop_columns(["density"]), zoo / "index.parquet")
    digest = hashlib.sha256((zoo / "index.parquet").read_bytes()).hexdigest()
    (zoo / "SHA256SUMS").write_text(f"{digest}  index.parquet\n")
    with pytest.raises(TicketError, match="lacks the columns density"):
        tickets.load(f"zoo:{zoo}/aws/chain1/round02")
