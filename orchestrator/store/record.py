"""What the store keeps of a stage: its identity, its record (the commit), claims on its attempts, and failures."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Literal, Self, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from orchestrator.store.values import (
    Count,
    CutText,
    OrdinalNumber,
    Parts,
    Provenance,
    Results,
    Science,
    Seconds,
    UnixTime,
    Word,
)
from tickets.files import digest
from workers.attempts.workspace import Artifact
from workers.storage import Storage, read_many

SCHEMA_VERSION = 3
FIRST_FIELDS = ("schema_version", "key", "kind", "name", "labels", "science", "inputs")
"""The first fields of a record's JSON."""
DEFAULT_IMAGE_SIZE = 224  # workers.stages.IMAGE_SIZE, whose package imports torch, which takes seconds
REMEDY = "python -m orchestrator.verify quarantines it, and the next sweep computes the stage again"

T = TypeVar("T")
ProbeKind = Literal["lmc", "stability", "successive"]
DriverName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,200}$")]
Kind = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,100}$")]
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
# a name in a record cannot lead out of its stage's folder
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$")]


_NOT_KEPT: set[str] = set()


class StoreError(ValueError):
    """A store that cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Labels:
    """A stage's meaning in words, for names, tables and figures; never part of its key.

    Attributes:
        chain: number of the independent pruning chain, from 1; None for a dense training.
        round: the ticket's pruning round; 0 is dense pretraining.
        seed: number of the transfer seed, from 1; None in a chain.
        twin: whether this is the second training of a stability pair, which differs in its SGD seed only.
        probe: what a probe measures: a transfer and its retrain ("lmc"), two SGD seeds of one start ("stability"), or a
            round's network and that of the round before ("successive").
    """

    dataset: Word
    architecture: Word
    preset: Word
    method: Word | None = None
    chain: Count | None = None
    round: Count | None = None
    transfer: Word | None = None
    seed: Count | None = None
    twin: bool = False
    probe: ProbeKind | None = None


class StageIdentity(BaseModel):
    """A stage's key and names, and what the key is computed from.

    Attributes:
        inputs: keys of the upstream stages, by input name.
        science: the stage's fields, as hashed into its key.
    """

    model_config = ConfigDict(frozen=True)

    key: Key
    kind: Kind
    name: Word
    labels: Labels
    inputs: dict[Word, Key]
    science: Science

    def model_post_init(self, context: Any) -> None:
        """Share the set of the given fields, which nobody asks for: one of its own takes 728 bytes a stage."""
        object.__setattr__(self, "__pydantic_fields_set__", _NOT_KEPT)

    @property
    def image_size(self) -> int | None:
        """Side in pixels that a recipe gives the images; None for the default, the data set's own size or 224."""
        size: int = self.science.get("setting", {}).get("data", {}).get("image_size", DEFAULT_IMAGE_SIZE)
        return None if size == DEFAULT_IMAGE_SIZE else size

    @model_validator(mode="after")
    def _is_no_input_of_itself(self) -> Self:
        if self.key in self.inputs.values():
            raise ValueError("the stage is an input of itself")
        return self


class Record(StageIdentity):
    """The commit of a stage: written last, once, and never changed.

    Attributes:
        attempt: number of the attempt that computed the stage.
        files: the artifacts, by name.
        out: the artifacts' folder, relative to the stage's.
        results: accuracies in percent, barriers in points, density as a fraction.
        provenance: git commit, packages, device, host, command line and counts of the data; never part of the key.
        blake2b: digest of all other fields, to detect damage; empty before version 3.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    attempt: OrdinalNumber
    files: dict[FileName, Artifact]
    out: Annotated[str, Field(pattern=r"^(out|attempts/[1-9][0-9]{0,8}/out)$")] = "out"
    results: Results
    seconds: Seconds
    finished_unix_s: UnixTime
    provenance: Provenance
    blake2b: str = ""

    @pydantic.model_serializer(mode="wrap")
    def _in_written_order(self, serialise: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Serialise the fields in the order over which digests were computed since version 1."""
        fields = serialise(self)
        return {name: fields[name] for name in FIRST_FIELDS if name in fields} | fields

    @classmethod
    def parse(cls, content: bytes, path: str, parts: Parts | None = None) -> Record:
        """Parse a ``record.json``.

        Args:
            parts: receives the parts that records share.

        Raises:
            StoreError: the record is damaged; the message names ``path`` and the remedy.
        """
        try:
            record = cls.model_validate_json(content, context=parts)
        except ValidationError as error:
            raise StoreError(f"{path} is no valid record ({error.error_count()} faults); {REMEDY}") from error
        if not record.intact:
            raise StoreError(f"{path} differs from its checksum; {REMEDY}")
        return record

    def sealed(self) -> Record:
        """A copy with its digest."""
        return self.model_copy(update={"blake2b": self._digest()})

    @property
    def intact(self) -> bool:
        """Whether the record is what was sealed."""
        return self.blake2b == self._digest() or (not self.blake2b and self.schema_version < SCHEMA_VERSION)

    def _digest(self) -> str:
        return digest.of_text(self.model_dump_json(exclude={"blake2b"}))


