"""The checklist tells which rule a store breaks, and where, by its files: each rule is broken here on purpose."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from analysis.checks import app, checks
from analysis.frames.load import load
from orchestrator.store import Store
from orchestrator.store.layout import stage_folder
from orchestrator.store.record import Labels, Record
from workers.attempts.workspace import Artifact

SETTING = {"preset": "sound", "data": {"name": "digits"}, "precision": "float32"}
# 16 prunable weights of magnitudes 1 to 16 in two layers; a quarter goes each round: 16, 12, 9, int(6.75) = 6 stay
WEIGHTS = np.array([16, -3, 15, 4, -14, 5, 13, 6, -12, 7, 11, 8, -10, 9, 1, -2], dtype=np.float32)
LAYERS = {"conv": slice(0, 10), "fc": slice(10, 16)}
SURVIVORS = (16, 12, 9, 6)
METHODS = ("aws", "lrr")

DENSITIES, NESTED, MAGNITUDES, ALIVE = "int((1 − p)·n)", "stays pruned", "smallest magnitudes", "alive"
MASKS, STABILITY, INITIALISATION = "same mask", "stability pair", "same initialisation"
TEST_SET, AWS, RECIPE, ARTIFACTS = "test set", "AWS is active", "one recipe", "as long as"
RULES = [DENSITIES, NESTED, MAGNITUDES, ALIVE, MASKS, STABILITY, INITIALISATION, TEST_SET, AWS, RECIPE, ARTIFACTS]


@dataclass
class Stage:
    """A stage to be written; ``inputs`` are names.

    Attributes:
        mask: of its ticket.
        weights: of the prunable layers, as one.
        reads: epochs after which it evaluates the test set.
    """

    kind: str
    labels: dict[str, Any]
    science: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    mask: np.ndarray | None = None
    weights: np.ndarray | None = None
    reads: tuple[int, ...] = ()


Stages = dict[str, Stage]


def largest(n: int) -> np.ndarray:
    """The mask of the n largest weights."""
    return np.abs(WEIGHTS) > 16 - n


def method_stages() -> Stages:
    """A dense training, and for each method a chain of three rounds, five solutions and three probes."""
    training = {"epochs": 3, "batch_size": 8}
    final = {"setting": SETTING, "training": training, "init_seed": 5, "sgd_seed": 6}
    stages = {
        "dense": Stage("train", {"transfer": "dense", "seed": 1}, final, weights=WEIGHTS, reads=(3,)),
    }
    for method in METHODS:
        for round_, n in enumerate(SURVIVORS):
            science: dict[str, Any] = {"setting": SETTING, "training": training, "method": method, "sgd_seed": round_}
            science |= {"round": round_, "prune_fraction": 0.25} if round_ else {"init_seed": 7}
            mask = largest(n)
            stages[f"{method}/round{round_}"] = Stage(
                "round" if round_ else "pretrain",
                {"method": method, "chain": 1, "round": round_},
                science,
                {"previous": f"{method}/round{round_ - 1}"} if round_ else {},
                {"density": n / 16} if round_ else {"density": 1.0, "init_blake2b": "ff"},
                mask,
                WEIGHTS * mask,
            )
        labels = {"method": method, "chain": 1, "round": 3, "seed": 1}
        solution = WEIGHTS * largest(6) / 2
        solution[0] = 0.0  # a survivor may be exactly 0
        for transfer in ("retrain", "signed", "mask", "shuffled", "twin"):
            moved = np.concatenate([np.roll(solution[layer], 1) for layer in LAYERS.values()])
            science = {
                **final,
                "transfer": {"mask": "shuffled" if transfer == "shuffled" else "ticket"},
                "sgd_seed": 8 if transfer == "twin" else 6,
            }
            named = {**labels, "transfer": "signed", "twin": True} if transfer == "twin" else {"transfer": transfer}
            stages[f"{method}/{transfer}"] = Stage(
                "train",
                {**labels, **named},
                science,
                {"ticket": f"{method}/round3"},
                weights=moved if transfer == "shuffled" else solution,
                reads=(3,),
            )
        for name, probe, a, b in (
            ("lmc", "lmc", "signed", "retrain"),
            ("stability", "stability", "signed", "twin"),
            ("control", "lmc", "shuffled", "retrain"),
        ):
            stages[f"{method}/{name}"] = Stage(
                "probe",
                {**labels, "probe": probe, "transfer": a},
                {"setting": SETTING, "points": 11},
                {"a": f"{method}/{a}", "b": f"{method}/{b}"},
                {"same_mask": name != "control"},
            )
    return stages


def write(root: Path, stages: Stages) -> Path:
    """Commit stages."""
    keys: dict[str, str] = {}
    for clock, (name, stage) in enumerate(stages.items()):
        text = f"{name}{stage.science}"
        keys[name] = key = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        folder = root / stage_folder(stage.kind, name, key)
        out = folder / "out"
        out.mkdir(parents=True)
        write_files(out, stage)
        record = Record(
            key=key,
            kind=stage.kind,
            name=name,
            labels=Labels(
                **{"dataset": "digits", "architecture": "tiny", "preset": stage.science["setting"]["preset"]}
                | stage.labels
            ),
            science=stage.science,
            inputs={slot: keys[upstream] for slot, upstream in stage.inputs.items()},
            attempt=1,
            files={path.name: Artifact(size_bytes=path.stat().st_size, blake2b="0") for path in out.iterdir()},
            results=stage.results,
            seconds=1.0,
            finished_unix_s=1_700_000_000.0 + clock,
            provenance={"git_commit": "0123456789abcdef"},
        )
        (folder / "record.json").write_text(record.sealed().model_dump_json())
    return root


def write_files(out: Path, stage: Stage) -> None:
    """A stage's files: the rules must skip layers that are not prunable."""
    if stage.mask is not None:
        sign = np.sign(WEIGHTS).astype(np.int8) * stage.mask
        sign[0] = 0  # survives, and has no sign
        layers = {name: sign[layer].tolist() for name, layer in LAYERS.items()} | {"norm": [1, 0]}
        table = {
            "name": [*layers],
            "shape": [[len(sign)] for sign in layers.values()],
            "role": ["prunable", "prunable", "normalization"],
            "sign": pa.array([*layers.values()], pa.list_(pa.int8())),
            "surviving_zeros": pa.array([[0] if stage.mask[0] else [], [], [1]], pa.list_(pa.int64())),
        }
        pq.write_table(pa.table(table), out / "ticket.parquet")
    if stage.weights is not None:
        tensors = {name: stage.weights[layer].copy() for name, layer in LAYERS.items()}
        tensors["conv"] = tensors["conv"].reshape(5, 2)
        save_file(tensors | {"norm": np.ones(2, np.float32)}, out / "weights.safetensors")
        rows = [(1, "train"), (2, "train"), (3, "train"), *((epoch, "test") for epoch in stage.reads)]
        metrics = pd.DataFrame(rows, columns=["epoch", "split"]).assign(
            loss_nats=1.0, accuracy_percent=50.0, images=10, learning_rate=0.1
        )
        pq.write_table(pa.Table.from_pandas(metrics, preserve_index=False), out / "metrics.parquet")


