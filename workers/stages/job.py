"""A stage with its inputs as a file: what a driver hands to a worker, and what a person runs alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from tickets.files.reading import parse_json, read_regular
from workers.stages import STAGE_KINDS, Stage, from_science, to_science


class _Places(BaseModel):
    """What of a ``stage.json`` becomes a path: it may come from a stranger's store, and must not lead out of it."""

    key: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    inputs: dict[str, Annotated[str, Field(pattern=r"^stages(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+$")]]


class JobError(ValueError):
    """A job file that cannot be read."""


@dataclass(frozen=True)
class Job:
    """A stage to compute.

    Attributes:
        inputs: ``out/`` folder of each upstream stage, relative to the store's root, by input name.
    """

    key: str
    name: str
    stage: Stage
    inputs: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The content of ``stage.json``."""
        return {
            "key": self.key,
            "name": self.name,
            "kind": self.stage.kind,
            "science": to_science(self.stage),
            "inputs": dict(self.inputs),
        }


def parse_job(content: Mapping[str, Any]) -> Job:
    """Parse the content of a ``stage.json``.

    Raises:
        JobError: the content describes no stage of this version.
    """
    try:
        stage = from_science(STAGE_KINDS[content["kind"]], content["science"])
        return Job(content["key"], content["name"], stage, content["inputs"])
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        raise JobError(f"not a stage of this version ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing or unknown"
    return next(iter(str(error).splitlines()), type(error).__name__)


def read_job(path: Path) -> Job:
    """Read a ``stage.json``.

    Raises:
        JobError: the file is missing, is not JSON, or describes no stage of this version.
    """
    try:
        content = parse_json(read_regular(path))
        job = parse_job(content)
        _Places.model_validate(content)
        return job
    except OSError as error:
        raise JobError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise JobError(f"{path}: its key or an input leads out of the store; give the stage.json of a sweep") from error
    except ValueError as error:
        reason = error if isinstance(error, JobError) else "not JSON"
        raise JobError(f"{path}: {reason}; give the stage.json of a stage in a store") from error
