"""Data is prepared before a sweep, with progress, and errors come before any stage runs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from orchestrator.recipes.experiment_file import ExperimentRequest
from orchestrator.recipes.experiments import Experiment, Network, find_experiments
from orchestrator.recipes.layers import RecipeError
from orchestrator.session import preparation
from orchestrator.session.preparation import prepare_data
from tests.support.image_sets import write_image_folder, write_tiny_imagenet
from workers.data import DataError
from workers.models import ARCHITECTURES, architecture, build_model
from workers.stages import Model
from workers.stages.execution import Execution
from workers.terminal.console import Console


def printed(root: Path, cache: Path, *, terminal: bool) -> str:
    execution = Execution("cpu", str(root), str(cache))
    experiments = find_experiments(ExperimentRequest(("tiny-imagenet",), ("resnet20", "resnet32")), execution)
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200)
    prepare_data(experiments, execution, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_terminal_shows_a_bar_for_each_split(tmp_path: Path) -> None:
    write_tiny_imagenet(tmp_path, train=2, val=1)
    shown = printed(tmp_path, tmp_path / "cache", terminal=True)
    assert "tiny-imagenet: decoding train images" in shown
    assert "16/16" in shown
    assert "8/8" in shown


def test_a_log_shows_a_line_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_imagenet(tmp_path, train=2, val=1)
    monkeypatch.setattr(preparation, "LINE_INTERVAL_S", 0)
    lines = printed(tmp_path, tmp_path / "cache", terminal=False).splitlines()
    assert lines[0].startswith("Preparing tiny-imagenet once")
    assert "tiny-imagenet: decoding train images: 16 of 16" in lines
    again = printed(tmp_path, tmp_path / "cache", terminal=False)  # it is prepared
    assert again == "tiny-imagenet: train 16 images of classes 0 to 7, test 8 images of classes 0 to 7\n"


def test_the_network_has_as_many_outputs_as_the_data_has_classes(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "insects", classes=("ants", "bees", "wasps"))
    (experiment,) = find(tmp_path, "imagefolder:insects", "resnet20")
    model = build_model(Model("resnet20"), in_channels=3, num_classes=3, init_seed=0)
    convolutions = [p for p in model.parameters() if p.dim() == 4]
    assert experiment.recipe.dataset == "imagefolder:insects"
    parameters, prunable = (sum(p.numel() for p in each) for each in (model.parameters(), convolutions))
    classifier = 64 * 3 + 3
    roles = {"prunable": prunable, "classifier": classifier, "normalization": parameters - prunable - classifier}
    assert experiment.network == Network(parameters, prunable, len(convolutions), "fc", roles, {"BatchNorm2d": 21})


NO_PSI = {"methods": ["lrr"]}  # AWS is refused to a network without normalization layers


def find(root: Path, dataset: str, arch: str, *changes: dict[str, Any]) -> list[Experiment]:
    return find_experiments(
        ExperimentRequest((dataset,), (arch,), "sound", tuple(changes)),
        Execution("cpu", str(root), str(root / "cache")),
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    write_image_folder(folder / "insects")
    write_tiny_imagenet(folder, train=2, val=1)
    return folder


@pytest.mark.parametrize(
    ("dataset", "arch", "changes", "sentence"),
    [
        ("imagefolder:insects", "resnet20", {"augmentation": "crop_flip"}, "give --set augmentation=resized_crop_flip"),
        (
            "mnist1d",
            "resnet1d",
            {"augmentation": "crop_flip"},
            "crop_flip blanks images of 1x40 pixels, as mnist1d has",
        ),
        ("mnist1d", "resnet1d", {"augmentation": "resized_crop_flip"}, "blanks .*; give --set augmentation=none"),
        ("tiny-imagenet", "resnet20", {"image_size": 64}, "all images of tiny-imagenet are 64x64 already"),
        ("imagefolder:insects", "mlp_mixer", {"image_size": 32}, "mlp_mixer on imagefolder:insects.*are 32x32: "),
        ("tiny-imagenet", "two_answers", NO_PSI, r"its output is \(2, 16\) for 2 images of 8 classes"),
    ],
)
def test_a_recipe_that_does_not_suit_the_images_is_refused_in_one_sentence(
    root: Path, two_answers: None, dataset: str, arch: str, changes: dict[str, Any], sentence: str
) -> None:
    execution = Execution("cpu", str(root), str(root / "cache"))
    with pytest.raises((RecipeError, DataError), match=sentence):
        prepare_data(find(root, dataset, arch, changes), execution, Console(file=io.StringIO()))


@pytest.fixture
def two_answers() -> Iterator[None]:
    class Doubled(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.mean((2, 3))).repeat(1, 2)

    @architecture("two_answers")
    def two_answers(in_channels: int, num_classes: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(in_channels, 8, 3), Doubled(8, num_classes))

    yield
    del ARCHITECTURES["two_answers"]


def test_an_unknown_name_is_refused_with_the_nearest_and_an_impossible_one_with_a_reason(tmp_path: Path) -> None:
    execution = Execution("cpu", str(tmp_path), str(tmp_path / "cache"))
    with pytest.raises(RecipeError, match=r"did you mean .*imagenet"):
        find_experiments(ExperimentRequest(("imagenett",)), execution)
    with pytest.raises(DataError, match="give a folder's name"):
        find_experiments(ExperimentRequest(("imagefolder:../x",)), execution)


def test_a_network_that_reads_a_value_while_it_is_built_is_planned_like_any_other(root: Path) -> None:
    @architecture("drop_path")
    def drop_path(in_channels: int, num_classes: int) -> nn.Module:
        rates = [rate.item() for rate in torch.linspace(0, 0.2, 3)]  # which the meta device refuses
        return nn.Sequential(
            nn.Flatten(), nn.Linear(in_channels * 64 * 64, 10), nn.Dropout(rates[-1]), nn.Linear(10, num_classes)
        )

    (experiment,) = find(root, "tiny-imagenet", "drop_path", NO_PSI)
    prunable, classifier = 3 * 64 * 64 * 10, 10 * 8 + 8
    roles = {"prunable": prunable, "classifier": classifier, "bias": 10}
    assert experiment.network == Network(prunable + 10 + classifier, prunable, 1, "3", roles)


def test_a_network_that_exits_or_is_none_is_refused_by_its_place(tmp_path: Path) -> None:
    @architecture("none")
    def none(in_channels: int, num_classes: int) -> None: ...

    @architecture("leaves")
    def leaves(in_channels: int, num_classes: int) -> nn.Module:
        raise SystemExit(3)

    for name, sentence in (("none", "returns a NoneType, and no torch.nn.Module"), ("leaves", "SystemExit: 3")):
        with pytest.raises(RecipeError, match=sentence) as raised:
            find(tmp_path, "mnist1d", name)
        assert __file__ in str(raised.value)


def test_a_network_that_exits_or_gives_no_tensor_is_refused_before_any_stage(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def __init__(self, features: int, classes: int) -> None:
            super().__init__()
            self.hidden, self.last = nn.Linear(features, 4), nn.Linear(4, classes)

        def forward(self, images: torch.Tensor) -> Any:
            return answer()

    @architecture("odd")
    def odd(in_channels: int, num_classes: int) -> nn.Module:
        return Odd(in_channels * 40, num_classes)

    def leave() -> Any:
        raise SystemExit(4)

    for give, sentence in ((leave, "SystemExit: 4"), (lambda: None, "its output is a NoneType")):
        answer = give
        experiments = find(tmp_path, "mnist1d", "odd", NO_PSI)
        with pytest.raises(RecipeError, match=sentence):
            prepare_data(experiments, Execution("cpu", None, str(tmp_path / "cache")), Console(file=io.StringIO()))