@pytest.fixture
def stages() -> Stages:
    return method_stages()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def look(root: Path | str, **options: Any) -> dict[str, dict[str, Any]]:
    """Return the checks' rows by a part of their rule's text."""
    results = checks(Store(root), load(root, tickets=False), **options).to_dict("records")
    return {words: next(row for row in results if words in row["rule"]) for words in RULES}


def broken(root: Path) -> dict[str, str]:
    """Return the detail of each broken rule."""
    return {words: row["detail"] for words, row in look(root).items() if row["verdict"] == "broken"}


def test_every_rule_holds_and_reports_its_count(stages: Stages, tmp_path: Path) -> None:
    results = look(write(tmp_path / "s", stages))
    assert {words: (row["verdict"], row["counted"]) for words, row in results.items()} == {
        DENSITIES: ("holds", 8),
        NESTED: ("holds", 6),
        MAGNITUDES: ("holds", 6),
        ALIVE: ("holds", 16),  # 3 rounds and 5 solutions of each method
        MASKS: ("holds", 4),
        STABILITY: ("holds", 2),
        INITIALISATION: ("holds", 1),
        TEST_SET: ("holds", 19),
        AWS: ("holds", 25),
        RECIPE: ("holds", 25),
        ARTIFACTS: ("holds", 25),
    }
    other = "a shuffled or permuted mask, or another round's, is not its ticket's"
    assert results[MASKS]["detail"] == f"2 not checked: {other}"
    assert results[RECIPE]["detail"] == "made by 0123456789ab (25 stages)"
    assert results[ALIVE]["detail"] == ""


