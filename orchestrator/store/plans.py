"""Stored plans: what sweeps set out to do, kept so that others know which stages are missing, and what they compute."""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from orchestrator.store.record import Key, StageIdentity, StoreError, in_circles
from orchestrator.store.values import Count, OrdinalNumber, Parts, Percent, Plain, Science, UnixTime, Word
from tickets.files import digest

REMEDY = (
    "repeat its sweep's command to write it again; or quarantine it with python -m orchestrator.verify, after which "
    "orchestrator.gc no longer keeps what that sweep needs"
)

MOST_BYTES = 512 << 20
"""Largest plan that is read: 100,000 stages take 50 MB."""
PROBE_MEASURES = ("aligned_barrier", "activation_aligned_barrier", "repaired_barrier", "curvature")
"""Measures that the recipe's ``probes`` of the same names take."""
MEASURES = ("accuracy", "barrier", "chord", "stability", "sign_flips", *PROBE_MEASURES)
"""What a question may compare."""
Side = tuple[str | None, str]
QUESTION = re.compile(rf"({'|'.join(MEASURES)})_of_(.+)_minus_(.+)")


class PlannedStage(StageIdentity):
    """One stage of a stored plan.

    Attributes:
        science: without the fields in ``parts``; empty in a plan of an older version.
        parts: positions in the plan's ``parts``, by field: stages share settings.
    """

    inputs: dict[Word, Key] = {}  # noqa: RUF012  # pydantic copies defaults; a digest leaves literal defaults out
    science: Science = {}  # noqa: RUF012
    parts: dict[Word, Count] = {}  # noqa: RUF012


class PlannedStudy(BaseModel):
    """What a sweep set out to ask of one data set, architecture and preset, and when it judges the answer.

    Attributes:
        primary: names of the primary questions, such as "accuracy_of_signed_minus_mask"; empty takes the default.
        looks: numbers of chains at which results are judged, rising; empty takes the plan's own number of chains.
        margin_points: differences that are smaller in absolute value count as negligible; None judges none so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Word
    architecture: Word
    preset: Word
    primary: list[Word] = []
    looks: list[OrdinalNumber] = []
    margin_points: Percent | None = None

    @property
    def section(self) -> tuple[str, str, str]:
        """The labels of the stages it is about."""
        return (self.dataset, self.architecture, self.preset)


def parse_question(name: str, methods: Collection[str], starts: Collection[str]) -> tuple[str, list[Side]]:
    """Return the measure and the two sides that a question's name compares: a side is a start, and a method or None.

    Args:
        name: as in ``PlannedStudy.primary``, such as "barrier_of_aws_signed_minus_lrr_signed".
        methods, starts: the names that the sides may have.

    Raises:
        ValueError: the name is no question about these methods and starts.
    """
    match = QUESTION.fullmatch(name)
    if match is None:
        raise ValueError(
            f"{name!r} is no question; name it MEASURE_of_A_minus_B, such as accuracy_of_signed_minus_mask, with a "
            f"measure of {', '.join(MEASURES)}"
        )
    sides: list[Side] = []
    for words in match.groups()[1:]:
        named = [(method, words.removeprefix(f"{method}_")) for method in methods if words.startswith(f"{method}_")]
        side = next((side for side in [(None, words), *named] if side[1] in starts), None)
        if side is None:
            own = f"with the methods {', '.join(methods)}" if methods else "and runs no method's chain"
            remedy = "or a method and a start, such as aws_signed" if methods else "or run chains with --methods"
            raise ValueError(
                f"{name} compares {words!r}, and this sweep trains {', '.join(sorted(starts))} {own}; name a start, "
                f"{remedy}"
            )
        sides.append(side)
    (method_a, _), (method_b, _) = sides
    if sides[0] == sides[1] or (method_a is None) != (method_b is None):
        raise ValueError(f"{name} must compare two different starts; name a method on both or neither")
    return match[1], sides


class PlannedRecipe(BaseModel):
    """The resolved recipe of one data set, architecture and preset.

    Attributes:
        fields: every field that the sweep read, by dotted name, such as "optimizer.learning_rate".
        builtin: the built-in value of each field that differs, by dotted name; None where the built-in recipe has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: Word
    architecture: Word
    preset: Word
    fields: Plain
    builtin: Plain

    @property
    def section(self) -> tuple[str, str, str]:
        """The labels of the stages that it made."""
        return (self.dataset, self.architecture, self.preset)


class _Beginning(BaseModel):
    """The fields of a plan's file that change from sweep to sweep."""

    argv: list[str]
    started_unix_s: UnixTime
    first_started_unix_s: UnixTime | None = None
    blake2b: str = ""


