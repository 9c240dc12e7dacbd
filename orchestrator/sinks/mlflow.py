"""MLflow: an experiment for each section, a parent run for each round of a chain, and a child run for each stage."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from orchestrator.sinks.base import Sink, SinkError
from orchestrator.sinks.run import Run

KEY, GROUP, STORE = "winning_sign.key", "winning_sign.group", "winning_sign.store"
PREFIX = "winning-sign/"
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # it reports usage to its makers otherwise
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it prints two lines a run otherwise
    # the next export tries again: by MLflow's own 7 retries, a lost server holds up the end of a sweep for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""MLflow's settings, where the user's environment has none."""
MOST_LETTERS = 6000  # of a parameter
MOST_PARAMETERS, MOST_METRICS = 100, 1000  # of a request


class MlflowSink(Sink):
    """Writes runs to a tracking server or a database in a file; by default to the place that MLflow itself takes."""

    packages = ("mlflow", "sqlalchemy", "alembic")
    default_place = None

    @staticmethod
    def check(place: str) -> None:
        if not _is_place(place):
            raise SinkError(
                "mlflow: expected http(s)://HOST:PORT of a tracking server, or sqlite:///FILE.db, without a user, a "
                "password or a query; these belong in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, and any "
                "other place in MLFLOW_TRACKING_URI"
            )

    def __init__(self, place: str | None) -> None:
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        self._client = MlflowClient(place)
        self._experiments: dict[str, str] = {
            experiment.name: experiment.experiment_id
            for experiment in self._pages(self._client.search_experiments, filter_string=f"name LIKE '{PREFIX}%'")
        }
        self._parents: dict[tuple[str, str], str] = {}  # runs by experiment and group
        self._unfinished: dict[str, list[str]] = {}  # runs by key
        self._logged: set[str] = set()
        for number in self._experiments.values():
            for run in self._pages(self._client.search_runs, [number]):
                tags, run_id = run.data.tags, run.info.run_id
                if GROUP in tags and KEY not in tags:
                    self._parents[number, tags[GROUP]] = run_id
                elif KEY in tags and run.info.status == "FINISHED":
                    self._logged.add(tags[KEY])
                elif KEY in tags:
                    self._unfinished.setdefault(tags[KEY], []).append(run_id)

    def logged(self) -> set[str]:
        return self._logged

    def write(self, run: Run) -> None:
        from mlflow.entities import Metric, Param

        for run_id in self._unfinished.pop(run.key, ()):
            self._client.delete_run(run_id)
        experiment = self._experiment(run.section)
        tags = {
            KEY: run.key,
            GROUP: run.group,
            STORE: run.link,
            "mlflow.parentRunId": self._parent(experiment, run),
            "mlflow.note.content": f"Stage {run.name}\n\n{run.link}",
        }
        run_id = self._start(experiment, run, run.name, tags)
        parameters = [Param(name, _cut(str(value))) for name, value in run.parameters.items()]
        for some in _parts(parameters, MOST_PARAMETERS):
            self._client.log_batch(run_id, params=some)
        metrics = [
            *(
                Metric(name, value, _milliseconds(epoch.ended_unix_s), epoch.number)
                for epoch in run.epochs
                for name, value in epoch.metrics.items()
            ),
            *(
                Metric(name, value, _milliseconds(run.finished_unix_s), run.last_epoch)
                for name, value in run.results.items()
            ),
        ]
        for some in _parts(metrics, MOST_METRICS):
            self._client.log_batch(run_id, metrics=some)
        self._client.set_terminated(run_id, "FINISHED", _milliseconds(run.finished_unix_s))

    def _experiment(self, section: str) -> str:
        name = f"{PREFIX}{section}"
        if name not in self._experiments:
            self._experiments[name] = self._client.create_experiment(name)
        return self._experiments[name]

    def _parent(self, experiment: str, run: Run) -> str:
        if (experiment, run.group) not in self._parents:
            run_id = self._start(experiment, run, run.group, {GROUP: run.group})
            self._client.set_terminated(run_id, "FINISHED", _milliseconds(run.finished_unix_s))
            self._parents[experiment, run.group] = run_id
        return self._parents[experiment, run.group]

    def _start(self, experiment: str, run: Run, name: str, tags: dict[str, str]) -> str:
        created = self._client.create_run(experiment, _milliseconds(run.started_unix_s), tags, name)
        return str(created.info.run_id)

    @staticmethod
    def _pages(search: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        """All results of a search that returns pages."""
        token: str | None = ""
        while token is not None:
            page = search(*arguments, page_token=token or None, **options)
            yield from page
            token = page.token or None


def _is_place(text: str) -> bool:
    """Whether a command line may hold this address: plans and leases keep it, so it must hold no secret."""
    try:
        parts = urlsplit(text)
        server = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket or a port that is none
        return False
    file = parts.scheme == "sqlite" and not parts.netloc and len(parts.path) > 1
    return (server or file) and "@" not in parts.netloc and not parts.query


def _parts(items: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + most] for start in range(0, len(items), most))


def _milliseconds(unix_s: float) -> int:
    return int(unix_s * 1000)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"