def under_a_mask_rule(stages: Stages) -> list[Stage]:
    """Train every solution under a mask rule, so that no two of them have one mask; return the solutions."""
    solutions = [stage for stage in stages.values() if stage.kind == "train" and "ticket" in stage.inputs]
    for stage in solutions:
        stage.weights = WEIGHTS
        rules = {"warm_up": None, "mask_rule": {"name": "set"}}
        stage.science = {**stage.science, "training": {**stage.science.get("training", {}), "rules": rules}}
    return solutions


def test_a_solution_whose_mask_a_rule_changes_is_not_held_against_its_tickets_mask(
    stages: Stages, tmp_path: Path
) -> None:
    solutions = under_a_mask_rule(stages)
    pairs = [stages[f"{method}/{name}"] for method in METHODS for name in ("lmc", "stability")]
    for probe in pairs:
        probe.results = {"same_mask": False}
    rows = look(write(tmp_path / "s", stages))
    moves = "not checked: a mask rule changes the mask in training"
    assert (rows[ALIVE]["verdict"], rows[ALIVE]["counted"]) == ("holds", 6)
    assert rows[ALIVE]["detail"] == f"{len(solutions)} {moves}"
    assert (rows[MASKS]["verdict"], rows[MASKS]["counted"]) == ("not checked", 0)
    assert f"{len(pairs)} {moves}" in rows[MASKS]["detail"]


def test_pairs_of_two_tickets_break_the_rule_under_a_mask_rule_too(stages: Stages, tmp_path: Path) -> None:
    under_a_mask_rule(stages)
    stages["aws/twin"].inputs = {"ticket": "aws/round2"}
    assert "its ends come from two tickets" in broken(write(tmp_path / "s", stages))[MASKS]


Break = Callable[[Stages], None]


def change(name: str, **fields: Any) -> Break:
    """Give a stage other fields; dicts are updated."""

    def apply(stages: Stages) -> None:
        old = {key: getattr(stages[name], key) for key in fields}
        new = {key: {**old[key], **value} if isinstance(value, dict) else value for key, value in fields.items()}
        stages[name] = replace(stages[name], **new)

    return apply


def everywhere(kind: str, **science: Any) -> Break:
    """All stages of a kind say more; one alone would be a recipe of its own, and superseded."""

    def apply(stages: Stages) -> None:
        for name, stage in stages.items():
            if stage.kind == kind:
                change(name, science=science)(stages)

    return apply


def with_mask(*magnitudes: int, chosen: str = "aws") -> Break:
    """The last round of a method keeps these weights."""

    def apply(stages: Stages) -> None:
        mask = np.isin(np.abs(WEIGHTS), magnitudes)
        change(f"{chosen}/round3", mask=mask, weights=WEIGHTS * mask, results={"density": mask.sum() / 16})(stages)
        for name in ("retrain", "signed", "mask", "twin"):
            change(f"{chosen}/{name}", weights=WEIGHTS * mask)(stages)
        empty = np.zeros_like(WEIGHTS)
        change(f"{chosen}/shuffled", weights=empty)(stages)

    return apply


