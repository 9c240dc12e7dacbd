"""Types and bounds of the values in a store's files: whoever may write in its folder may have written them.

A validated value is one that every reader can use: pandas converts it, a date exists for it, a figure can show it.
"""

from __future__ import annotations

import marshal
import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, ValidationInfo

DEEPEST, MOST_VALUES, MOST_LETTERS = 16, 20_000, 10_000
LARGEST_COUNT = 10**9
LARGEST_ATTEMPT = LARGEST_COUNT - 1  # in nine digits
LARGEST_NUMBER = 1e39  # beyond float32, in which all results are computed
LARGEST_INTEGER = 2**63 - 1  # a column of a table holds no larger one

_BY_VALUE = 2  # marshal's last format without references, so that equal values have equal bytes

Parts = dict[tuple[type, str, bytes], tuple[Any, int]]
"""Parts of stages' fields with their numbers of values, by the fields' types, the part's name and its content: given as
pydantic's context, it keeps equal parts of many stages as one object. Nobody may change them."""
UnixTime = Annotated[float, Field(gt=-(2**33), lt=2**33, allow_inf_nan=False, strict=True)]
Seconds = Annotated[float, Field(ge=0, lt=2**33, allow_inf_nan=False, strict=True)]
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT, strict=True)]
OrdinalNumber = Annotated[int, Field(ge=1, le=LARGEST_COUNT, strict=True)]
Word = Annotated[str, Field(max_length=1000)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False, strict=True)]
Number = Annotated[float, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER, strict=True)]
CutText = Annotated[str, AfterValidator(lambda text: text[:MOST_LETTERS])]
"""A message: a longer one is cut, since the program itself wrote it."""

_UNREAD: Any = None


class _Fields(BaseModel):
    """The fields that readers use of a larger mapping; its other fields may be any plain values.

    Nobody reads these objects, so a missing mapping has no default: making one takes time, for each stage of a plan.
    """

    model_config = ConfigDict(extra="ignore")


class _Data(_Fields):
    name: Word = ""
    fingerprint: Word = ""
    validation_fraction: Share = 0.0
    image_size: OrdinalNumber | None = None


class _Setting(_Fields):
    data: _Data = _UNREAD
    precision: Word = ""


class _Gang(_Fields):
    ranks: OrdinalNumber = 1


class _Training(_Fields):
    epochs: Count = 0
    first_epoch: Count = 0
    stop_after: Count | None = None
    gang: _Gang = _UNREAD


class _Transfer(_Fields):
    mask: Word = ""
    flip_fraction: Share = 0.0


class _Criterion(_Fields):
    name: Word = ""


class _Pruning(_Fields):
    method: Word = ""
    criterion: _Criterion = _UNREAD
    one_shot: StrictBool = False


class _Science(_Fields):
    setting: _Setting = _UNREAD
    training: _Training = _UNREAD
    transfer: _Transfer | None = None
    pruning: _Pruning = _UNREAD
    method: Word = ""
    alpha: dict[str, Any] = _UNREAD
    probe: Word | None = None
    round: Count = 0
    prune_fraction: Share = 0.0
    points: OrdinalNumber = 1


class _Results(_Fields):
    density: Share | None = None
    validation_accuracy_percent: Percent | None = None
    test_accuracy_percent: Percent | None = None
    train_accuracy_percent: Percent | None = None
    test_loss_nats: Number | None = None
    validation_loss_nats: Number | None = None
    barrier_points: Number | None = None
    barrier_standard_error_points: Number | None = None
    barrier_lambda: Number | None = None
    loss_barrier_nats: Number | None = None
    loss_barrier_standard_error_nats: Number | None = None
    same_mask: StrictBool | None = None
    init_blake2b: Word | None = None
    data_blake2b: Word | None = None


class _Split(_Fields):
    images: Count = 0
    classes: Count = 0
    fewest_per_class: Count = 0
    most_per_class: Count = 0


class _Held(_Fields):
    splits: dict[Word, _Split] = _UNREAD
    validation_images: Count = 0
    left_out_files: dict[Word, Count] | None = None
    fingerprint_covers: Word | None = None
    prepared_unix_s: UnixTime | None = None