class StoredPlan(BaseModel):
    """A sweep's plan, as the store keeps it.

    Attributes:
        studies: what the sweep declared to ask, for each part that declared something.
        recipes: what each part was made with; empty in a plan of an older version, and of a landscape alone.
        first_started_unix_s: when a sweep of this plan began first; None if it has begun once.
        on_request: true in an older version's plan of a landscape alone; read for the digest only, never written.
        blake2b: digest of all other fields, to detect damage; empty in a plan of an older version.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")  # else a damaged name "blake2b" would read as no digest

    argv: list[str]
    started_unix_s: UnixTime
    stages: list[PlannedStage]
    parts: list[Plain] = []
    studies: list[PlannedStudy] = []
    recipes: list[PlannedRecipe] = []
    first_started_unix_s: UnixTime | None = None
    on_request: bool = False
    blake2b: str = ""

    @classmethod
    def parse(cls, content: bytes, path: str, parts: Parts | None = None) -> StoredPlan:
        """Parse a plan's file.

        Args:
            parts: receives the parts that stages share.

        Raises:
            StoreError: the plan is damaged; the message names ``path`` and the remedy.
        """
        try:
            plan = cls.model_validate_json(content, context=parts)
        except ValidationError as error:
            raise StoreError(f"{path} is no valid plan ({error.error_count()} faults); {REMEDY}") from error
        if not plan.intact:
            raise StoreError(f"{path} differs from its checksum; {REMEDY}")
        if circle := in_circles({stage.key: stage.inputs.values() for stage in plan.stages}):
            raise StoreError(f"{path}: {len(circle)} of its stages are inputs of their own inputs; {REMEDY}")
        return plan

    def sealed(self) -> StoredPlan:
        """A copy with its digest."""
        return self.model_copy(update={"blake2b": self._digest()})

    @property
    def first_started(self) -> float:
        """When a sweep of this plan began first."""
        return self.started_unix_s if self.first_started_unix_s is None else self.first_started_unix_s

    def first_started_in(self, content: bytes) -> float | None:
        """When a sweep of this plan began first, as told by a file of an earlier sweep of it.

        Returns:
            None if the file is damaged, or differs from this plan in more than the command line and the times.
        """
        # without its stages, which take hundreds of megabytes: they lie in the middle
        head, tail = content[: content.find(b',"stages":')], content[content.rfind(b'"first_started_unix_s":') :]
        try:
            earlier = _Beginning.model_validate_json(head + b"," + tail)
        except ValidationError:
            return None
        same = self.model_copy(update=earlier.model_dump(exclude={"blake2b"}))
        return same.first_started if same._digest() == earlier.blake2b else None

    @property
    def intact(self) -> bool:
        """Whether the plan is what was sealed; a plan without a digest counts as intact."""
        return self.blake2b in ("", self._digest())

    @property
    def self_contained(self) -> bool:
        """Whether it reads no stage of other plans, as a landscape of their trainings does."""
        keys = {stage.key for stage in self.stages}
        return all(keys.issuperset(stage.inputs.values()) for stage in self.stages)

    def _digest(self) -> str:
        # without defaults, so that a new field leaves earlier digests valid
        return digest.of_text(self.model_dump_json(exclude={"blake2b"}, exclude_defaults=True))

    def science(self, stage: PlannedStage) -> dict[str, Any]:
        """All fields of one of the plan's stages, as a record has them; empty in a plan of an older version."""
        shared = {name: self.parts[part] for name, part in stage.parts.items() if part < len(self.parts)}
        return {**shared, **stage.science}

    def identities(self, besides: Container[str] = ()) -> Iterator[StageIdentity]:
        """Yield the stages with all their science, without those whose keys are in ``besides``."""
        for stage in self.stages:
            if stage.key in besides:
                continue
            yield stage.model_copy(update={"science": self.science(stage), "parts": {}})


def wanted(plans: Iterable[StoredPlan]) -> dict[str, PlannedStage]:
    """Return the stages of the last sweep over each data set, architecture and preset, by key.

    A plan that reads stages of other plans (a landscape of their trainings) replaces none of them. Its stages are
    wanted while the sweeps want all that they read.

    Args:
        plans: oldest first.
    """
    by_section: dict[tuple[str, ...], dict[str, PlannedStage]] = {}
    additions: dict[str, PlannedStage] = {}
    for plan in plans:
        if not plan.self_contained:
            additions |= {stage.key: stage for stage in plan.stages}
            continue
        stages: dict[tuple[str, ...], dict[str, PlannedStage]] = {}
        for stage in plan.stages:
            section = (stage.labels.dataset, stage.labels.architecture, stage.labels.preset)
            stages.setdefault(section, {})[stage.key] = stage
        by_section.update(stages)
    swept = {key: stage for stages in by_section.values() for key, stage in stages.items()}
    return swept | {key: stage for key, stage in additions.items() if swept.keys() >= set(stage.inputs.values())}


def blocked(given_up: Iterable[str], waiting: Mapping[str, Iterable[str]]) -> set[str]:
    """Return the keys of waiting stages that need, directly or not, one that was given up.

    Args:
        waiting: the keys of their inputs, by key.
    """
    needed_by: dict[str, list[str]] = {}
    for key, inputs in waiting.items():
        for upstream in inputs:
            needed_by.setdefault(upstream, []).append(key)
    keys, open_ = set[str](), [*given_up]
    while open_:
        further = [key for key in needed_by.get(open_.pop(), ()) if key not in keys]
        keys.update(further)
        open_ += further
    return keys
