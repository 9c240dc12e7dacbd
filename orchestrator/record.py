"""What the store says about a stage: its labels, its record (the commit) and its failures."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 2

ProbeKind = Literal["lmc", "stability"]
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
# what a record names lies in its stage's own folder, whoever wrote the record
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]


class Labels(BaseModel):
    """The meaning of a stage in words, for names, tables and figures; never part of its key.

    Attributes:
        chain: which independent pruning chain (from 1); None for a dense training.
        round: the ticket's pruning round; 0 is dense pretraining.
        seed: which transfer seed (from 1); None in a chain.
        twin: the second training of a stability pair, which differs in its SGD seed only.
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


class File(BaseModel):
    """A file of ``out/``: its size and the blake2b-128 of its content."""

    model_config = ConfigDict(frozen=True)

    size_bytes: int
    blake2b: str


class Record(BaseModel):
    """The commit of a stage: written last, once, and never changed.

    Attributes:
        science: the stage's fields, as hashed into its key.
        inputs: keys of the stages it read, by input name.
        out: folder of its files, relative to the stage's: that of the attempt which made them.
        results: what it found (accuracies in percent, barriers in points, density as a fraction).
        provenance: git commit, packages, device, host and command line; none of it is part of the key.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: int = SCHEMA_VERSION
    key: Key
    kind: str
    name: str
    labels: Labels
    science: dict[str, Any]
    inputs: dict[str, Key]
    attempt: Annotated[int, Field(ge=1)]
    files: dict[FileName, File]
    out: Annotated[str, Field(pattern=r"^(out|attempts/[0-9]+/out)$")] = "out"
    results: dict[str, Any]
    seconds: float
    finished_unix_s: float
    provenance: dict[str, Any]


class Failure(BaseModel):
    """Why an attempt failed. It never blocks a later attempt."""

    model_config = ConfigDict(frozen=True)

    key: Key
    name: str
    attempt: int
    error_type: str
    message: str
    log: Annotated[str, Field(pattern=r"^stages/[^/]+/[^/]+/attempts/[0-9]+/log.txt$")]
    finished_unix_s: float
    cause: str


class PlannedStage(BaseModel):
    """One stage of a stored plan."""

    model_config = ConfigDict(frozen=True)

    key: Key
    kind: str
    name: str
    labels: Labels
    inputs: dict[str, Key] = {}


class StoredPlan(BaseModel):
    """A plan that a sweep worked on, kept in the store so that a report knows what is missing."""

    model_config = ConfigDict(frozen=True)

    argv: list[str]
    started_unix_s: float
    stages: list[PlannedStage]


class Claim(BaseModel):
    """Whose an attempt is: the first file of its folder, of which there can be one only."""

    model_config = ConfigDict(frozen=True)

    driver: str
    started_unix_s: float