class _Provenance(_Fields):
    git_commit: Word | None = None
    git_dirty_blake2b: Word | None = None
    packages: dict[Word, Word] = _UNREAD
    python: Word | None = None
    device: Word = ""
    host: Word | None = None
    torch: Word | None = None
    argv: list[str] = _UNREAD
    data: _Held = _UNREAD
    stages_beside: Count = 0
    peak_memory_bytes: Annotated[int, Field(ge=0, le=LARGEST_INTEGER, strict=True)] | None = None


class Progress(_Fields):
    """How far an attempt is: its ``progress.json``.

    Attributes:
        node: the backend's name of the machine.
        longest_step_s: longest time between two beats; None before the second.
    """

    host: Word | None = None
    pid: Count | None = None
    node: Word = ""
    beats: Count | Literal[-1] = -1
    longest_step_s: Seconds | None = None
    epoch: Count | None = None
    epochs: Count | None = None
    accuracy_percent: Percent | None = None


def _plain(value: Any) -> Any:
    """Return a JSON value unchanged; ValueError if it is too deep, too large, or has a number that no table holds."""
    _count(value)
    return value


def _count(value: Any, beside: int = 0) -> int:
    """Return how many values a JSON value has, itself and keys included.

    Args:
        beside: number of values that were counted before.

    Raises:
        ValueError: see ``_plain``.
    """
    level: list[Any] = [value]
    depth = count = 0
    while level:
        count += len(level)
        if depth > DEEPEST or count + beside > MOST_VALUES:
            raise ValueError(f"nested deeper than {DEEPEST}, or more than {MOST_VALUES:,} values")
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if len(item) > MOST_LETTERS:
                    raise ValueError(f"a text of more than {MOST_LETTERS:,} letters")
            elif isinstance(item, dict):
                below += item.keys()
                below += item.values()
            elif isinstance(item, list | tuple):
                below += item
            elif isinstance(item, float):
                if not math.isfinite(item):
                    raise ValueError(f"{item} is no number")
            elif isinstance(item, int):
                if abs(item) > LARGEST_INTEGER:
                    raise ValueError("a whole number of more than 63 bits")
            elif item is not None:
                raise ValueError(f"a value of type {type(item).__name__}")
        level, depth = below, depth + 1
    return count


def _checked(fields: type[_Fields], value: dict[str, Any], parts: Parts | None) -> dict[str, Any]:
    """Check a mapping whose values are mostly those of other stages: each part is checked once, and kept once.

    Args:
        fields: types of the fields that readers use.
        parts: receives the parts; None checks all again.
    """
    if parts is None:
        fields.model_validate(_plain(value))
        return value
    whole: dict[str, Any] = {}
    unchecked: dict[str, Any] = {}
    new: list[tuple[tuple[type, str, bytes], Any]] = []
    known = 0
    for name, part in value.items():
        if isinstance(part, dict | list):
            content = (fields, name, marshal.dumps(part, _BY_VALUE))
            if content in parts:
                whole[name], count = parts[content]
                known += 1 + count  # a name and its part
                continue
            new.append((content, part))
        whole[name] = unchecked[name] = part
    _count(unchecked, beside=known)
    fields.model_validate(unchecked)
    for content, part in new:
        parts[content] = part, _count(part)
    return whole


def _science(value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    return _checked(_Science, value, info.context)


def _provenance(value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    return _checked(_Provenance, value, info.context)


def _results(value: dict[str, Any]) -> dict[str, Any]:
    """Check results; NaN and infinity become None, as in the record's file, which has no word for them."""
    value = {
        name: None if isinstance(item, float) and not math.isfinite(item) else item for name, item in value.items()
    }
    for name, item in _plain(value).items():
        if len(name) > MOST_LETTERS // 10:
            raise ValueError(f"{name[:40]}… is too long a name")
        if isinstance(item, float | int) and abs(item) > LARGEST_NUMBER:
            raise ValueError(f"{name} is {item}")
    _Results.model_validate(value)
    return value


Plain = Annotated[dict[str, Any], AfterValidator(_plain)]
"""A mapping of plain values, of bounded depth and size."""
Science = Annotated[dict[str, Any], AfterValidator(_science)]
"""A stage's fields, as hashed into its key: those that readers use have their types, in every version so far."""
Results = Annotated[dict[str, Any], AfterValidator(_results)]
"""A stage's results by name with unit: those that readers use are numbers; a plugin's may be any plain values."""
Provenance = Annotated[dict[str, Any], AfterValidator(_provenance)]
"""What made a result: commit, packages, device, host, command line, and what its data set holds."""
