"""A zoo made from stores: what its files say, what is left out, and that it is replaced as a whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

import tickets
from analysis import load
from orchestrator.store import Store
from tests.tickets.zoo.conftest import command, published
from tickets import formats
from tickets.formats import zoo as writing
from winning_sign import HOME

pytestmark = pytest.mark.slow(seconds=25)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stage(store: Path, name: str) -> Path:
    """The folder of a ticket's stage."""
    [folder] = (store / "stages" / "round").glob(f"*-{name.replace('/', '-')}-*")
    return folder


def ticket_path(store: Path, name: str) -> Path:
    [path] = stage(store, name).glob("attempts/*/out/ticket.parquet")
    return path


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_pandas_alone_reads_the_index_and_its_accuracies_are_the_chains_means_with_their_t_interval(
    shown: Path, swept: Path
) -> None:
    index = pd.read_parquet(shown / "index.parquet")
    assert index["name"].tolist() == [f"patterns/resnet1d/{m}/chain{c}/round02" for m in ("aws", "lrr") for c in (1, 2)]
    assert set(index["licence"]) == {"cc-by-4.0"}
    assert set(index["data_fingerprint"]) == {"patterns-1"}
    stages = load(swept / "store", tickets=False).stages
    trained = stages[stages["kind"] == "train"]
    for row in index.itertuples():
        assert stages.set_index("key")["name"][row.key] == row.name
        for start in ("retrain", "signed"):
            of_start = trained[(trained["method"] == row.method) & (trained["transfer"] == start)]
            by_chain = [group["test_accuracy_percent"].mean() for _, group in of_start.groupby("chain")]
            mean = sum(by_chain) / 2
            half = stats.t.ppf(0.975, 1) * pd.Series(by_chain).std() / 2**0.5
            assert getattr(row, f"{start}_accuracy_percent") == pytest.approx(by_chain[row.chain - 1])
            assert getattr(row, f"{start}_mean_percent") == pytest.approx(mean)
            assert getattr(row, f"{start}_low_percent") == pytest.approx(max(0, mean - half))
            assert getattr(row, f"{start}_high_percent") == pytest.approx(min(100, mean + half))
            assert getattr(row, f"{start}_chains") == 2


def test_every_file_is_in_the_checksums_and_every_ticket_has_a_card_with_the_licence(shown: Path, swept: Path) -> None:
    content = files(shown)
    lines = content.pop("SHA256SUMS").decode().splitlines()
    assert dict(reversed(line.split("  ")) for line in lines) == {
        name: hashlib.sha256(file).hexdigest() for name, file in content.items()
    }
    assert "license: cc-by-4.0" in content["README.md"].decode()
    for row in pd.read_parquet(shown / "index.parquet").itertuples():
        folder = shown / Path(row.path).parent
        card = (folder / "README.md").read_text()
        assert "license: cc-by-4.0" in card
        assert f"test accuracy, retrain | {row.retrain_accuracy_percent:.2f} %" in card
        of_stage = tickets.load(swept / "store", row.name)
        assert formats.read(folder, "hub") == of_stage  # card, Parquet and safetensors agree
        assert row.density == pytest.approx(of_stage.density)
        assert row.sha256 == hashlib.sha256((shown / row.path).read_bytes()).hexdigest()


def test_rounds_that_nothing_was_trained_from_come_on_request_and_one_chain_has_no_interval(
    store: Path, tmp_path: Path
) -> None:
    for record in store.glob("stages/*/*/record.json"):
        if "chain2" in record.parent.name:
            shutil.rmtree(record.parent)
    (store / "index.jsonl").unlink(missing_ok=True)
    done = command("publish", store, tmp_path / "zoo", "--licence", "mit", "--all-rounds")
    assert done.exit_code == 0, done.output
    index = pd.read_parquet(tmp_path / "zoo" / "index.parquet").set_index("round")
    assert sorted(index.index) == [1, 1, 2, 2]
    assert index.loc[1, "retrain_accuracy_percent"].isna().all()
    assert index.loc[2, "retrain_accuracy_percent"].notna().all()
    assert index.loc[2, ["retrain_low_percent", "signed_high_percent"]].isna().all(axis=None)


