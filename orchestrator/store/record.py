"""What the store keeps of a stage: its identity, its record (the commit), claims on its attempts, and failures."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tickets.files import digest
from workers.attempts.workspace import Artifact
from workers.storage import Storage, read_many

SCHEMA_VERSION = 3
FIRST_FIELDS = ("schema_version", "key", "kind", "name", "labels", "science", "inputs")
"""The first fields of a record's JSON."""
REMEDY = "python -m orchestrator.verify quarantines it, and the next sweep computes the stage again"

T = TypeVar("T")
ProbeKind = Literal["lmc", "stability"]
DriverName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
# a name in a record cannot lead out of its stage's folder
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


class StoreError(ValueError):
    """A store that cannot be used; the message says what to do."""


class Labels(BaseModel):
    """A stage's meaning in words, for names, tables and figures; never part of its key.

    Attributes:
        chain: number of the independent pruning chain, from 1; None for a dense training.
        round: the ticket's pruning round; 0 is dense pretraining.
        seed: number of the transfer seed, from 1; None in a chain.
        twin: whether this is the second training of a stability pair, which differs in its SGD seed only.
        probe: what a probe measures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    architecture: str
    preset: str
    method: str | None = None
    chain: int | None = None
    round: int | None = None
    transfer: str | None = None
    seed: int | None = None
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
    kind: str
    name: str
    labels: Labels
    inputs: dict[str, Key]
    science: dict[str, Any]


class Record(StageIdentity):
    """The commit of a stage: written last, once, and never changed.

    Attributes:
        attempt: number of the attempt that computed the stage.
        files: the artifacts, by name.
        out: the artifacts' folder, relative to the stage's.
        results: accuracies in percent, barriers in points, density as a fraction.
        provenance: git commit, packages, device, host and command line; never part of the key.
        blake2b: digest of all other fields, to detect damage; empty before version 3.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    attempt: Annotated[int, Field(ge=1)]
    files: dict[FileName, Artifact]
    out: Annotated[str, Field(pattern=r"^(out|attempts/[0-9]+/out)$")] = "out"
    results: dict[str, Any]
    seconds: float
    finished_unix_s: float
    provenance: dict[str, Any]
    blake2b: str = ""

    @pydantic.model_serializer(mode="wrap")
    def _in_written_order(self, serialise: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Serialise the fields in the order over which digests were computed since version 1."""
        fields = serialise(self)
        return {name: fields[name] for name in FIRST_FIELDS if name in fields} | fields

    @classmethod
    def parse(cls, content: bytes, path: str) -> Record:
        """Parse a ``record.json``.

        Raises:
            StoreError: the record is damaged; the message names ``path`` and the remedy.
        """
        try:
            record = cls.model_validate_json(content)
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
    name: str
    attempt: int
    error_type: str
    message: str
    log: Annotated[str, Field(pattern=r"^stages/[a-z0-9_-]+/[a-z0-9_-]+/attempts/[0-9]+/log\.txt$")]
    finished_unix_s: float
    cause: str


class Claim(BaseModel):
    """A driver's claim on an attempt."""

    model_config = ConfigDict(frozen=True)

    driver: DriverName
    started_unix_s: float


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


def read_valid(model: type[T], storage: Storage, paths: Sequence[str]) -> dict[str, T]:
    """Parse JSON files by path, in order; torn and missing ones are skipped."""
    adapter, parsed = pydantic.TypeAdapter(model), {}
    for path, content in read_many(storage, paths).items():
        with suppress(ValidationError):
            parsed[path] = adapter.validate_json(content)
    return parsed
