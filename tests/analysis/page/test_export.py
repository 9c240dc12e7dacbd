"""A report's numbers as files: their contents, and that a folder never holds a part of them."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis import Frames, load
from analysis.page.export import escaped, export
from analysis.report import app

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

FRAMES = {each.name for each in fields(Frames)} - {"planned", "left_out", "stores", "at_work"}
TABLES = FRAMES | {"numbers", "comparisons", "reached"}
IN_PAPERS = {"numbers.tex", "comparisons.tex", "citation.bib"}
AS_DATA = {"results.json", "results.schema.json"}


def exported(store: Path, folder: Path) -> Path:
    """The folder, written."""
    export(load(store), folder)
    return folder


def test_each_table_is_a_file_of_each_kind(sweep: SyntheticStore, tmp_path: Path) -> None:
    folder = exported(sweep.root, tmp_path / "tables")
    names = {file.name for file in folder.iterdir()}
    assert names == {f"{name}.{kind}" for name in TABLES for kind in ("csv", "parquet")} | IN_PAPERS | AS_DATA


def test_csv_and_parquet_hold_what_the_store_holds(sweep: SyntheticStore, tmp_path: Path) -> None:
    folder = exported(sweep.root, tmp_path / "tables")
    stages = load(sweep.root).stages
    for table in (pd.read_csv(folder / "stages.csv"), pd.read_parquet(folder / "stages.parquet")):
        assert table["key"].tolist() == stages["key"].tolist()
        signed = table[(table["transfer"] == "signed") & (table["method"] == "aws") & ~table["twin"]]
        accuracies = signed["test_accuracy_percent"].dropna()
        assert accuracies.mean() == pytest.approx(62.0)  # 50 + seed + gain: 60, 62, 64 in each round
        assert len(accuracies) == 6
    numbers = pd.read_parquet(folder / "numbers.parquet")
    row = numbers[(numbers["method"] == "aws") & (numbers["transfer"] == "signed") & (numbers["round"] == 10)].iloc[0]
    assert row[["dataset", "architecture", "preset"]].tolist() == ["digits", "tiny", "sound"]
    assert row[["accuracy_mean", "accuracy_sd", "barrier_mean"]].tolist() == pytest.approx([62.0, 2.0, 2.0])
    sentences = pd.read_csv(folder / "comparisons.csv")["sentence"]
    assert any("signs carry accuracy" in sentence and "+10.0 points" in sentence for sentence in sentences)


def test_latex_is_booktabs_with_every_text_escaped(store: SyntheticStore, tmp_path: Path) -> None:
    store.train("signed", 60.0, dataset="a_b & 50 % #1", method="m$x", chain=1, round=1, seed=1)
    text = (exported(store.root, tmp_path / "tables") / "numbers.tex").read_text()
    assert r"a\_b \& 50 \% \#1" in text
    assert r"m\$x" in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"0.8 & m\$x & signed transfer & 60.00 &  &  &  \\" in text.replace("~", " ")


def test_latex_names_the_usual_number_of_trainings_once(store: SyntheticStore, tmp_path: Path) -> None:
    for chain in (1, 2):
        for start in ("signed", "mask"):
            store.train(start, 60.0, chain=chain, round=1, seed=1)
    store.train("retrain", 60.0, chain=1, round=1, seed=1)
    text = (exported(store.root, tmp_path / "tables") / "numbers.tex").read_text()
    assert "over chains; n = 2 in 2 chains; cells with another n name it." in text
    assert text.count("in 2 chains") == 1
    assert text.count("60.00 (1 in 1 chain)") == 1


def test_signs_of_the_method_are_mathematics() -> None:
    assert escaped("ψ\\~^{λ} −1 ± <2>") == (
        r"$\psi$\textbackslash{}\textasciitilde{}\textasciicircum{}\{$\lambda$\} $-$1 $\pm$ \textless{}2\textgreater{}"
    )


def test_results_that_are_lists_are_json(store: SyntheticStore, tmp_path: Path) -> None:
    store.stage("train", {"transfer": "dense", "seed": 1}, {"test_accuracy_percent": 1.0, "shares": [0.5, 0.25]})
    store.stage("train", {"transfer": "dense", "seed": 2}, {"test_accuracy_percent": 2.0, "note": {"a": 1}})
    stages = pd.read_parquet(exported(store.root, tmp_path / "tables") / "stages.parquet")
    assert stages["shares"].dropna().tolist() == ["[0.5, 0.25]"]
    assert stages["note"].dropna().tolist() == ['{"a": 1}']


def test_a_sweep_that_has_only_begun_is_exported(store: SyntheticStore, tmp_path: Path) -> None:
    store.plan(("digits/first", "a" * 32))
    folder = exported(store.root, tmp_path / "tables")
    assert len(pd.read_csv(folder / "missing.csv")) == 1
    assert pd.read_csv(folder / "numbers.csv").empty


def test_files_of_the_folder_are_replaced_and_others_stay(sweep: SyntheticStore, tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    (folder / "numbers.csv").write_text("old")
    exported(sweep.root, folder)
    assert (folder / "mine.txt").read_text() == "mine"
    assert "accuracy_mean" in (folder / "numbers.csv").read_text()
    assert not list(folder.glob(".export.*"))


@pytest.mark.usefixtures("one_figure")
def test_the_command_writes_tables_alone_or_the_page_too(sweep: SyntheticStore, tmp_path: Path) -> None:
    folder, out = tmp_path / "tables", tmp_path / "page.html"
    alone = CliRunner().invoke(app, [str(sweep.root), "--export", str(folder)])
    assert (alone.exit_code, alone.stdout.split()) == (0, [str(folder)])
    assert not (sweep.root / "report.html").exists()
    both = CliRunner().invoke(app, [str(sweep.root), "--export", str(folder), "--out", str(out)])
    assert (both.exit_code, both.stdout.split()) == (0, [str(folder), str(out)])
    assert out.exists()


def test_a_folder_that_cannot_be_written_is_refused_in_one_sentence(sweep: SyntheticStore, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for place in (file, tmp_path / "no" / "tables"):
        result = CliRunner().invoke(app, [str(sweep.root), "--export", str(place)])
        assert result.exit_code == 2
        assert len(result.stderr.strip().splitlines()) == 1
        assert str(place) in result.stderr
    assert file.read_text() == "mine"
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("there", [True, False])
def test_a_failed_write_leaves_no_partial_file(
    sweep: SyntheticStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    folder = tmp_path / "tables"
    if there:
        folder.mkdir()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    result = CliRunner().invoke(app, [str(sweep.root), "--export", str(folder)])
    assert result.exit_code == 1
    assert folder.exists() == there
    assert not there or list(folder.iterdir()) == []