def test_again_is_refused_and_with_force_replaces_the_whole_zoo_with_the_same_bytes(
    zoo: Path, swept: Path, tmp_path: Path
) -> None:
    before = files(zoo)
    again = ("publish", swept / "store", zoo, "--licence", "cc-by-4.0")
    done = command(*again)
    assert (done.exit_code, files(zoo)) == (2, before)
    assert "--force" in done.stderr
    gone = zoo / "patterns" / "resnet1d" / "lrr"
    shutil.rmtree(gone)
    done = command(*again, "--force")
    assert (done.exit_code, files(zoo)) == (0, before), done.output
    (zoo / "patterns" / "notes.txt").write_text("mine")
    done = command(*again, "--force")
    assert done.exit_code == 2
    assert "holds patterns/notes.txt, which would be lost" in done.stderr
    assert files(zoo) == {**before, "patterns/notes.txt": b"mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["zoo"]


def test_an_error_in_between_leaves_the_old_zoo_and_nothing_else(
    zoo: Path, swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, written, write_hub = files(zoo), list[Path](), writing.write_hub

    def full(ticket: tickets.Ticket, path: Path, *rest: Any) -> None:
        written.append(path)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_hub(ticket, path, *rest)

    monkeypatch.setattr(writing, "write_hub", full)
    done = command("publish", swept / "store", zoo, "--licence", "mit", "--force")
    assert (done.exit_code, len(written)) == (1, 2), done.output
    assert files(zoo) == before
    assert [path.name for path in tmp_path.iterdir()] == ["zoo"]


def test_a_new_zoo_that_cannot_take_its_place_gives_the_old_one_back(
    zoo: Path, swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rename = files(zoo), Path.rename

    def interrupted(path: Path, target: Path) -> Path:
        if target == zoo and not path.name.endswith(".old"):
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    assert command("publish", swept / "store", zoo, "--licence", "mit", "--force").exit_code != 0
    assert files(zoo) == before
    assert [path.name for path in tmp_path.iterdir()] == ["zoo"]


def test_what_does_not_verify_is_left_out_and_named(store: Path, tmp_path: Path) -> None:
    flip_a_bit(ticket_path(store, "aws-chain1-round02"))
    weights = ticket_path(store, "lrr-chain1-round02").with_name("weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    record = stage(store, "lrr-chain2-round02") / "record.json"
    record.write_text(record.read_text().replace('"density": 0.6', '"density": 0.7'))
    (store / "index.jsonl").unlink(missing_ok=True)
    done = command("publish", store, tmp_path / "zoo", "--licence", "mit")
    assert done.exit_code == 0, done.output
    assert pd.read_parquet(tmp_path / "zoo" / "index.parquet")["name"].tolist() == [
        "patterns/resnet1d/aws/chain2/round02"
    ]
    lines = done.stderr.splitlines()
    for name, why in (
        ("aws/chain1/round02", "differs from its record"),
        ("lrr/chain1/round02", "weights.safetensors is missing or cut short"),
        ("lrr-chain2-round02", "record.json differs from its checksum"),
    ):
        assert sum(line.startswith("left out: ") and name in line and why in line for line in lines) == 1, lines


def test_nothing_left_is_a_failure_and_writes_nothing(store: Path, tmp_path: Path) -> None:
    for ticket in store.glob("stages/round/*/attempts/*/out/ticket.parquet"):
        flip_a_bit(ticket)
    done = command("publish", store, tmp_path / "zoo", "--licence", "mit")
    assert done.exit_code == 1
    assert "no ticket is left to publish" in done.stderr
    assert not (tmp_path / "zoo").exists()


def test_several_stores_make_one_zoo_and_a_stage_of_two_is_there_once(
    store: Path, swept: Path, shown: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(store, tmp_path / "other")
    for folder, method in ((store, "lrr"), (other, "aws")):
        for path in folder.glob(f"stages/*/*-{method}-*"):
            shutil.rmtree(path)
        (folder / "index.jsonl").unlink(missing_ok=True)
    assert files(published(tmp_path / "both", store, other)) == files(shown)
    assert files(published(tmp_path / "twice", swept / "store", store)) == files(shown)
    assert len(pd.read_parquet(published(tmp_path / "half", store) / "index.parquet")) == 2


def test_superseded_tickets_and_those_from_elsewhere_are_not_published(store: Path, tmp_path: Path) -> None:
    path = stage(store, "aws-chain1-round02")
    copy = json.loads((path / "record.json").read_text())
    opened = Store(store)
    record = opened.records()[copy["key"]]
    newer = record.model_copy(
        update={"key": "f" * 32, "science": {**record.science, "prune_fraction": 0.5}, "finished_unix_s": 2e9}
    )
    shutil.copytree(path, path.with_name(f"{path.name[:-16]}{'f' * 16}"))
    (path.with_name(f"{path.name[:-16]}{'f' * 16}") / "record.json").write_text(newer.sealed().model_dump_json())
    (store / "index.jsonl").unlink(missing_ok=True)
    names = {stage["key"] for stage in load(store, tickets=False).stages.query("superseded").to_dict("records")}
    assert names  # one of the two is superseded
    done = command("publish", store, tmp_path / "zoo", "--licence", "mit", "--all-rounds")
    assert done.exit_code == 0, done.output
    assert not names & set(pd.read_parquet(tmp_path / "zoo" / "index.parquet")["key"])


def test_the_documents_python_loads_a_ticket(shown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (HOME / "docs" / "zoo.md").read_text(), re.S)
    monkeypatch.chdir(shown.parent)
    names: dict[str, Any] = {}
    exec(code.replace("round10", "round02"), names)
    assert names["ticket"] == tickets.load("zoo:zoo/aws/chain1/round02")