def weight(name: str, magnitude: int, value: float) -> Break:
    """One weight of a stage is another."""

    def apply(stages: Stages) -> None:
        weights = stages[name].weights
        assert weights is not None
        change(name, weights=np.where(np.abs(WEIGHTS) == magnitude, np.float32(value), weights))(stages)

    return apply


@pytest.mark.parametrize(
    ("words", "apply", "said"),
    [
        (DENSITIES, with_mask(16, 15, 14, 13, 12, 11, 10), "aws/round3: 7 of 16 weights survive instead of 6"),
        (DENSITIES, with_mask(16, 15, 14, 13, 12, chosen="lrr"), "lrr/round3: 5 of 16 weights survive instead of 6"),
        (DENSITIES, change("aws/round0", mask=largest(15)), "aws/round0: 15 of 16 weights survive instead of 16"),
        (
            DENSITIES,
            change("aws/round2", results={"density": 0.5}),
            "aws/round2: 9 of 16 weights survive, but its record",
        ),
        (NESTED, with_mask(16, 15, 14, 13, 12, 5), "aws/round3: 1 pruned weight grew back"),
        (MAGNITUDES, with_mask(16, 15, 14, 13, 12, 10), "aws/round3: 1 pruned weight exceeded a surviving weight"),
        (ALIVE, weight("aws/signed", 1, 1e-30), "aws/signed: 1 pruned weight alive"),
        (ALIVE, weight("lrr/twin", 10, float("nan")), "lrr/twin: 1 pruned weight alive"),
        (ALIVE, weight("aws/round3", 9, -0.5), "aws/round3: 1 pruned weight alive"),
        (ALIVE, change("lrr/shuffled", weights=WEIGHTS), "lrr/shuffled: 10 pruned weights alive"),
        (MASKS, change("aws/lmc", results={"same_mask": False}), "aws/lmc: the probe found two masks"),
        (MASKS, change("lrr/lmc", inputs={"b": "aws/retrain"}), "lrr/lmc: its ends come from two tickets"),
        (STABILITY, change("aws/twin", science={"sgd_seed": 6}), "aws/stability: both ends have the same SGD seed"),
        (STABILITY, change("lrr/twin", science={"init_seed": 1}), "lrr/stability: its ends differ in init_seed too"),
        (INITIALISATION, change("lrr/round0", science={"init_seed": 1}), "aws/round0 and lrr/round0: two init"),
        (INITIALISATION, change("lrr/round0", results={"init_blake2b": "00"}), "one seed but two initialisations"),
        (TEST_SET, change("aws/mask", reads=(2, 3)), "aws/mask: reads the test set after epoch 2 of 3"),
        (TEST_SET, change("lrr/round1", reads=(3,)), "lrr/round1: reads the test set but is no final training"),
        (AWS, everywhere("train", alpha={"name": "uniform"}), "dense: has alpha; aws/retrain: has alpha"),
        (AWS, everywhere("probe", method="aws"), "aws/lmc: has method; aws/stability: has method"),
        (AWS, change("lrr/round3", science={"method": "aws"}), "lrr/round3: is called lrr but was trained as aws"),
    ],
)
def test_a_broken_rule_is_named_with_its_stage_and_no_other(
    stages: Stages, tmp_path: Path, words: str, apply: Break, said: str
) -> None:
    apply(stages)
    details = broken(write(tmp_path / "s", stages))
    assert [*details] == [words]
    assert said in details[words]


