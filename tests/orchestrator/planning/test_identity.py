"""A stage's key: equal for equal content on every machine, different for every change of a number."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.planning.identity import canonical, stage_key
from tickets import DENSE, SIGNED
from workers.stages import (
    Alpha,
    Data,
    Landscape,
    Model,
    Optimizer,
    PairProbe,
    PathEvaluation,
    Pretrain,
    Probe,
    Round,
    Schedule,
    Setting,
    Stage,
    Train,
    Training,
)

SETTING = Setting("sound", Data("cifar10", "parquet-1", 0.1), Model("resnet20", {"width": 8}))
SHORT = Training(2, 128, Optimizer(0.1))
FINAL = Training(10, 128, Optimizer(0.05, "adam", weight_decay=1e-5), Schedule("steps", (5, 7)), "crop_flip")
PRETRAIN = Pretrain(SETTING, SHORT, "interpolated", init_seed=1, sgd_seed=2)
ROUND = Round(SETTING, SHORT, "interpolated", round=1, prune_fraction=0.2, sgd_seed=3)
TRAIN = Train(SETTING, FINAL, SIGNED, init_seed=4, sgd_seed=5)
PROBE = Probe(SETTING, points=11, batch_size=128, bn_images=5120, bn_momentum=None)
PAIR_PROBE = PairProbe(SETTING, "weight_distance")
PATH_PROBE = replace(PAIR_PROBE, path=PathEvaluation(11, 128, 5120, None))
LANDSCAPE = Landscape(SETTING, points=15, margin=0.25, batch_size=128, bn_images=5120, bn_momentum=None)

# A golden key changes only on purpose: every result that a user has under the old one is then computed anew. Raise the
# kind's version when what it computes changes, and write the new key here.
GOLDEN: list[tuple[Stage, dict[str, str], str]] = [
    (PRETRAIN, {}, "e5ee0143df6e714ed38cc4337dbbfae8"),
    (ROUND, {"previous": "a" * 32}, "9558dc1eb209c340f280f221430dc9d0"),
    (TRAIN, {"ticket": "b" * 32}, "bb9687453ec0a6a52b0f26a4f5b7086e"),
    (PROBE, {"a": "c" * 32, "b": "d" * 32}, "70c5f1d4e4d16f40c34688c226fcded0"),
    (PAIR_PROBE, {"a": "c" * 32, "b": "d" * 32}, "6784f98736b8f22c376835685dab6471"),
    (PATH_PROBE, {"a": "c" * 32, "b": "d" * 32}, "f18eed42f3950cffd90fa70cfce91b06"),
    (LANDSCAPE, {"a": "c" * 32, "b": "d" * 32, "c": "e" * 32}, "963a891d88f44e9fdc0a461c91f4f785"),
]


@pytest.mark.parametrize(("stage", "inputs", "key"), GOLDEN, ids=lambda value: getattr(value, "kind", ""))
def test_golden_keys_have_not_changed(stage: Stage, inputs: dict[str, str], key: str) -> None:
    assert stage_key(stage, inputs) == key


def with_options(options: dict[str, object]) -> str:
    model = Model("resnet20", options)  # type: ignore[arg-type]
    return stage_key(replace(PRETRAIN, setting=replace(SETTING, model=model)), {})


def test_the_order_of_a_mapping_does_not_matter() -> None:
    assert with_options({"width": 8, "depth": 2}) == with_options({"depth": 2, "width": 8})
    forward, backward = {"a": "1" * 32, "b": "2" * 32}, {"b": "2" * 32, "a": "1" * 32}
    assert stage_key(PROBE, forward) == stage_key(PROBE, backward)


def test_swapped_inputs_change_the_key() -> None:
    assert stage_key(PROBE, {"a": "1", "b": "2"}) != stage_key(PROBE, {"a": "2", "b": "1"})


def test_another_process_in_another_folder_computes_the_same_keys(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.append(sys.argv[1])\n"
        "from tests.orchestrator.planning.test_identity import GOLDEN, stage_key, with_options\n"
        "print(*(stage_key(stage, inputs) for stage, inputs, _ in GOLDEN), with_options({'b': 1, 'a': 2.5}))"
    )
    expected = [*(key for _, _, key in GOLDEN), with_options({"a": 2.5, "b": 1})]
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parents[3])],
        cwd=tmp_path,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == expected


def test_a_new_field_at_its_default_changes_no_key() -> None:
    @dataclass(frozen=True)
    class Knobs:
        rate: float
        name: str = "sgd"

    @dataclass(frozen=True)
    class MoreKnobs(Knobs):
        nesterov: bool = False
        betas: tuple[float, ...] = field(default_factory=tuple)

    assert canonical(MoreKnobs(0.1)) == canonical(Knobs(0.1))
    assert canonical(MoreKnobs(0.1, nesterov=True)) != canonical(Knobs(0.1))
    assert canonical(MoreKnobs(0.1, betas=(0.9,))) != canonical(Knobs(0.1))


@pytest.mark.parametrize(("stage", "inputs", "key"), GOLDEN, ids=lambda value: getattr(value, "kind", ""))
def test_a_stage_with_an_added_field_keeps_its_key(stage: Stage, inputs: dict[str, str], key: str) -> None:
    wider = make_dataclass("Wider", [("knob", int, field(default=7))], bases=(type(stage),), frozen=True)
    values = vars(stage)
    assert stage_key(wider(**values), inputs) == key
    assert stage_key(wider(**values, knob=8), inputs) != key


def test_a_field_set_to_its_default_changes_no_key() -> None:
    spelled = replace(PRETRAIN, training=Training(2, 128, Optimizer(0.1, "sgd", 0.9, 5e-4), Schedule(), "none"))
    assert stage_key(spelled, {}) == stage_key(PRETRAIN, {})


@pytest.mark.parametrize(
    "changed",
    [
        replace(PRETRAIN, init_seed=9),
        replace(PRETRAIN, sgd_seed=9),
        replace(PRETRAIN, psi="plain"),
        replace(PRETRAIN, alpha=Alpha("beta", (2.0, 2.0))),
        replace(PRETRAIN, training=replace(SHORT, epochs=3)),
        replace(PRETRAIN, training=replace(SHORT, optimizer=Optimizer(0.1, weight_decay=0.0))),
        replace(PRETRAIN, setting=replace(SETTING, preset="reference")),
        replace(PRETRAIN, setting=replace(SETTING, watch_test_set=True)),
        replace(PRETRAIN, setting=replace(SETTING, data=replace(SETTING.data, fingerprint="parquet-2"))),
        replace(PRETRAIN, setting=replace(SETTING, model=replace(SETTING.model, version=2))),
        replace(PRETRAIN, setting=replace(SETTING, model=replace(SETTING.model, options={"width": 9}))),
    ],
    ids=repr,
)
def test_every_field_that_changes_numbers_changes_the_key(changed: Stage) -> None:
    assert stage_key(changed, {}) != stage_key(PRETRAIN, {})


def test_a_raised_version_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = stage_key(PROBE, {})
    monkeypatch.setattr(Probe, "version", Probe.version + 1)
    assert stage_key(PROBE, {}) != before


def test_kinds_with_equal_fields_differ() -> None:
    @dataclass(frozen=True)
    class Other:
        kind = "other"
        version = Probe.version
        setting: Setting

    @dataclass(frozen=True)
    class Another(Other):
        kind = "another"

    assert stage_key(Other(SETTING), {}) != stage_key(Another(SETTING), {})  # type: ignore[arg-type]


def test_an_upstream_stage_enters_by_its_key() -> None:
    assert stage_key(ROUND, {"previous": "1" * 32}) != stage_key(ROUND, {"previous": "2" * 32})
    chain = stage_key(PRETRAIN, {})
    for round_ in range(1, 40):  # nested content would have grown beyond any memory
        chain = stage_key(replace(ROUND, round=round_), {"previous": chain})
    assert len(chain) == 32


def test_true_and_one_and_the_text_of_a_number_differ() -> None:
    values: list[object] = [True, 1, 1.0, "1", "1.0", "True", 0.1, "0.1"]
    assert len({with_options({"x": value}) for value in values}) == len(values)


def test_a_float_enters_with_all_its_digits() -> None:
    assert with_options({"x": 0.1}) != with_options({"x": 0.1 + 2**-55})
    assert with_options({"x": 0.3}) != with_options({"x": 0.1 + 0.2})
    assert with_options({"x": 0.1}) == with_options({"x": np.float64(0.1)})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no place in a key"):
        with_options({"x": value})


@pytest.mark.parametrize(
    "value",
    [{1, 2}, b"bytes", Path("here"), object(), np.arange(2), Data, 1j],
    ids=lambda value: type(value).__name__,  # an object's repr differs from process to process
)
def test_a_type_without_a_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be part of a key"):
        with_options({"x": value})


def test_a_mapping_without_text_keys_is_refused() -> None:
    with pytest.raises(TypeError, match="string keys"):
        with_options({"x": {1: 2}})


def test_lists_and_tuples_have_the_same_form() -> None:
    assert canonical((1, (2, 3))) == canonical([1, [2, 3]])


def test_a_dense_training_needs_no_ticket_and_differs_from_a_transfer() -> None:
    dense = Train(SETTING, FINAL, DENSE, init_seed=4, sgd_seed=5)
    assert stage_key(dense, {}) != stage_key(TRAIN, {})