class Failure(BaseModel):
    """Why an attempt failed; never blocks a later attempt."""

    model_config = ConfigDict(frozen=True)

    key: Key
    name: Word
    attempt: OrdinalNumber
    error_type: CutText
    message: CutText
    log: Annotated[str, Field(pattern=r"^stages/[a-z0-9_-]+/[a-z0-9_-]+/attempts/[1-9][0-9]{0,8}/log\.txt$")]
    finished_unix_s: UnixTime
    cause: Word


class Claim(BaseModel):
    """A driver's claim on an attempt."""

    model_config = ConfigDict(frozen=True)

    driver: DriverName
    started_unix_s: UnixTime


class Cause(StrEnum):
    """Why an attempt ended badly."""

    PREEMPTION = "preemption"
    """The machine went away, or was about to."""
    CRASH = "crash"
    """The process died, hung or ran out of memory."""
    TRANSIENT = "transient"
    """Something around the stage failed for a while: a device driver's initialisation, the network, the storage."""
    APPLICATION = "application"
    """The stage itself raised an error, and would raise it again."""
    DAMAGED_INPUT = "damaged input"
    """An input could not be read, and is computed again first."""
    CANCELLED = "cancelled"
    """A user stopped this stage, not the sweep."""


def in_circles(inputs: Mapping[str, Collection[str]]) -> set[str]:
    """Find the stages that are inputs of their own inputs, and those between two such circles; by key, as ``inputs``.

    A key is a digest of the inputs' keys, so that no stage that was computed is among them.
    """
    left = _without_ends(inputs)
    readers: dict[str, list[str]] = {key: [] for key in left}
    for key in left:
        for upstream in left.intersection(inputs[key]):
            readers[upstream].append(key)
    return _without_ends(readers)


def _without_ends(inputs: Mapping[str, Collection[str]]) -> set[str]:
    """Remove the stages without an input among these, again and again; return the keys that are left."""
    readers: dict[str, list[str]] = {}
    waits_for: dict[str, int] = {}
    for key, upstreams in inputs.items():
        for upstream in set(upstreams):
            if upstream in inputs:
                waits_for[key] = waits_for.get(key, 0) + 1
                readers.setdefault(upstream, []).append(key)
    ends = [key for key in inputs if key not in waits_for]
    while ends:
        for reader in readers.get(ends.pop(), ()):
            waits_for[reader] -= 1
            if not waits_for[reader]:
                del waits_for[reader]
                ends.append(reader)
    return set(waits_for)


def inputs_first(stages: Mapping[str, StageIdentity], last: Iterable[str] | None = None) -> list[str]:
    """Sort stages so that each comes after its inputs: a chain of any length is walked without recursion.

    Args:
        stages: by key, without circles.
        last: keep only these keys and all upstream of them; None keeps all stages.

    Raises:
        StoreError: a stage is an input of its own inputs.
    """
    graph: dict[str, list[str]] = {}
    pending = [*(stages if last is None else last)]
    while pending:
        key = pending.pop()
        if key in stages and key not in graph:
            graph[key] = list(stages[key].inputs.values())
            pending += graph[key]
    try:
        return [key for key in TopologicalSorter(graph).static_order() if key in graph]
    except CycleError as error:
        raise StoreError(f"{stages[error.args[1][0]].name} is an input of its own inputs; {REMEDY}") from error


def read_valid(
    model: type[T], storage: Storage, paths: Sequence[str], skipped: dict[str, str] | None = None
) -> dict[str, T]:
    """Parse JSON files by path, in order; torn and missing ones are skipped.

    Args:
        skipped: receives a sentence for each file that cannot be used, by its path.
    """
    adapter, parsed = pydantic.TypeAdapter(model), {}
    for path, content in read_many(storage, paths, skipped).items():
        try:
            parsed[path] = adapter.validate_json(content)
        except ValidationError as error:
            if skipped is not None:
                skipped[path] = f"{storage.root}/{path} has {error.error_count()} faults"
    return parsed
