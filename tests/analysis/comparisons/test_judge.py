"""What `winning-sign judge` prints, and its JSON, which `--until-shown` reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from analysis.judge import app

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore


def judged(store: SyntheticStore) -> dict[str, Any]:
    result = CliRunner().invoke(app, [str(store.root), "--json"])
    assert result.exit_code == 0, result.output
    [part] = json.loads(result.stdout)["parts"]
    return dict(part)


def carry(store: SyntheticStore, gains: tuple[float, ...]) -> None:
    for chain, gain in enumerate(gains, start=1):
        labels = {"method": "aws", "chain": chain, "round": 10, "seed": 1}
        store.train("signed", 50.0 + gain, **labels)
        store.train("mask", 50.0, **labels)


@pytest.mark.parametrize(
    ("gains", "decided", "needed"),
    [((9.9, 10.0, 10.1), True, None), ((1.0, 3.0, 8.0), False, 15), ((10.0,), False, None)],
    ids=["shown", "not shown", "one chain"],
)
def test_a_part_is_decided_if_its_primary_questions_are(
    store: SyntheticStore, gains: tuple[float, ...], decided: bool, needed: int | None
) -> None:
    carry(store, gains)
    part = judged(store)
    assert (part["decided"], part["chains_needed"]) == (decided, needed)
    assert [look["done"] for look in part["looks"]] == [True] * (len(gains) > 1)
    [row] = part["comparisons"]
    assert row["primary"]
    assert row["difference"] == pytest.approx(sum(gains) / len(gains))


def test_without_a_primary_comparison_nothing_is_decided(store: SyntheticStore) -> None:
    for chain in (1, 2, 3):
        labels = {"chain": chain, "round": 10, "seed": 1}
        store.train("signed", 60.0, method="aws", **labels)
        store.train("signed", 50.0 + chain / 10, method="lrr", **labels)
    assert not judged(store)["decided"]


def test_it_reads_as_sentences(store: SyntheticStore) -> None:
    carry(store, (9.9, 10.0, 10.1))
    output = " ".join(CliRunner().invoke(app, [str(store.root)]).stdout.split())
    assert "The signs of a pruned network carry accuracy that its mask alone does not. At density 0.107" in output
    assert "Judged at 3 chains, as planned at the start." in output
    assert "Signs carry accuracy that masks do not: shown in 1 of 1 comparison" in output


def test_an_empty_store_is_refused(store: SyntheticStore) -> None:
    store.root.mkdir()
    result = CliRunner().invoke(app, [str(store.root)])
    assert result.exit_code == 2
    assert "no stage is done" in result.output
