"""The serialised form of stages, which keys, stage files, records and stored plans share."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tickets import SIGNED
from workers.stages import (
    Criterion,
    Data,
    Landscape,
    Model,
    Optimizer,
    PairProbe,
    PathEvaluation,
    Pretrain,
    Probe,
    Pruning,
    Round,
    Schedule,
    Setting,
    Stage,
    Train,
    Training,
    from_science,
    to_science,
)
from workers.stages.job import Job, JobError, read_job

SETTING = Setting("sound", Data("cifar10", "parquet-1", 0.1, pixel_mean=(0.5,)), Model("resnet20", {"width": 8}))
TRAINING = Training(2, 128, Optimizer(0.1), Schedule("steps", (5, 7)))
ROUND = Round(SETTING, TRAINING, "plain", 1, 0.2, 3, pruning=Pruning("imp", Criterion("snip"), reset_to=0))
STAGES: list[Stage] = [
    Pretrain(SETTING, TRAINING, "interpolated", init_seed=1, sgd_seed=2),
    ROUND,
    Train(SETTING, TRAINING, SIGNED, init_seed=4, sgd_seed=5),
    Probe(SETTING, 11, 128, 5120, None),
    PairProbe(SETTING, "weight_distance"),
    PairProbe(SETTING, "midpoint", 2, PathEvaluation(11, 128, 5120, None, "crop_flip")),
    Landscape(SETTING, 15, 0.25, 128, 5120, None),
]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.kind)
def test_a_stage_is_read_back_from_its_json_unchanged(stage: Stage) -> None:
    assert from_science(type(stage), json.loads(json.dumps(to_science(stage)))) == stage


def test_psi_is_serialised_as_the_method_that_files_and_keys_have_always_named() -> None:
    assert to_science(STAGES[0])["method"] == "aws"
    assert to_science(ROUND)["method"] == "lrr"
    assert to_science(ROUND)["pruning"]["method"] == "imp"
    assert list(to_science(ROUND)) == [
        "setting",
        "training",
        "method",
        "round",
        "prune_fraction",
        "sgd_seed",
        "alpha",
        "pruning",
    ]


def test_fields_missing_from_an_older_file_take_their_defaults() -> None:
    science = to_science(replace(ROUND, pruning=Pruning()))
    del science["pruning"], science["alpha"], science["training"]["gang"]
    assert from_science(Round, science) == replace(ROUND, pruning=Pruning())


@pytest.mark.parametrize("change", [{"method": "imp"}, {"method": ["aws"]}, {"round": "one"}, {"setting": None}])
def test_a_field_of_another_type_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, TypeError)):
        from_science(Round, to_science(ROUND) | change)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"inputs": {"ticket": "../../etc"}}, "leads out of the store"),
        ({"inputs": {"ticket": "stages/../../out"}}, "leads out of the store"),
        ({"inputs": {"ticket": "/etc"}}, "leads out of the store"),
        ({"inputs": ["stages/a"]}, "leads out of the store"),
        ({"key": "../x"}, "leads out of the store"),
        ({"science": 1}, "not a stage of this version"),
        ({"kind": []}, "not a stage of this version"),
    ],
    ids=str,
)
def test_a_strangers_stage_file_leads_nowhere(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    path = tmp_path / "stage.json"
    content = Job("a" * 32, "name", ROUND, {"ticket": "stages/round/a-b/attempts/1/out"}).to_json()
    path.write_text(json.dumps(content))
    assert read_job(path).stage == ROUND
    path.write_text(json.dumps({**content, **changes}))
    with pytest.raises(JobError, match=sentence):
        read_job(path)
