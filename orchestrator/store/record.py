"""What the store says about a stage: its labels, its record (the commit) and its failures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from tickets.files import digest
from workers.attempts.workspace import Artifact

SCHEMA_VERSION = 3
FIRST_FIELDS = ("schema_version", "key", "kind", "name", "labels", "science", "inputs")
"""How a record's JSON begins."""

ProbeKind = Literal["lmc", "stability"]
DriverName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
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


class StageIdentity(BaseModel):
    """A stage: its key, its names, and what the key is made of.

    Attributes:
        labels: the stage's meaning in words.
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
        out: folder of its files, relative to the stage's: that of the attempt which made them.
        results: what it found (accuracies in percent, barriers in points, density as a fraction).
        provenance: git commit, packages, device, host and command line; none of it is part of the key.
        blake2b: of all other fields, so that a flipped digit is seen; empty before version 3.
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

    @model_serializer(mode="wrap")
    def _in_written_order(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Serialise the fields in the order that every record's digest was computed over."""
        fields = serialise(self)
        return {name: fields[name] for name in FIRST_FIELDS if name in fields} | fields

    def sealed(self) -> Record:
        """The record with its own digest."""
        return self.model_copy(update={"blake2b": self._digest()})

    @property
    def intact(self) -> bool:
        """Whether nothing has changed since it was sealed."""
        return self.blake2b == self._digest() or (not self.blake2b and self.schema_version < SCHEMA_VERSION)

    def _digest(self) -> str:
        return digest.of_text(self.model_dump_json(exclude={"blake2b"}))


class Failure(BaseModel):
    """Why an attempt failed. It never blocks a later attempt."""

    model_config = ConfigDict(frozen=True)

    key: Key
    name: str
    attempt: int
    error_type: str
    message: str
    log: Annotated[str, Field(pattern=r"^stages/[a-z0-9_-]+/[a-z0-9_-]+/attempts/[0-9]+/log\.txt$")]
    finished_unix_s: float
    cause: str


class PlannedStage(StageIdentity):
    """One stage of a stored plan.

    Attributes:
        science: without the fields in ``parts``; empty in a plan of an older version.
        parts: positions in the plan's ``parts``, by field: settings that many stages share are kept once.
    """

    inputs: dict[str, Key] = {}
    science: dict[str, Any] = {}
    parts: dict[str, int] = {}


class StoredPlan(BaseModel):
    """A plan that a sweep worked on, kept in the store so that others know what is missing, and what it would be.

    Attributes:
        on_request: in plans of older versions that hold a landscape alone; read for the digest only, never written.
        blake2b: of all other fields, so that a flipped digit is seen; empty in a plan of an older version.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")  # else a damaged "blake2b" would pass for none

    argv: list[str]
    started_unix_s: float
    stages: list[PlannedStage]
    parts: list[dict[str, Any]] = []
    on_request: bool = False
    blake2b: str = ""

    def sealed(self) -> StoredPlan:
        """The plan with its own digest."""
        return self.model_copy(update={"blake2b": self._digest()})

    @property
    def intact(self) -> bool:
        """Whether nothing has changed since it was sealed, as far as that can be told."""
        return self.blake2b in ("", self._digest())

    def _digest(self) -> str:
        # without defaults, so that a new field leaves earlier digests valid
        return digest.of_text(self.model_dump_json(exclude={"blake2b"}, exclude_defaults=True))

    def science(self, stage: PlannedStage) -> dict[str, Any]:
        """All fields of one of the plan's stages, as a record has them; empty in a plan of an older version."""
        shared = {name: self.parts[part] for name, part in stage.parts.items() if part < len(self.parts)}
        return {**shared, **stage.science}

    def identities(self) -> Iterator[StageIdentity]:
        """Yield the stages with all their science."""
        for stage in self.stages:
            yield stage.model_copy(update={"science": self.science(stage), "parts": {}})


class Claim(BaseModel):
    """Whose an attempt is: the first file of its folder, of which there can be one only."""

    model_config = ConfigDict(frozen=True)

    driver: DriverName
    started_unix_s: float


def wanted(plans: Iterable[StoredPlan]) -> dict[str, PlannedStage]:
    """Stages by key of the last sweep over each data set, architecture and preset; older sweeps are abandoned.

    A plan that reads stages of other plans (a landscape of their trainings) replaces none of them. Its stages are
    wanted while the sweeps want all that they read.

    Args:
        plans: oldest first.
    """
    by_section: dict[tuple[str, ...], dict[str, PlannedStage]] = {}
    additions: dict[str, PlannedStage] = {}
    for plan in plans:
        keys = {stage.key for stage in plan.stages}
        if not all(keys.issuperset(stage.inputs.values()) for stage in plan.stages):
            additions |= {stage.key: stage for stage in plan.stages}
            continue
        stages: dict[tuple[str, ...], dict[str, PlannedStage]] = {}
        for stage in plan.stages:
            section = (stage.labels.dataset, stage.labels.architecture, stage.labels.preset)
            stages.setdefault(section, {})[stage.key] = stage
        by_section.update(stages)
    swept = {key: stage for stages in by_section.values() for key, stage in stages.items()}
    return swept | {key: stage for key, stage in additions.items() if swept.keys() >= set(stage.inputs.values())}


class Cause(StrEnum):
    """Why an attempt ended badly."""

    PREEMPTION = "preemption"
    """Its machine went away, or was about to."""
    CRASH = "crash"
    """Its process died, hung or ran out of memory."""
    TRANSIENT = "transient"
    """Something around it failed that passes: a driver's initialisation, the network, the storage."""
    APPLICATION = "application"
    """The stage itself raised: the same attempt would raise again."""
    DAMAGED_INPUT = "damaged input"
    """It could not read an input, which is made anew first."""
    CANCELLED = "cancelled"
    """Somebody asked it to stop, and not the sweep."""
