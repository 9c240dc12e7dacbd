"""Sweeps that start from a zoo's tickets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tickets
from analysis import load
from orchestrator.imports.places import TicketSource
from orchestrator.recipes.layers import RecipeError
from tests.support import small_sweeps
from tests.support.hubs.forked_commands import SWEEP, forked_commands
from tests.support.hubs.model_hub import TOKEN, ModelHub
from tests.support.sweep_processes import in_process
from tests.tickets.zoo.conftest import command

pytestmark = pytest.mark.slow(seconds=25)
HERE = ("--backend", "inline", "--device", "cpu")


def test_a_sweep_starts_from_a_zoo_as_from_the_store_and_needs_it_no_more(
    swept: Path, zoo: Path, tmp_path: Path
) -> None:
    options = small_sweeps.options(swept, tmp_path / "new", "--tickets", f"lent=zoo:{zoo}/aws/*", "--seeds", "1")
    code, output = in_process(*options, *HERE)
    assert code == 0, output
    assert "tickets from elsewhere aws@lent:patterns: chains 1, 2, rounds 2; left out without trained weights" in output
    stages = load(tmp_path / "new", tickets=False).stages
    theirs = load(swept / "store", tickets=False).stages
    for chain in (1, 2):
        both = [
            rows.query(f"kind == 'train' and method == '{method}' and chain == {chain}").set_index(
                ["transfer", "seed"]
            )["test_accuracy_percent"]["signed", 1]
            for rows, method in ((stages, "aws@lent:patterns"), (theirs, "aws"))
        ]
        assert both[0] == both[1]  # the same ticket and seeds: the same bits
    shutil.rmtree(zoo)
    code, output = in_process(*options, *HERE)
    assert (code, "Nothing to compute" in output) == (0, True), output


def test_a_sweep_starts_from_a_hubs_zoo(swept: Path, zoo: Path, hub: ModelHub, tmp_path: Path) -> None:
    content = {path.relative_to(zoo).as_posix(): path.read_bytes() for path in zoo.rglob("*") if path.is_file()}
    hub.create("someone/zoo", content)
    words = small_sweeps.options(swept, tmp_path / "new", "--tickets", "hub:someone/zoo/lrr/*", "--plan")
    with forked_commands() as commands:
        environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
        code, output, errors = commands.run([SWEEP, *map(str, [*words, *HERE])], tmp_path / "user", environment)
    assert code == 0, errors
    assert "tickets from elsewhere lrr@zoo:patterns: chains 1, 2, rounds 2" in output + errors
    assert not (tmp_path / "new").exists()


def test_a_zoo_gives_its_labels_and_all_of_it_is_not_a_choice(shown: Path) -> None:
    whole = TicketSource.parse(f"zoo:{shown}")
    assert (whole.name, whole.exists) == ("zoo", True)
    found = whole.find()
    assert {(each.architecture, each.chain, each.round, each.fingerprint) for each in found} == {
        ("resnet1d", chain, 2, "patterns-1") for chain in (1, 2)
    }
    assert {each.chosen for each in found} == {False}
    [one] = TicketSource.parse(f"mine=zoo:{shown}/aws/chain2/round02").find()
    assert one.chosen
    assert tickets.load(one.ticket) == tickets.load(f"zoo:{shown}/aws/chain2/round02")


def test_a_documented_pattern_of_a_stores_stages_selects_by_the_end_of_names(swept: Path) -> None:
    found = TicketSource.parse(f"{swept / 'store'}:lrr/*/round02").find()
    assert {(each.chain, each.round) for each in found} == {(1, 2), (2, 2)}


def test_a_changed_ticket_and_a_zoo_without_zoo_before_it_are_refused(zoo: Path) -> None:
    with pytest.raises(RecipeError, match=f"this folder is a zoo; say zoo:{zoo}"):
        TicketSource.parse(str(zoo)).find()
    for path in zoo.rglob("ticket.parquet"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RecipeError, match="its SHA-256 differs"):
        TicketSource.parse(f"zoo:{zoo}/aws/*").find()
    assert command("verify", zoo).exit_code == 1
