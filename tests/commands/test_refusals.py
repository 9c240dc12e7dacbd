"""Bad input: one sentence on stderr, exit code 2, and not a byte written. The cases are the tables in refusals/.

A table names a ``command`` and words that all its cases begin with (``base``); an option of a case replaces that of
``base``. Each group has cases of two texts: the bad input, and a part of the sentence. The input stands for ``{}`` in
the group's ``args`` or in its ``files``; without either it is read as words of a shell. ``given`` names a fixture that
fills the folder, ``says`` a text that is part of every sentence, and ``lines: any`` marks what the parser of options
refuses, in a box of lines.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

import tickets
from orchestrator.store import Store
from tests.orchestrator.store.stores import SmallStore, planned_stage
from tests.support.command_lines import replacing
from tests.tickets.networks import network, random_masks, ticket_of
from tickets import formats

TABLES = sorted((Path(__file__).parent / "refusals").glob("*.yaml"))


@dataclass(frozen=True)
class Case:
    command: str
    words: list[str]
    files: dict[str, bytes]
    given: str | None
    sentences: tuple[str, str]
    one_line: bool

    def __str__(self) -> str:
        return f"{self.command} {shlex.join(self.words)} {' '.join(map(repr, self.files.values()))}".strip()


def cases(table: dict[str, Any]) -> Iterator[Case]:
    for group in table["groups"]:
        base = shlex.split(group.get("base", table.get("base", "")))
        for given, sentence in group["refused"]:
            template = shlex.split(group["args"]) if "args" in group else None
            words = shlex.split(given) if template is None else [filled(word, given) for word in template]
            files = {name: filled(content, given) for name, content in group.get("files", {}).items()}
            yield Case(
                table["command"],
                [str(word) for word in replacing(base, words)],
                {name: content if isinstance(content, bytes) else content.encode() for name, content in files.items()},
                group.get("given"),
                (group.get("says", ""), sentence),
                group.get("lines") != "any",
            )


def filled(template: str, given: str | bytes) -> str | bytes:
    """The template with the bad input for ``{}``."""
    return given if template == "{}" else template.replace("{}", str(given))


@pytest.fixture(scope="session")
def ticket_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tickets of one network, a ticket of another one, a checkpoint, and a mask without signs."""
    folder = tmp_path_factory.mktemp("tickets")
    torch.manual_seed(0)
    for name in ("round07", "round15"):
        model = network()
        tickets.save(ticket_of(model, random_masks(model)), folder / f"{name}.parquet")
    seven, fifteen = (tickets.load(folder / f"{name}.parquet") for name in ("round07", "round15"))
    tickets.save(tickets.Ticket({"x.weight": seven.tensors["7.weight"]}, seven.provenance), folder / "other.parquet")
    formats.write(fifteen, folder / "checkpoint.pth.tar")
    formats.write(fifteen, folder / "level", "open-lth")
    (folder / "level" / "mask.pth").rename(folder / "mask.pth")
    return folder


@pytest.fixture
def folder(tmp_path: Path, ticket_files: Path, request: pytest.FixtureRequest) -> Path:
    """An empty folder, or what the case is given."""
    given = request.node.callspec.params["case"].given
    if given == "tickets":
        for path in ticket_files.glob("*.p*"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    elif given == "store":
        stages = [planned_stage(f"mnist1d/resnet1d/lrr/chain1/round0{number}", "round") for number in (1, 2)]
        store = SmallStore(tmp_path / "store")
        store.plan(*stages)
        for stage in stages:
            store.commit(stage)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder, by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")
    }


@pytest.mark.parametrize("case", [case for path in TABLES for case in cases(yaml.safe_load(path.read_text()))], ids=str)
def test_bad_input_is_one_sentence_and_exit_code_2_and_writes_nothing(
    case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # Python itself keeps a plugin that it has compiled
    monkeypatch.setattr(Store, "claim", lambda *_: pytest.fail("nothing refused it: a stage begins"))
    for name, content in case.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    before = contents(folder)
    app = import_module(case.command).app
    done = CliRunner().invoke(app, case.words, env={"COLUMNS": "500"})
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert (done.exit_code, done.stdout) == (2, "")
    sentence = " ".join(done.stderr.split())
    for part in case.sentences:
        assert part in sentence
    if case.one_line:
        assert re.match(r"(Error|winning-sign-\w+): ", done.stderr)
        assert done.stderr.count("\n") == 1
    assert contents(folder) == before
