"""A stage with its inputs as a file: what a driver hands to a worker, and what a person runs alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from workers.stages import STAGE_KINDS, Stage


class JobError(ValueError):
    """A job file that cannot be read."""


@dataclass(frozen=True)
class Job:
    """A stage to compute.

    Attributes:
        inputs: ``out/`` folder of each upstream stage, relative to the store's root.
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
            "science": asdict(self.stage),
            "inputs": dict(self.inputs),
        }


def parse_job(content: Mapping[str, Any]) -> Job:
    """The job of a ``stage.json``'s content.

    Raises:
        JobError: it does not describe a stage of this version.
    """
    try:
        stage = TypeAdapter(STAGE_KINDS[content["kind"]]).validate_python(content["science"], strict=False)
        return Job(content["key"], content["name"], stage, content["inputs"])
    except (KeyError, TypeError, ValidationError) as error:
        raise JobError(f"not a stage of this version: {error}") from error


def read_job(path: Path) -> Job:
    """Read a ``stage.json``.

    Raises:
        JobError: it is missing, no JSON, or not a stage of this version.
    """
    try:
        return parse_job(json.loads(path.read_text()))
    except (OSError, json.JSONDecodeError) as error:
        raise JobError(f"{path}: {error}") from error
    except JobError as error:
        raise JobError(f"{path}: {error}") from error