def test_a_mask_that_grows_back_is_reported_whatever_its_count(stages: Stages, tmp_path: Path) -> None:
    change("aws/round2", mask=largest(16), weights=WEIGHTS)(stages)
    details = broken(write(tmp_path / "s", stages))
    assert "aws/round2: 4 pruned weights grew back" in details[NESTED]
    assert "aws/round2: 16 of 16 weights survive instead of 9" in details[DENSITIES]


def test_rounds_and_solutions_of_different_settings_break_the_one_recipe_rule(stages: Stages, tmp_path: Path) -> None:
    everywhere("round", setting={**SETTING, "precision": "bfloat16"})(stages)
    details = broken(write(tmp_path / "s", stages))
    assert [*details] == [RECIPE]
    assert details[RECIPE].startswith("aws/round1: has another precision than the others; aws/round2: ")
    assert "and 3 more" in details[RECIPE]


def test_superseded_results_are_checked_only_when_drawn(stages: Stages, tmp_path: Path) -> None:
    old = replace(stages["dense"], science={**stages["dense"].science, "training": {"epochs": 1, "batch_size": 8}})
    root = write(tmp_path / "s", {"old": replace(old, reads=(1, 2)), **stages})
    assert not broken(root)
    frames = load(root, tickets=False)
    drawn = replace(
        frames, stages=frames.stages.assign(superseded=False), metrics=frames.metrics.assign(superseded=False)
    )
    violations = checks(Store(root), drawn).query("verdict == 'broken'")
    assert [detail.partition(";")[0] for detail in violations["detail"]] == [
        "old: reads the test set after epoch 1, 2 of 3",
        "old: has another training than the others",
    ]


def test_reference_may_watch_the_test_set(stages: Stages, tmp_path: Path) -> None:
    for kind in ("train", "pretrain", "round", "probe"):
        everywhere(kind, setting={**SETTING, "preset": "reference"})(stages)
    change("aws/mask", reads=(1, 2, 3))(stages)
    row = look(write(tmp_path / "s", stages))[TEST_SET]
    assert (row["verdict"], row["counted"]) == ("not checked", 0)
    assert "no result has the preset sound" in row["detail"]


