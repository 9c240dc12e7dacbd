"""Preparing data before a sweep: a person sees how far it is, and what is wrong before anything runs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from orchestrator import preparation
from orchestrator.experiments import find_experiments
from orchestrator.preparation import prepare_data
from orchestrator.recipes import RecipeError
from tests.image_sets import write_image_folder, write_tiny_imagenet
from workers.data import DataError
from workers.execution import Execution


def said(root: Path, cache: Path, *, terminal: bool) -> str:
    execution = Execution("cpu", str(root), str(cache))
    experiments = find_experiments(["tiny-imagenet"], ["resnet20", "resnet32"], "sound", [], execution)
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200)
    prepare_data(experiments, execution, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_terminal_gets_a_bar_for_each_split(tmp_path: Path) -> None:
    write_tiny_imagenet(tmp_path, train=2, val=1)
    shown = said(tmp_path, tmp_path / "cache", terminal=True)
    assert "tiny-imagenet: decoding train images" in shown
    assert "16/16" in shown
    assert "8/8" in shown


def test_a_log_gets_a_line_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_imagenet(tmp_path, train=2, val=1)
    monkeypatch.setattr(preparation, "LINE_INTERVAL_S", 0)
    lines = said(tmp_path, tmp_path / "cache", terminal=False).splitlines()
    assert lines[0].startswith("Preparing tiny-imagenet once")
    assert "tiny-imagenet: decoding train images: 16 of 16" in lines
    assert said(tmp_path, tmp_path / "cache", terminal=False) == ""  # it is prepared


def test_the_network_has_as_many_outputs_as_the_found_data_has_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = []
    monkeypatch.setattr(
        "orchestrator.experiments.parameter_roles",
        lambda model, classes: outputs.append((classes, model(torch.zeros(1, 3, 32, 32, device="meta")).shape[1])),
    )
    write_image_folder(tmp_path / "insects", classes=("ants", "bees", "wasps"))
    execution = Execution("cpu", str(tmp_path), str(tmp_path / "cache"))
    found = find_experiments(["imagefolder:insects"], ["resnet20"], "sound", [], execution)
    assert outputs == [(3, 3)]
    assert [experiment.recipe.dataset for experiment in found] == ["imagefolder:insects"]


def test_unknown_names_get_the_nearest_and_impossible_ones_a_reason(tmp_path: Path) -> None:
    execution = Execution("cpu", str(tmp_path), str(tmp_path / "cache"))
    with pytest.raises(RecipeError, match=r"did you mean .*imagenet"):
        find_experiments(["imagenett"], None, "sound", [], execution)
    with pytest.raises(DataError, match="give a folder's name"):
        find_experiments(["imagefolder:../x"], None, "sound", [], execution)
