"""Results as data: everything that a report states, as one JSON document with a schema, and what to cite for it.

``Results.model_json_schema()`` is the schema; an export holds it as ``results.schema.json``. A later version of this
software may add fields, and raises ``schema_version`` if it changes or removes one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from analysis.comparisons.judgements import judgements
from analysis.comparisons.measures import MEASURES, SUMMARY, DifferenceUnit, Unit, numbers, tabulated
from analysis.comparisons.sentences import NEGLIGIBLE, NOT_SHOWN, REVERSE, SHOWN, UNJUDGED
from analysis.frames.load import Frames
from analysis.frames.sections import Section, sections
from analysis.page.stages import made_with

_CITATION = """\
@inproceedings{{oh2025winningsign,
  title     = {{Find A Winning Sign: Sign Is All We Need to Win the Lottery}},
  author    = {{Oh, Junghun and Baik, Sungyong and Lee, Kyoung Mu}},
  booktitle = {{International Conference on Learning Representations}},
  year      = {{2025}},
  note      = {{arXiv:2504.05357}}
}}

@software{{winningsign,
  title   = {{Winning Sign: a distributed sweep service for lottery-ticket research}},
  author  = {{{{The authors of Winning Sign}}}},
  url     = {{https://github.com/winning-sign/winning-sign}},
  version = {{{version}}},
  note    = {{{note}}}
}}
"""


_MEASURED = f"{', '.join(f'{each.name}: {each.heading}' for each in MEASURES)}. Without what was not measured."


class Document(BaseModel):
    """Base of the parts of a document: missing and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Look(Document):
    """One judgement of the results."""

    chains: Annotated[int, Field(description="Chains up to which it judges.")]
    seeds: Annotated[int, Field(description="Transfer seeds up to which it judges.")]
    spent: Annotated[float, Field(description="Share of the 5 % spent up to and including this look.")]
    planned: Annotated[bool, Field(description="Whether the study planned it; else it extends the study.")]
    done: Annotated[bool, Field(description="Whether every stage that it needs is done.")]


class Comparison(Document):
    """The paired difference a - b of one measure, at one density."""

    question: Annotated[str, Field(description="Such as accuracy_of_signed_minus_mask.")]
    title: Annotated[str, Field(description="The comparison in few words.")]
    claim: Annotated[str, Field(description="What is claimed if the outcome is 'shown'.")]
    measure: str
    unit: Annotated[Unit, Field(description="Of the sides' means.")]
    difference_unit: Annotated[DifferenceUnit, Field(description="Of the difference and its intervals.")]
    method: Annotated[str | None, Field(description="Null if the question compares methods.")]
    round: int
    density: Annotated[float, Field(description="Surviving fraction of the prunable weights.")]
    a_mean: float | None
    a_sd: Annotated[float | None, Field(description="Over chains if there are several, else over trainings.")]
    a_trainings: int
    a_chains: Annotated[int, Field(description="0 for dense trainings.")]
    a_keys: Annotated[str, Field(description="First 16 digits of the stages' keys, comma-separated.")]
    b_mean: float | None
    b_sd: float | None
    b_trainings: int
    b_chains: int
    b_keys: str
    difference: Annotated[float | None, Field(description="Mean of a - b over all pairs.")]
    low: Annotated[float | None, Field(description="Lower end of its 95 % interval.")]
    high: float | None
    standard_error: Annotated[float | None, Field(description="Of barriers, in points; else null.")]
    pairs: int
    chains: Annotated[int, Field(description="Chains of the pairs.")]
    primary: Annotated[bool, Field(description="Whether it is a primary comparison of the study.")]
    adjusted_low: Annotated[float | None, Field(description="As low, for all looks and comparisons; it decides.")]
    adjusted_high: float | None
    judged_chains: Annotated[int | None, Field(description="Chains of the look that judged.")]
    chains_needed: Annotated[int | None, Field(description="To show a difference of this size with a power of 80 %.")]
    outcome: Literal[SHOWN, REVERSE, NEGLIGIBLE, NOT_SHOWN, UNJUDGED]  # type: ignore[valid-type]  # their values
    sentence: str


class Summary(Document):
    """A measure of one start: over the means of chains if there are several, else over trainings."""

    mean: float
    sd: Annotated[float | None, Field(description="Sample standard deviation; null for one value.")]
    low: Annotated[float | None, Field(description="Lower end of the mean's 95 % t interval; null for one value.")]
    high: float | None
    trainings: int
    chains: Annotated[int, Field(description="0 for dense trainings.")]
    keys: Annotated[str, Field(description="First 16 digits of the stages' keys, comma-separated.")]


class Numbers(Document):
    """All measures of one start."""

    round: Annotated[int | None, Field(description="Pruning round; null for dense trainings.")]
    method: Annotated[str | None, Field(description="Null for dense trainings.")]
    transfer: str
    density: Annotated[float | None, Field(description="Surviving fraction of the prunable weights.")]
    measures: Annotated[
        dict[
            Literal[
                "accuracy",
                "barrier",
                "chord",
                "stability",
                "sign_flips",
                "aligned_barrier",
                "activation_aligned_barrier",
                "repaired_barrier",
                "curvature",
            ],
            Summary,
        ],
        Field(description=_MEASURED),
    ]


class RecipeField(Document):
    """A field of the resolved recipe."""

    field: Annotated[str, Field(description="Dotted, such as optimizer.learning_rate.")]
    value: Any
    differs: Annotated[bool, Field(description="Whether the built-in recipe has another value.")]
    built_in: Annotated[Any, Field(description="The built-in value if it differs, else null.")]


class Part(Document):
    """The results of one data set, architecture and preset."""

    dataset: str
    architecture: str
    preset: str
    verdict: str
    ground: Annotated[str, Field(description="What the verdict rests on.")]
    answers: Annotated[list[str], Field(description="One sentence per question.")]
    study: Annotated[str, Field(description="When results are judged.")]
    looks: list[Look]
    decided: Annotated[bool, Field(description="Whether every primary comparison is shown, reversed or negligible.")]
    chains_needed: Annotated[int | None, Field(description="The most that a primary comparison still needs.")]
    comparisons: list[Comparison]
    numbers: list[Numbers]
    command: Annotated[str, Field(description="The command that makes it again; empty if unknown.")]
    recipe: Annotated[list[RecipeField], Field(description="Of the last sweep; empty if an earlier version made it.")]


class Results(Document):
    """All that a report states, with the versions that computed it."""

    schema_version: Literal[1] = 1
    made_by: Annotated[str, Field(description="The version of Winning Sign that wrote this file.")]
    git_commits: Annotated[list[str], Field(description="Commits of Winning Sign that computed the stages.")]
    packages: Annotated[dict[str, list[str]], Field(description="Versions that computed the stages, by package.")]
    left_out: Annotated[dict[str, str], Field(description="Damaged files that are missing here, with the reason.")]
    devices: Annotated[list[str], Field(description="Devices that computed the stages.")]
    machines: Annotated[list[str], Field(description="The same, each with its processor.")]
    stage_hours: Annotated[float, Field(description="Hours that the stages took, added up.")]
    parts: list[Part]


def results(frames: Frames, compared: Sequence[pd.DataFrame] | None = None) -> Results:
    """Collect what a report states of a store.

    Args:
        compared: the comparisons of each section, by a caller that has computed them.
    """
    stages, packages = frames.stages, frames.packages
    return Results(
        made_by=_own_version(),
        git_commits=_distinct(stages["git_commit"]),
        packages={str(name): _distinct(rows) for name, rows in packages.groupby("package")["version"]},
        left_out=dict(frames.left_out),
        devices=_distinct(stages["device"]),
        machines=sorted(set((stages["processor"].fillna("") + " " + stages["device"].fillna("")).str.strip()) - {""}),
        stage_hours=float(stages["seconds"].sum()) / 3600,
        parts=[
            Part.model_validate({**judged, "numbers": list(_numbers(section)), **_made_with(section)})
            for judged, section in zip(judgements(frames, compared), sections(frames), strict=True)
        ],
    )


def citation(frames: Frames) -> str:
    """Return BibTeX entries for the paper, and for this software at the commits that computed the stages."""
    commits = [commit for commit in _distinct(frames.stages["git_commit"]) if commit.isalnum()]
    note = f"Commits {', '.join(commits)}" if len(commits) > 1 else f"Commit {commits[0]}" if commits else ""
    return _CITATION.format(version=_own_version(), note=note or "The commit was not recorded")


def _numbers(section: Section) -> Iterable[dict[str, Any]]:
    for row in numbers(section).to_dict("records"):
        measured = [each.name for each in tabulated(row) if pd.notna(row[f"{each.name}_mean"])]
        yield {
            **{name: plain(row[name]) for name in ("round", "method", "transfer", "density")},
            "measures": {name: {of: plain(row[f"{name}_{of}"]) for of in SUMMARY} for name in measured},
        }


def _made_with(section: Section) -> dict[str, Any]:
    origin = made_with(section.frames)
    fields = [
        {
            "field": row["field"],
            "value": json.loads(row["value"]),
            "differs": row["differs"],
            "built_in": json.loads(row["built_in"]) if row["differs"] else None,
        }
        for row in origin["fields"]
    ]
    return {"command": origin["command"], "recipe": fields}


def plain(value: Any) -> Any:
    """Return a cell of a frame as JSON has it: null for a missing value."""
    return None if pd.isna(value) else value


def _distinct(values: pd.Series) -> list[str]:
    return sorted({str(value) for value in values.dropna()})


def _own_version() -> str:
    try:
        return version("winning-sign")
    except PackageNotFoundError:  # a copy that was not installed
        return "unknown"