def test_artifacts_cut_short_or_unreadable_are_named(stages: Stages, tmp_path: Path) -> None:
    root = write(tmp_path / "s", stages)
    ticket = file_of(root, "lrr/round3", "ticket.parquet")
    ticket.write_bytes(b"x" * ticket.stat().st_size)
    weights = file_of(root, "aws/signed", "weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    results = look(root)
    assert [words for words in RULES if results[words]["verdict"] == "broken"] == [ARTIFACTS]
    assert "aws/signed: weights.safetensors is missing or cut short" in results[ARTIFACTS]["detail"]
    assert "lrr/round3: ticket.parquet cannot be read" in results[ARTIFACTS]["detail"]
    assert results[ALIVE]["counted"] == 16 - 1 - 6  # one cut short; a round and five solutions without their mask
    assert results[ALIVE]["detail"] == "7 not checked: a file cannot be read"


def test_weights_that_gc_removed_are_counted_as_not_checked(stages: Stages, tmp_path: Path) -> None:
    root = write(tmp_path / "s", stages)
    for name in ("aws/round1", "aws/signed"):
        weights = file_of(root, name, "weights.safetensors")
        weights.with_name("weights.safetensors.collected").touch()
        weights.unlink()
    results = look(root)
    assert not any(row["verdict"] == "broken" for row in results.values())
    assert (results[ALIVE]["counted"], results[ALIVE]["detail"]) == (
        14,
        "2 not checked: weights removed by orchestrator.gc",
    )
    assert (results[MAGNITUDES]["counted"], results[NESTED]["counted"]) == (5, 6)


def test_a_mask_whose_round_is_gone_is_not_checked(stages: Stages, tmp_path: Path) -> None:
    root = write(tmp_path / "s", stages)
    (file_of(root, "aws/round3", "ticket.parquet").parents[1] / "record.json").unlink()
    row = look(root)[ALIVE]
    assert (row["counted"], row["detail"]) == (
        10,
        "5 not checked: the store no longer has their input stage",
    )


def test_in_a_bucket_tickets_are_checked_and_weights_are_not(stages: Stages, tmp_path: Path, s3: str) -> None:
    with_mask(16, 15, 14, 13, 12, 5)(stages)
    root, url = write(tmp_path / "s", stages), f"{s3}/checks"
    bucket = Store(url).storage
    for path in root.rglob("*.*"):
        bucket.upload(path, path.relative_to(root).as_posix())
    results = look(url)
    assert (results[DENSITIES]["verdict"], results[DENSITIES]["counted"]) == ("holds", 8)
    assert results[NESTED]["detail"] == "aws/round3: 1 pruned weight grew back"
    assert (results[ALIVE]["verdict"], results[ALIVE]["detail"]) == (
        "not checked",
        "16 not checked: weights lie in a bucket",
    )


def test_counts_are_cached_until_the_file_changes(stages: Stages, tmp_path: Path) -> None:
    root = write(tmp_path / "s", stages)
    assert not broken(root)
    weights = file_of(root, "aws/signed", "weights.safetensors")
    before = weights.stat()
    weights.write_bytes(file_of(root, "dense", "weights.safetensors").read_bytes())  # dense, and as long
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not broken(root)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert broken(root) == {ALIVE: "aws/signed: 10 pruned weights alive"}


@pytest.mark.parametrize("damage", [lambda text: text.replace('"alive": 10', '"alive": 0'), lambda text: text[:50]])
def test_a_damaged_cache_file_is_ignored(
    stages: Stages, tmp_path: Path, cache: Path, damage: Callable[[str], str]
) -> None:
    change("aws/signed", weights=WEIGHTS)(stages)
    root = write(tmp_path / "s", stages)
    assert [*broken(root)] == [ALIVE]
    counts = [path for path in cache.rglob("*.json") if '"alive": 10' in path.read_text()]
    assert len(counts) == 1
    for path in cache.rglob("*.json"):
        path.write_text(damage(path.read_text()))
    assert broken(root) == {ALIVE: "aws/signed: 10 pruned weights alive"}


def test_after_the_deadline_only_cached_counts_are_used(stages: Stages, tmp_path: Path) -> None:
    root = write(tmp_path / "s", stages)
    row = look(root, deadline_s=0)[ALIVE]
    assert (row["verdict"], row["counted"]) == ("not checked", 0)
    assert row["detail"].startswith("16 not checked: out of time")
    look(root)
    assert look(root, deadline_s=0)[ALIVE]["counted"] == 16


def test_a_store_without_pruned_rounds_leaves_the_mask_rules_unchecked(stages: Stages, tmp_path: Path) -> None:
    results = look(write(tmp_path / "s", {"dense": stages["dense"]}))
    assert (results[NESTED]["verdict"], results[NESTED]["detail"]) == (
        "not checked",
        "the store has nothing of this kind yet",
    )
    assert results[TEST_SET]["verdict"] == "holds"


def test_the_command_prints_the_checklist(stages: Stages, tmp_path: Path) -> None:
    root = write(tmp_path / "s", stages)
    result = CliRunner().invoke(app, [str(root), "--json"])
    assert result.exit_code == 0
    assert {row["verdict"] for row in json.loads(result.stdout)["checks"]} == {"holds"}
    weights = file_of(root, "aws/signed", "weights.safetensors")
    weights.write_bytes(file_of(root, "dense", "weights.safetensors").read_bytes())
    result = CliRunner().invoke(app, [str(root)], env={"COLUMNS": "300"})
    assert result.exit_code == 1
    assert "aws/signed: 10 pruned weights alive" in result.stdout


def file_of(root: Path, name: str, file: str) -> Path:
    """An artifact of a stage."""
    store = Store(root)
    [record] = [record for record in store.records().values() if record.name == name]
    return root / store.out(record.key) / file
