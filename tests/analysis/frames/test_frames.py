"""Frames hold what the records and Parquet files say, with labels as columns."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import load
from analysis.frames.columns import LABELS
from orchestrator.store import StoreError

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore


def test_stages_hold_labels_results_and_provenance(store: SyntheticStore) -> None:
    key = store.train("signed", 61.5, method="aws", chain=1, round=10, seed=2)
    [row] = load(store.root).stages.to_dict("records")
    assert row["key"] == key
    assert (row["dataset"], row["method"], row["chain"], row["round"], row["seed"]) == ("digits", "aws", 1, 10, 2)
    assert row["density"] == pytest.approx(0.8**10)
    assert (row["test_accuracy_percent"], row["seconds"]) == (61.5, 2.5)
    assert (row["git_commit"], row["device"]) == ("abc123", "cpu")
    assert pd.isna(row["barrier_points"])
    assert row["finished"].tzname() == "UTC"
    assert (store.root / row["folder"] / "record.json").is_file()


def test_results_without_a_column_of_their_own_are_kept(store: SyntheticStore) -> None:
    store.stage("pretrain", {"method": "aws", "chain": 1, "round": 0}, {"density": 1.0, "init_blake2b": "ff"})
    assert load(store.root).stages.loc[0, "init_blake2b"] == "ff"


def test_metrics_have_a_row_per_epoch_and_split(store: SyntheticStore) -> None:
    store.train("dense", 70.0, seed=1)
    store.train("dense", 80.0, seed=2)
    frame = load(store.root).metrics
    assert len(frame) == 6
    tests = frame[frame["split"] == "test"].set_index("seed")["accuracy_percent"]
    assert tests.to_dict() == {1: 70.0, 2: 80.0}
    assert frame["images_per_second"].tolist() == [100.0, 200.0, 200.0] * 2


def test_probes_have_a_row_per_lambda_with_the_barrier(store: SyntheticStore) -> None:
    store.probe("lmc", "signed", (30.0, 36.0, 32.0), method="lrr", chain=1, round=5, seed=1)
    frame = load(store.root).probes
    assert list(frame["lambda"]) == [0.0, 0.5, 1.0]
    assert list(frame["error_percent"]) == [30.0, 36.0, 32.0]
    assert list(frame["barrier_points"]) == [5.0] * 3
    assert list(frame["same_mask"]) == [True] * 3
    assert frame["density"].tolist() == pytest.approx([0.8**5] * 3)


def test_a_probe_of_two_densities_has_that_of_its_second_network(store: SyntheticStore) -> None:
    """Such as a retrain of round 3 (lambda 0), and a start under the mask of round 1 (lambda 1)."""
    labels = {"method": "aws", "chain": 1, "round": 3, "seed": 1}
    retrain = store.stage("train", {**labels, "transfer": "retrain"}, {"density": 0.8**3})
    start = store.stage("train", {**labels, "transfer": "mask_of_round_1"}, {"density": 0.8})
    both = {"a": start, "b": retrain}
    probe = store.stage("pair_probe", {**labels, "probe": "lmc", "transfer": "mask_of_round_1"}, {}, inputs=both)
    stages = load(store.root).stages.set_index("key")
    assert stages.loc[probe, "density"] == pytest.approx(0.8)


def test_a_probe_without_density_has_that_of_its_input(store: SyntheticStore) -> None:
    up = store.train("signed", 60.0, method="aws", chain=1, round=3, seed=1)
    labels = {"method": "aws", "chain": 1, "round": 3, "seed": 1, "transfer": "signed", "probe": "lmc"}
    store.stage("probe", labels, {"barrier_points": 1.0}, inputs={"a": up})
    stages = load(store.root).stages
    assert stages["density"].tolist() == pytest.approx([0.8**3] * 2)


def test_tickets_count_signs_and_surviving_zeros(store: SyntheticStore) -> None:
    table = store.ticket({"conv": [1, 0, -1, 1, 0], "empty": [], "head": [0, -1]}, zeros={"conv": [4]})
    store.stage("round", {"method": "aws", "chain": 1, "round": 1}, {"density": 0.8}, files={"ticket.parquet": table})
    frame = load(store.root).tickets.set_index("tensor")
    assert frame.loc["conv", ["weights", "surviving", "positive", "negative"]].tolist() == [5, 4, 2, 1]
    assert frame.loc["conv", "density"] == pytest.approx(0.8)
    assert frame.loc["head", ["weights", "surviving", "positive", "negative"]].tolist() == [2, 1, 0, 1]
    assert frame.loc["empty", "weights"] == 0
    assert (frame["round"] == 1).all()
    assert load(store.root, tickets=False).tickets.empty


def test_missing_and_failed_are_told_apart(sweep: SyntheticStore) -> None:
    sweep.plan(("digits/late", "a" * 32), ("digits/bad", "b" * 32))
    sweep.failure("digits/bad", "b" * 32, "loss is not finite")
    frames = load(sweep.root)
    assert frames.missing.set_index("name")["failed"].to_dict() == {"digits/late": False, "digits/bad": True}
    assert frames.planned == len(frames.stages) + 2
    assert frames.failures["message"].tolist() == ["loss is not finite"]


def test_an_empty_store_gives_empty_frames_with_columns(store: SyntheticStore) -> None:
    store.root.mkdir()
    frames = load(store.root)
    for frame in (frames.stages, frames.metrics, frames.probes, frames.tickets, frames.missing):
        assert frame.empty
        assert set(LABELS) <= set(frame.columns)
    assert {"epoch", "split", "accuracy_percent"} <= set(frames.metrics.columns)
    assert {"lambda", "error_percent", "barrier_points", "density"} <= set(frames.probes.columns)
    assert {"tensor", "surviving", "density"} <= set(frames.tickets.columns)
    assert list(frames.packages.columns) == ["key", "package", "version"]


def test_a_damaged_file_is_named(store: SyntheticStore) -> None:
    store.stage("train", {"transfer": "dense", "seed": 1}, {}, files={"metrics.parquet": store.metrics(70.0)})
    next(store.root.glob("stages/*/*/out/metrics.parquet")).write_bytes(b"PAR1 torn")
    with pytest.raises(StoreError, match=r"metrics\.parquet"):
        load(store.root)


def test_a_file_that_has_a_row_twice_is_named(store: SyntheticStore) -> None:
    labels = {"method": "aws", "chain": 1, "round": 1, "seed": 1}
    store.train("signed", 70.0, **labels)
    store.probe("lmc", "signed", (30.0, 40.0, 30.0), **labels)
    for file, of in (("probe", "lambda"), ("barrier", "result"), ("metrics", "epoch and split"), ("timing", "epoch")):
        path = next(store.root.glob(f"stages/*/*/out/{file}.parquet"))
        sound, table = path.read_bytes(), pq.read_table(path)
        pq.write_table(pa.concat_tables([table, table[:1]]), path)
        with pytest.raises(StoreError, match=rf"{file}\.parquet has two rows of one {of}$"):
            load(store.root)
        assert load(store.root, leave_out=True).left_out.keys() == {str(path)}
        path.write_bytes(sound)


def test_a_new_recipe_supersedes_the_old_and_all_that_came_of_it(store: SyntheticStore) -> None:
    chain = {"method": "aws", "chain": 1}
    for epochs in (1, 2):
        up = store.stage("pretrain", {**chain, "round": 0}, {"density": 1.0}, science={"epochs": epochs})
        labels = {**chain, "round": 1, "seed": epochs, "transfer": "mask"}
        store.stage("train", labels, {"test_accuracy_percent": 50.0}, inputs={"ticket": up})
    stages = load(store.root).stages
    assert stages["superseded"].tolist() == [True, True, False, False]


@pytest.mark.parametrize(("only", "others"), [({"method": "aws"}, "lrr"), ({"transfer": "signed"}, "mask")])
def test_methods_and_transfers_are_compared_under_one_recipe_only(
    store: SyntheticStore, only: dict[str, str], others: str
) -> None:
    (name,) = only
    base = {"method": "aws", "transfer": "signed", "chain": 1, "round": 1, "seed": 1}
    for value, epochs in ((only[name], 10), (others, 10), (only[name], 30)):  # the second sweep covers one of them
        store.stage("train", {**base, name: value}, {"test_accuracy_percent": 50.0}, science={"epochs": epochs})
    assert load(store.root).stages["superseded"].tolist() == [True, True, False]


@pytest.mark.parametrize("start", ["dense_same_budget", "round_end"])
def test_a_start_with_epochs_of_its_own_supersedes_no_final_training(store: SyntheticStore, start: str) -> None:
    for transfer, epochs in (("dense", 10), (start, 100), ("signed", 10)):
        store.stage("train", {"transfer": transfer}, {"test_accuracy_percent": 50.0}, science={"epochs": epochs})
    assert load(store.root).stages["superseded"].tolist() == [False, False, False]


def test_seeds_are_no_recipe_but_one_label_counts_once(store: SyntheticStore) -> None:
    for seed, init_seed in ((1, 11), (2, 12), (2, 13)):
        store.stage("train", {"transfer": "dense", "seed": seed}, {}, science={"epochs": 3, "init_seed": init_seed})
    assert load(store.root).stages["superseded"].tolist() == [False, True, False]


def test_the_distribution_of_alpha_is_no_recipe_that_lrr_could_share(store: SyntheticStore) -> None:
    for method, alpha in (("aws", {"kind": "beta"}), ("lrr", {"kind": "uniform"})):
        store.stage("round", {"method": method, "chain": 1, "round": 1}, {}, science={"epochs": 3, "alpha": alpha})
    assert load(store.root).stages["superseded"].tolist() == [False, False]


def test_a_dense_training_has_no_mask_rule_and_supersedes_no_training_of_a_ticket(store: SyntheticStore) -> None:
    for transfer, epochs, rule in (("signed", 3, "set"), ("dense", 3, None), ("signed", 3, None), ("dense", 4, None)):
        training = {"epochs": epochs, "rules": {"warm_up": None, "mask_rule": rule and {"name": rule}}}
        store.stage("train", {"transfer": transfer}, {}, science={"training": training})
        if transfer == "dense" and epochs == 3:
            assert load(store.root).stages["superseded"].tolist() == [False, False]
    # the third has another mask rule, and the fourth another number of epochs
    assert load(store.root).stages["superseded"].tolist() == [True, True, True, False]


def test_a_start_whose_training_begins_later_supersedes_its_own_trainings_alone(store: SyntheticStore) -> None:
    for transfer, more in (("signed", {}), ("mask", {"first_epoch": 2}), ("mask", {"first_epoch": 0}), ("dense", {})):
        store.stage("train", {"transfer": transfer}, {}, science={"training": {"epochs": 3, **more}})
    assert load(store.root).stages["superseded"].tolist() == [False, True, False, False]


def test_the_beginning_of_a_dense_training_supersedes_no_final_training(store: SyntheticStore) -> None:
    whole = {"epochs": 3, "stop_after": None}
    store.stage("train", {"transfer": "dense"}, {}, science={"training": whole})
    begun = {"training": {**whole, "stop_after": 1}, "read_test_set": False}
    start = store.stage("train", {"seed": 1}, {}, science=begun, name="digits/dense/seed1/epoch001")
    labels = {"method": "lrr", "chain": 1, "round": 1, "transfer": "mine", "seed": 1}
    store.stage("train", labels, {}, science={"training": whole}, inputs={"dense_1": start})
    assert load(store.root).stages["superseded"].tolist() == [False, False, False]


def test_a_record_that_lacks_a_younger_field_is_of_the_recipe_without_a_value_of_it(store: SyntheticStore) -> None:
    rules = {"warm_up": None, "mask_rule": None}
    optimizer = {"name": "sgd", "options": {}, "version": None}
    for chain, more in ((1, {}), (2, {"rules": rules})):
        training = {"epochs": 3, "optimizer": optimizer if more else {"name": "sgd"}, **more}
        store.stage("round", {"method": "aws", "chain": chain, "round": 1}, {}, science={"training": training})
    assert load(store.root).stages["superseded"].tolist() == [False, False]


def test_importing_loads_neither_torch_nor_ray() -> None:
    code = "import sys, analysis.report; print([m for m in ('torch', 'ray') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_barrier_above_the_chord_comes_from_the_curve_of_any_probe(store: SyntheticStore) -> None:
    store.probe("lmc", "signed", (10.0, 40.0, 50.0), method="aws", chain=1, round=1, seed=1)  # its record has none
    frames = load(store.root)
    [probe] = frames.stages.to_dict("records")
    assert probe["barrier_points"] == pytest.approx(50 - 30)
    assert probe["barrier_above_chord_points"] == pytest.approx(40 - 30)
    assert set(frames.probes["barrier_above_chord_points"]) == {probe["barrier_above_chord_points"]}
