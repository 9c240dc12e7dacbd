"""Parses records and plans; a file that cannot be read, or is not what was written, names its remedy."""

from __future__ import annotations

from pydantic import ValidationError

from orchestrator.store.errors import StoreError
from orchestrator.store.record import Record, StoredPlan

RECORD_REMEDY = "python -m orchestrator.verify quarantines it, and the next sweep computes the stage again"
PLAN_REMEDY = (
    "repeat its sweep's command to write it again; or quarantine it with python -m orchestrator.verify, after which "
    "orchestrator.gc no longer keeps what that sweep needs"
)


def parse_record(path: str, content: bytes) -> Record:
    """Parse a ``record.json``.

    Raises:
        StoreError: the record is damaged.
    """
    try:
        record = Record.model_validate_json(content)
    except ValidationError as error:
        raise StoreError(f"{path} is no valid record ({error.error_count()} faults); {RECORD_REMEDY}") from error
    if not record.intact:
        raise StoreError(f"{path} is not what was written; {RECORD_REMEDY}")
    return record


def parse_plan(path: str, content: bytes) -> StoredPlan:
    """Parse a plan's file.

    Raises:
        StoreError: the plan is damaged.
    """
    try:
        plan = StoredPlan.model_validate_json(content)
    except ValidationError as error:
        raise StoreError(f"{path} is no valid plan ({error.error_count()} faults); {PLAN_REMEDY}") from error
    if not plan.intact:
        raise StoreError(f"{path} is not what was written; {PLAN_REMEDY}")
    return plan
