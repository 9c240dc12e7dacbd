"""Recipes: the user's changes win over built-in layers, and misfits give one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.recipes.experiment_file import ExperimentRequest
from orchestrator.recipes.layers import RecipeError, merge, parse_setting, read_fast, read_recipe_file, user_layers
from orchestrator.recipes.recipe import Recipe
from orchestrator.recipes.resolution import resolve
from tests.orchestrator.recipes.small_recipes import plan_of
from workers.data import DATA_SETS
from workers.models import ARCHITECTURES
from workers.stages import UNIFORM, Alpha, Optimizer

PRESETS = ["sound", "reference"]
FAST = read_fast()
BUILT_IN = ["cifar10", "cifar100", "imagenet", "mnist1d", "tiny-imagenet"]


def settings(*texts: str, dataset: str = "mnist1d", preset: str = "sound") -> Recipe:
    return resolve(dataset, None, preset, [parse_setting(text) for text in texts])


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("dataset", BUILT_IN)
def test_every_built_in_recipe_resolves(dataset: str, preset: str) -> None:
    assert dataset in DATA_SETS
    resolved = resolve(dataset, None, preset)
    assert (resolved.dataset, resolved.preset) == (dataset, preset)
    assert resolved.arch in ARCHITECTURES
    assert resolved.precision == "float32"  # docs/speed.md says what must be shown first


def test_the_cifar_recipe_follows_the_paper() -> None:
    resolved = resolve("cifar100", None, "reference")
    assert resolved.arch == "resnet50"
    assert resolved.optimizer == Optimizer(0.1, "sgd", momentum=0.9, weight_decay=5e-4)
    assert (resolved.batch_size, resolved.pretrain_epochs, resolved.round_epochs, resolved.final_epochs) == (
        128,
        10,
        10,
        100,
    )
    assert (resolved.rounds, resolved.prune_fraction, resolved.round_schedule.name) == (15, 0.2, "constant")
    assert (resolved.final_schedule.milestones, resolved.final_schedule.factor) == ((50, 75), 0.1)
    assert resolved.transfer_rounds == tuple(range(1, 16))
    assert resolved.augmentation == "crop_flip"


SGD, ADAM = ("sgd", 0.9), ("adam", None)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    ("dataset", "arch", "kind", "rate", "decay", "batch", "pretrain", "rounds", "epochs", "augmentation", "schedule"),
    [
        # method.md, "Hyper-parameters"
        ("cifar100", "resnet50", SGD, 0.1, 5e-4, 128, 10, 15, 10, "crop_flip", "steps"),
        ("cifar100", "mobilenetv2", SGD, 0.05, 5e-4, 128, 10, 15, 10, "crop_flip", "steps"),
        ("cifar100", "efficientnet_b0", SGD, 0.1, 5e-4, 128, 10, 15, 10, "crop_flip", "steps"),
        ("cifar100", "shufflenet_g3", SGD, 0.1, 5e-4, 128, 10, 15, 10, "crop_flip", "steps"),
        ("cifar100", "resnet32", SGD, 0.1, 5e-4, 128, 10, 15, 10, "crop_flip", "steps"),
        ("tiny-imagenet", "resnet50", SGD, 0.1, 5e-4, 128, 10, 15, 10, "half_resized_crop_flip", "steps"),
        ("tiny-imagenet", "mobilenetv2", SGD, 0.05, 5e-4, 128, 10, 15, 10, "half_resized_crop_flip", "steps"),
        ("imagenet", "resnet50", ADAM, 1e-3, 1e-5, 256, 20, 10, 5, "resized_crop_flip", "cosine"),
        ("imagenet", "mobilenetv2", SGD, 0.05, 5e-5, 256, 20, 10, 5, "resized_crop_flip", "cosine"),
        ("imagenet", "mlp_mixer", ADAM, 1e-3, 5e-5, 512, 20, 10, 5, "resized_crop_flip", "cosine"),
    ],
)
def test_each_row_of_the_papers_table_has_its_recipe(
    preset: str,
    dataset: str,
    arch: str,
    kind: tuple[str, float | None],
    rate: float,
    decay: float,
    batch: int,
    pretrain: int,
    rounds: int,
    epochs: int,
    augmentation: str,
    schedule: str,
) -> None:
    resolved = resolve(dataset, arch, preset)
    optimizer = resolved.optimizer
    assert (optimizer.name, optimizer.learning_rate, optimizer.weight_decay) == (kind[0], rate, decay)
    assert kind[1] is None or optimizer.momentum == kind[1]
    assert (resolved.batch_size, resolved.pretrain_epochs, resolved.rounds, resolved.round_epochs) == (
        batch,
        pretrain,
        rounds,
        epochs,
    )
    assert (resolved.augmentation, resolved.final_schedule.name, resolved.final_epochs) == (augmentation, schedule, 100)
    assert resolved.round_schedule.name == "constant"
    assert resolved.precision == "float32"
    if dataset == "imagenet":
        assert resolved.final_schedule.factor == pytest.approx(1e-3)
        assert resolved.transfers == ("signed",)
        assert resolved.transfer_rounds == (10,)
        assert resolved.image_size == 224
        assert resolved.model.get("variant") == (None if arch == "mlp_mixer" else "imagenet")
    else:
        assert (resolved.final_schedule.milestones, resolved.final_schedule.factor) == ((50, 75), 0.1)
        assert resolved.transfers == ("signed", "mask")
        assert resolved.transfer_rounds == tuple(range(1, 16))
        options = {"resnet50": {"stem_init": "uniform"}}
        if preset == "reference":
            options["efficientnet_b0"] = {"drop_connect": 0.0}
        assert resolved.model == options.get(arch, {})
    if preset == "reference":
        assert (resolved.validation_fraction, resolved.watch_test_set, resolved.bn_momentum) == (0.0, True, 0.1)
        assert (resolved.bn_images, resolved.probe_points, resolved.seeds) == (None, 11, 2)
        if dataset != "imagenet":  # where ImageNet's are what streamed images get anyway
            cifars = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
            imagenets = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
            assert (resolved.pixel_mean, resolved.pixel_std) == (cifars if dataset == "cifar100" else imagenets)
    else:
        assert (resolved.pixel_mean, resolved.pixel_std) == (None, None)


def test_a_users_folder_of_images_starts_from_imagenets_recipe() -> None:
    assert resolve("imagefolder:birds", None, "sound").augmentation == "resized_crop_flip"
    assert resolve("imagefolder:birds", None, "sound").model == {"variant": "imagenet"}


def test_presets_differ_in_validation_and_the_test_set() -> None:
    sound, reference = resolve("cifar10", None, "sound"), resolve("cifar10", None, "reference")
    assert sound.validation_fraction > 0
    assert not sound.watch_test_set
    assert sound.bn_momentum is None
    assert reference.validation_fraction == 0
    assert reference.watch_test_set
    assert (reference.bn_momentum, reference.bn_images) == (0.1, None)


def test_the_users_last_change_wins() -> None:
    assert settings("validation_fraction=0.25").validation_fraction == 0.25  # over the preset
    assert settings("seeds=4", "seeds=5").seeds == 5


def test_changing_one_optimizer_field_keeps_the_others() -> None:
    before, after = settings().optimizer, settings("optimizer.learning_rate=0.01").optimizer
    assert after.learning_rate == 0.01
    assert (after.name, after.momentum, after.weight_decay) == (before.name, before.momentum, before.weight_decay)


def test_merge_replaces_lists_and_merges_mappings() -> None:
    merged = merge({"a": [1, 2], "b": {"x": 1, "y": 2}}, {"a": [3], "b": {"y": 4}}, {})
    assert merged == {"a": [3], "b": {"x": 1, "y": 4}}


def test_model_options_keep_their_types() -> None:
    model = settings("model.width=8", "model.gate=true", "model.rate=0.5", "model.mode=wide").model
    assert {name: (type(value), value) for name, value in model.items()} == {
        "width": (int, 8),
        "gate": (bool, True),
        "rate": (float, 0.5),
        "mode": (str, "wide"),
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("alpha={name: beta, parameters: [2, 5]}", Alpha("beta", (2.0, 5.0))),
        ("alpha.parameters=[0, 0.5]", Alpha("uniform", (0.0, 0.5))),
        ("alpha.name=uniform", UNIFORM),
    ],
)
def test_the_distribution_of_alpha_is_a_recipe_field(text: str, found: Alpha) -> None:
    assert settings(text).alpha == found


def test_a_learning_rate_may_be_written_with_an_exponent() -> None:
    assert settings("optimizer.learning_rate=1e-3").optimizer.learning_rate == 0.001  # YAML 1.1 calls this a text


@pytest.mark.parametrize(
    ("rounds", "probed"), [(1, (1,)), (9, (9,)), (10, (10,)), (14, (10,)), (15, (10, 15)), (20, (10, 15))]
)
def test_built_in_rounds_beyond_the_users_rounds_are_left_out(rounds: int, probed: tuple[int, ...]) -> None:
    resolved = resolve("mnist1d", None, "sound", [{"rounds": rounds}])
    assert resolved.probe_rounds == resolved.transfer_rounds == probed


@pytest.mark.parametrize("share", ["0", "-0.5", "1.5"])
def test_a_share_of_a_gpu_is_at_most_one(share: str) -> None:
    assert settings("gpus_per_trial=0.25").gpus_per_trial == 0.25
    with pytest.raises(RecipeError, match="gpus_per_trial: a trial uses one GPU or a share of it, such as 0"):
        settings(f"gpus_per_trial={share}")


def test_all_rounds_exclude_round_zero() -> None:
    resolved = settings("rounds=4", "probe_rounds=all", "transfer_rounds=all")
    assert resolved.probe_rounds == resolved.transfer_rounds == (1, 2, 3, 4)


def test_transfers_of_the_probed_rounds_follow_them() -> None:
    assert settings("rounds=6", "probe_rounds=[2, 5]", "transfer_rounds=probed").transfer_rounds == (2, 5)
    assert settings("rounds=3", "probe_rounds=all").transfer_rounds == (1, 2, 3)  # mnist1d's own is "probed"


def test_one_round_and_round_zero_are_allowed() -> None:
    assert settings("rounds=1").probe_rounds == (1,)
    assert settings("rounds=1", "transfer_rounds=[0]").transfer_rounds == (0,)


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("seeds=3", {"seeds": 3}),
        ("optimizer.learning_rate=0.05", {"optimizer": {"learning_rate": 0.05}}),
        ("transfers=[signed, mask]", {"transfers": ["signed", "mask"]}),
        ("bn_momentum=null", {"bn_momentum": None}),
        (" seeds = 3", {"seeds": 3}),
        ("model.mode=a=b", {"model": {"mode": "a=b"}}),
    ],
)
def test_a_setting_is_a_path_and_a_yaml_value(text: str, layer: dict[str, Any]) -> None:
    assert parse_setting(text) == layer


def test_a_twin_of_an_untrained_transfer_is_refused_unless_transfers_were_narrowed_later() -> None:
    with pytest.raises(RecipeError, match="twins: mask is not among the transfers; add it there"):
        settings("transfers=[signed]", "twins=[signed, mask]")
    assert settings("transfers=[mask]").transfers == ("mask",)  # the twins of which are nobody's wish
    assert settings("twins=[signed, mask]", "transfers=[signed]").transfers == ("signed",)  # an experiment, narrowed


def test_transfers_narrowed_after_a_landscape_leave_it_out() -> None:
    narrowed = settings("landscapes=[[retrain, signed, mask]]", "transfers=[signed]")
    assert plan_of(narrowed).counts()["landscape"] == 0


def test_overriding_a_merged_key_is_no_duplicate(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("optimizer: &one {name: sgd, momentum: 0.5}\nmodel: {<<: *one, momentum: 0.9}\n")
    assert read_recipe_file(path)["model"] == {"name": "sgd", "momentum": 0.9}


def test_a_recipe_file_is_a_layer(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("rounds: 3\noptimizer: {learning_rate: 0.02}\n")
    resolved = resolve("mnist1d", None, "sound", [read_recipe_file(path), parse_setting("rounds=2")])
    assert (resolved.rounds, resolved.optimizer.learning_rate) == (2, 0.02)


def fast(*settings: str, recipe: Path | None = None) -> Recipe:
    return resolve("mnist1d", None, "sound", user_layers(recipe, settings, {}, fast=True))


def test_fast_is_a_layer_under_the_users_settings_and_gives_their_keys() -> None:
    assert (fast().precision, fast().compile_from_epochs) == ("bfloat16", FAST["compile_from_epochs"])
    undone = fast("compile_from_epochs=null")
    assert (undone.precision, undone.compile_from_epochs) == ("bfloat16", None)
    assert list(plan_of(undone).nodes) == list(plan_of(settings("precision=bfloat16")).nodes)
    short = settings("precision=bfloat16", "pretrain_epochs=1", "round_epochs=1", "final_epochs=4")
    assert list(plan_of(short).nodes) == list(
        plan_of(fast("pretrain_epochs=1", "round_epochs=1", "final_epochs=4")).nodes
    )


def test_fast_and_a_recipe_file_that_differ_are_refused_unless_a_setting_decides(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("precision: float32\nrounds: 3\n")
    with pytest.raises(
        RecipeError, match=r"--fast sets precision to bfloat16, and --recipe .* to another value; decid"
    ):
        fast(recipe=path)
    decided = fast("precision=float32", recipe=path)
    assert (decided.precision, decided.compile_from_epochs) == ("float32", FAST["compile_from_epochs"])
    path.write_text("precision: bfloat16\nrounds: 3\n")
    assert fast(recipe=path).rounds == 3


def test_fast_changes_an_experiments_file_as_options_do() -> None:
    request = ExperimentRequest(layers=({"precision": "float32"},)).under(
        ExperimentRequest(("mnist1d",), layers=user_layers(None, (), {}, fast=True))
    )
    assert resolve("mnist1d", None, "sound", request.layers).precision == "bfloat16"


def test_resolving_does_not_change_the_users_layers() -> None:
    change: dict[str, Any] = {"optimizer": {"learning_rate": 0.3}, "probe_rounds": "all"}
    resolve("mnist1d", None, "sound", [change])
    assert change == {"optimizer": {"learning_rate": 0.3}, "probe_rounds": "all"}
