"""``python -m tickets`` as a user runs it, and every command of docs/exchange.md."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

import tickets
from tests.tickets.networks import network, random_masks, ticket_of
from tickets import Role, SignedTensor, Ticket, formats
from tickets.__main__ import app
from tickets.formats.names import read_map

ROOT = Path(__file__).parents[2]
_BEFORE, _, _AFTER = (ROOT / "docs" / "exchange.md").read_text().partition("## Sweep\n")
DOCUMENT = _BEFORE + "## " + _AFTER.partition("\n## ")[2]
"""Without the section on sweeps, whose commands tests/docs/test_commands.py runs."""


def command(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


def blocks(language: str) -> Iterator[str]:
    yield from re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.S)


@pytest.fixture(scope="session")
def ticket_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the files that the document's commands read."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    for name in ("round07", "round15"):
        model = network()
        tickets.save(ticket_of(model, random_masks(model)), folder / f"{name}.parquet")
    formats.write(tickets.load(folder / "round15.parquet"), folder / "checkpoint.pth.tar")
    formats.write(tickets.load(folder / "round15.parquet"), folder / "level", "open-lth")
    (folder / "level" / "mask.pth").rename(folder / "mask.pth")
    (folder / "level" / "model_ep0_it0.pth").rename(folder / "model_ep160_it0.pth")
    (folder / "level").rmdir()
    return folder


@pytest.fixture
def files(ticket_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for path in ticket_files.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_and_example_of_the_document_works(files: Path) -> None:
    (files / "own-names.yaml").write_text('names: {"{0..2}": "a.{0..2}", "{5..7}": "b.{5..7}"}')
    lines = [line for block in blocks("bash") for line in block.strip().splitlines()]
    assert {shlex.split(line)[3] for line in lines} == {"show", "diff", "convert", "verify"}
    for line in lines:
        words = shlex.split(line)
        assert words[:3] == ["python", "-m", "tickets"]
        done = command(*words[3:])
        assert done.exit_code == 0, line + done.output
    page = (files / "compared.html").read_text()
    assert "plotly.js" in page.lower()
    assert not re.search(r"<script[^>]+src=", page)
    names: dict[str, object] = {}
    renamed = {"conv1.weight": "0.weight"}
    for block in blocks("python"):
        for name, existing in renamed.items():
            block = block.replace(name, existing)
        exec(block, names)
    assert len(names["totals"]) == 3
    assert (files / "as-a-figure.html").exists()
    assert torch.equal(names["mask"], tickets.load("round15.parquet").masks["0.weight"])


def test_the_document_names_every_format_and_option() -> None:
    for name in formats.FORMATS:
        assert f"| `{name}` |" in DOCUMENT
    given = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", DOCUMENT))
    options = {
        o
        for name in ("show", "diff", "convert", "verify")
        for o in re.findall(r"--[a-z-]+", command(name, "--help").output)
    }
    assert given <= options


def test_the_map_of_names_in_the_document_reads_as_it_says(tmp_path: Path) -> None:
    [text] = blocks("yaml")
    (tmp_path / "map.yaml").write_text(text)
    names = read_map(str(tmp_path / "map.yaml"))
    theirs = ("stem.weight", "stages.4.convs.1.weight", "head.fc.bias", "stages.1.other.weight")
    assert [names.new_name(name) for name in theirs] == ["conv1.weight", "layer4.conv2.weight", "fc.bias", None]


def test_help_has_examples() -> None:
    for name in ("show", "diff", "convert", "verify"):
        assert f"winning-sign tickets {name} " in command(name, "--help").output


def test_show_prints_provenance_density_and_each_tensor(files: Path) -> None:
    sign = torch.tensor([[1, -1, 0, 0], [1, 0, 0, 0]], dtype=torch.int8)
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]]).bool()
    provenance = tickets.Provenance("mnist1d", "net", "lrr", 3, 0.5, "sound", "k3y")
    head = torch.ones(1, 2, dtype=torch.int8)
    tickets.save(
        Ticket(
            {
                "a.weight": SignedTensor(Role.PRUNABLE, sign, mask),
                "b.weight": SignedTensor(Role.CLASSIFIER, head, head == 1),
            },
            provenance,
        ),
        "t.parquet",
    )
    done = command("show", "t.parquet")
    assert done.exit_code == 0
    assert "dataset mnist1d, architecture net, method lrr, round 3" in done.output
    assert "4 of 8 prunable weights survive: density 0.5" in done.output
    assert re.search(r"a\.weight +2x4 +prunable +4 +0\.5 +0\.6667", done.output)
    [shown] = json.loads(command("show", "--json", "t.parquet").output)
    assert shown["format"] == "parquet"
    assert shown["provenance"]["stage_key"] == "k3y"
    assert shown["tensors"][0] == {
        "name": "a.weight",
        "shape": [2, 4],
        "role": "prunable",
        "weights": 8,
        "alive": 4,
        "density": 0.5,
        "positive_share": pytest.approx(2 / 3),
    }


def test_diff_prints_a_table_per_pair_and_valid_json(files: Path) -> None:
    done = command("diff", "round07.parquet", "round15.parquet", "checkpoint.pth.tar")
    assert done.exit_code == 0
    assert done.output.count("all layers") == 3
    # the checkpoint comes from round15
    same = done.output[done.output.index("round15.parquet and checkpoint.pth.tar") :]
    assert re.search(r"all layers +\d+ +100 +[\d.]+ +100 +[\d.]+ +0", same)
    rows = json.loads(command("diff", "--json", "round07.parquet", "round15.parquet").output)
    assert [row["tensor"] for row in rows] == [None, "0.weight", "2.weight", "5.weight"]


def test_diff_names_the_layers_that_only_one_ticket_prunes(files: Path) -> None:
    ours = tickets.load("round15.parquet")
    theirs = {**ours.tensors, "7.weight": replace(ours.tensors["7.weight"], role=Role.PRUNABLE)}
    tickets.save(replace(ours, tensors={f"net.{name}": tensor for name, tensor in theirs.items()}), "wrapped.parquet")
    done = command("diff", "round07.parquet", "wrapped.parquet")
    assert done.exit_code == 0, done.output
    assert "because only one ticket prunes them: 7.weight\n" in done.output
    assert "because only one" not in command("diff", "round07.parquet", "round15.parquet").output
    rows = json.loads(command("diff", "--json", "round07.parquet", "wrapped.parquet").output)
    assert [row["in_total"] for row in rows] == [True, True, True, True, False]


def test_convert_keeps_the_provenance_of_its_options(files: Path) -> None:
    done = command(
        "convert", "checkpoint.pth.tar", "t.parquet", "--dataset", "cifar100", "--method", "aws", "--round", 15
    )
    assert done.exit_code == 0
    converted, source = tickets.load("t.parquet"), tickets.load("round15.parquet")
    assert dict(converted.tensors) == dict(source.tensors)
    provenance = converted.provenance
    assert (provenance.dataset, provenance.method, provenance.round) == ("cifar100", "aws", 15)
    assert (provenance.architecture, provenance.preset, provenance.stage_key) == ("unknown",) * 3
    assert provenance.density == source.density
    assert "This format cannot hold: provenance" in command("convert", "t.parquet", "t.pt", "--to", "turboprune").output


def test_verify_names_what_is_broken(files: Path) -> None:
    whole = tickets.load("round15.parquet")
    zero = SignedTensor(Role.BIAS, torch.zeros(6, dtype=torch.int8), torch.zeros(6).bool())
    broken = {
        "density": replace(whole, provenance=replace(whole.provenance, density=0.5)),
        "bias": replace(whole, tensors={**whole.tensors, "5.bias": zero}),
        "round": replace(whole, provenance=replace(whole.provenance, round=-1)),
        "text": replace(whole, provenance=replace(whole.provenance, method=3)),
        "empty": replace(whole, tensors={"7.bias": whole.tensors["7.bias"]}),
    }
    for name, ticket in broken.items():
        tickets.save(ticket, f"{name}.parquet")
    table = pq.read_table("round15.parquet")
    signs = table.column("sign").to_pylist()
    signs[0][0] = 2
    pq.write_table(
        table.set_column(3, table.schema.field("sign"), pa.array(signs, table.schema.field("sign").type)),
        "value.parquet",
    )
    (files / "cut.parquet").write_bytes((files / "round15.parquet").read_bytes()[:-9])
    alive, weights = sum(int(m.sum()) for m in whole.masks.values()), sum(m.numel() for m in whole.masks.values())
    sentences = {
        "density": f"claims density 0.5, but {alive} of {weights} weights survive",
        "bias": "5.bias: 6 weights are pruned, and a bias tensor is never pruned",
        "round": "has -1 for round",
        "text": "has 3 for method",
        "empty": "it has no prunable weight",
        "value": "0.weight: a sign is -1, 0 or +1",
        "cut": "is no readable ticket",
    }
    done = command("verify", "round07.parquet", "round15.parquet", *(f"{name}.parquet" for name in sentences))
    assert done.exit_code == 1
    lines = done.output.splitlines()
    for name, sentence in sentences.items():
        [line] = [line for line in lines if line.startswith(f"broken: {name}.parquet")]
        assert sentence in line
    assert lines[-1] == "9 files: 7 broken"
    faults_of = {
        each["file"]: each["faults"]
        for each in json.loads(command("verify", "--json", "round15.parquet", "cut.parquet").output)
    }
    assert faults_of["round15.parquet"] == []
    assert len(faults_of["cut.parquet"]) == 1
    assert command("verify", "round07.parquet").exit_code == 0


def test_texts_of_a_file_cannot_control_the_terminal(files: Path) -> None:
    ticket = tickets.load("round07.parquet")
    tickets.save(replace(ticket, provenance=replace(ticket.provenance, method="\x1b[2J[red]x")), "t.parquet")
    done = command("show", "t.parquet")
    assert "\x1b" not in done.output
    assert r"method \x1b[2J[red]x" in done.output


def test_it_runs_as_a_module_and_loads_no_plotly_to_verify(files: Path) -> None:
    code = (
        "import sys, runpy; sys.argv = ['tickets', 'verify', 'round07.parquet']\n"
        "try: runpy.run_module('tickets', run_name='__main__')\n"
        "finally: print([name for name in ('plotly', 'ray') if name in sys.modules])"
    )
    path = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1 file: nothing broken\n[]\n"
