"""What each tool reads of a store: groups, steps, parameters, results, times and the link; once for each stage."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator import export
from orchestrator.sinks import destination
from orchestrator.store import Store
from tests.orchestrator.sinks.finished_stages import CHAIN, FINISHED_UNIX_S, SEED, commit, key
from tests.orchestrator.sinks.mlflow_server import tracking_server
from tests.orchestrator.sinks.wandb_files import OfflineRun, read_offline_run
from tests.orchestrator.store.stores import invoke

pytestmark = pytest.mark.slow(seconds=40)  # MLflow writes its tables


def exported(store: Store, to: str, written: int, there: int = 0) -> None:
    code, output = invoke(export.app, store.root, "--to", to)
    assert code == 0, output
    assert f"{written} stages written, {there} were there already." in output


class TestTensorBoard:
    def read(self, name: str) -> Any:
        accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
        return accumulators.EventAccumulator(f"runs/{name}").Reload()

    def test_a_run_has_the_stages_name_epochs_results_parameters_and_link(self, store: Store) -> None:
        pytest.importorskip("tensorboard")
        exported(store, "tensorboard", 4)
        run = self.read("mnist1d/net/aws/chain2/round07/signed/seed1-bbbbbbbb")
        accuracies = [(event.step, event.value) for event in run.Scalars("validation/accuracy_percent")]
        assert accuracies == [(1, 10.0), (2, 20.0)]
        times = [event.wall_time for event in run.Scalars("train/loss_nats")]
        assert times == [FINISHED_UNIX_S - 3, FINISHED_UNIX_S]
        assert [event.value for event in run.Scalars("learning_rate")] == pytest.approx([0.1, 0.05])
        assert [(event.step, event.value) for event in run.Scalars("results/density")] == [(2, 0.5)]
        link = f"{store.root}/{store.folder(key('b'))}"
        assert link in run.Tensors("stage/text_summary")[0].tensor_proto.string_val[0].decode()
        content = run.summary_metadata["_hparams_/session_start_info"].plugin_data.content
        assert b"training.optimizer.learning_rate" in content
        assert str(SEED).encode() in content
        probe = self.read("mnist1d/net/aws/chain2/round07/signed/lmc/seed1-dddddddd")
        assert [event.value for event in probe.Scalars("results/barrier_points")] == [7.5]

    def test_a_stage_is_written_once_and_an_unfinished_one_again(self, store: Store) -> None:
        pytest.importorskip("tensorboard")
        exported(store, "tensorboard:logs", 4)
        commit(store, "e", "train", "mnist1d/net/dense/seed2", {**CHAIN, "method": None, "chain": None})
        exported(store, "tensorboard:logs", 1, 4)
        Path("logs/mnist1d/net/dense/seed2-eeeeeeee/stage-key.txt").unlink()
        exported(store, "tensorboard:logs", 1, 4)
        assert len(list(Path("logs").rglob("events.*"))) == 10  # two for each stage

    def test_a_record_cannot_lead_out_of_the_folder(self, store: Store) -> None:
        pytest.importorskip("tensorboard")
        commit(store, "e", "train", "../../../x/../..", {**CHAIN})
        exported(store, "tensorboard:deep/er/logs", 5)
        assert len(list(Path("deep/er/logs").rglob("stage-key.txt"))) == 5


class TestMlflow:
    def test_rounds_are_parents_of_stages_which_have_all_there_is(self, store: Store) -> None:
        pytest.importorskip("mlflow")
        pytest.importorskip("sqlalchemy")
        exported(store, "mlflow:sqlite:///m.db", 4)
        from mlflow import MlflowClient

        client = MlflowClient("sqlite:///m.db")
        experiment = client.get_experiment_by_name("winning-sign/mnist1d/net/sound")
        assert experiment is not None
        runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
        parent, signed = runs["aws/chain2/round07"], runs["mnist1d/net/aws/chain2/round07/signed/seed1"]
        assert len(runs) == 6
        assert signed.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert runs["mnist1d/net/dense/seed1"].data.tags["mlflow.parentRunId"] == runs["dense"].info.run_id
        assert signed.data.tags["winning_sign.store"] == f"{store.root}/{store.folder(key('b'))}"
        assert signed.data.params["training.optimizer.learning_rate"] == "0.1"
        assert signed.data.params["sgd_seed"] == str(SEED)
        assert signed.data.params["labels.transfer"] == "signed"
        assert (signed.info.status, signed.info.end_time) == ("FINISHED", FINISHED_UNIX_S * 1000)
        history = client.get_metric_history(signed.info.run_id, "validation/accuracy_percent")
        assert [(metric.step, metric.value) for metric in history] == [(1, 10.0), (2, 20.0)]
        assert signed.data.metrics["density"] == 0.5
        assert runs["mnist1d/net/aws/chain2/round07/signed/lmc/seed1"].data.metrics["barrier_points"] == 7.5

        client.update_run(signed.info.run_id, "RUNNING")  # as after a kill
        exported(store, "mlflow:sqlite:///m.db", 1, 3)
        assert len(client.search_runs([experiment.experiment_id])) == 6
        exported(store, "mlflow:sqlite:///m.db", 0, 4)

    def test_a_server_gets_the_runs_and_one_that_is_lost_is_one_sentence(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("mlflow")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with tracking_server() as (address, tracking):
            code, output = invoke(export.app, store.root, "--to", f"mlflow:{address}")
            # MLflow itself would print two lines a run
            assert (code, output) == (0, f"mlflow:{address}: 4 stages written, 0 were there already.\n")
            exported(store, f"mlflow:{address}", 0, 4)
        runs = {run["info"]["run_name"]: run for run in tracking.runs.values()}
        signed = runs["mnist1d/net/aws/chain2/round07/signed/seed1"]
        assert len(runs) == 6
        assert {run["info"]["status"] for run in runs.values()} == {"FINISHED"}
        tags = {tag["key"]: tag["value"] for tag in signed["data"]["tags"]}
        assert tags["mlflow.parentRunId"] == runs["aws/chain2/round07"]["info"]["run_id"]
        assert {"key": "labels.transfer", "value": "signed"} in signed["data"]["params"]
        code, output = invoke(export.app, store.root, "--to", f"mlflow:{address}")
        assert (code, output.count("\n")) == (1, 1)
        assert output.startswith(f"Error: mlflow:{address}: MlflowException: ")


class TestWandb:
    def read(self, digit: str) -> OfflineRun:
        import wandb

        wandb.teardown()  # as at a process's end: wandb's own process may still be writing the file
        (path,) = Path("wandb").glob(f"offline-run-*-{key(digit)}/run-*.wandb")
        return read_offline_run(path)

    def test_without_a_login_runs_are_offline_and_have_all_there_is(self, store: Store) -> None:
        pytest.importorskip("wandb")
        exported(store, "wandb:a-project", 4)
        read = self.read("b")
        assert read.finished
        assert (read.run.project, read.run.display_name) == ("a-project", "mnist1d/net/aws/chain2/round07/signed/seed1")
        assert (read.run.run_group, read.run.job_type) == ("mnist1d/net/sound/aws/chain2/round07", "signed")
        assert {"mnist1d", "aws"} <= {*read.run.tags}
        assert (read.config["training.optimizer.learning_rate"], read.config["sgd_seed"]) == (0.1, str(SEED))
        assert read.run.notes == read.config["store"] == f"{store.root}/{store.folder(key('b'))}"
        steps = [(row["epoch"], row["validation/accuracy_percent"], row["_timestamp"]) for row in read.history]
        assert steps == [(1, 10.0, FINISHED_UNIX_S - 3), (2, 20.0, FINISHED_UNIX_S)]
        assert read.summary["density"] == 0.5
        assert self.read("d").summary["barrier_points"] == 7.5
        assert {path.name.partition("-")[0] for path in Path("wandb").glob("*run-*/")} == {"offline"}

    def test_a_stage_is_written_once_and_an_unfinished_one_again(self, store: Store) -> None:
        pytest.importorskip("wandb")
        exported(store, "wandb", 4)
        exported(store, "wandb", 0, 4)
        next(Path("wandb").glob(f"offline-run-*-{key('c')}/winning-sign-logged")).unlink()
        exported(store, "wandb", 1, 3)
        assert self.read("c").finished


def test_a_tool_that_fails_is_one_sentence_and_the_others_go_on(store: Store) -> None:
    pytest.importorskip("tensorboard")
    Path("locked").mkdir()
    Path("locked/mnist1d").touch()  # no folder can be made there
    code, output = invoke(export.app, store.root, "--to", "tensorboard:locked", "--to", "tensorboard:logs")
    assert code == 1
    assert re.match(r"Error: tensorboard:locked: \w+Error: .*locked/mnist1d/net'\n", output)
    assert "tensorboard:logs: 4 stages written" in output


def test_a_damaged_file_is_left_out_and_named(store: Store) -> None:
    pytest.importorskip("tensorboard")
    record = store.committed(key("b"))
    shutil.copy(__file__, Path(store.root) / store.folder(record.key) / record.out / "metrics.parquet")
    code, output = invoke(export.app, store.root, "--to", "tensorboard:logs")
    assert (code, "1 file is left out" in output, "3 stages written" in output) == (0, True, True)


def test_a_tool_that_is_not_installed_names_its_extra(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destination, "find_spec", lambda package: None)
    for tool in destination.SINKS:
        code, output = invoke(export.app, store.root, "--to", tool)
        assert code == 2
        assert "which is not installed: pip install 'winning-sign[" + tool + "]'" in output
