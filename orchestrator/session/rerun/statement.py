"""What a rerun of stages shows: its facts as JSON, one sentence, and a badge if all bits are the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from xml.sax.saxutils import escape

from pydantic import BaseModel, ConfigDict

from orchestrator.session.rerun.again import StageAgain
from orchestrator.session.rerun.differences import Difference
from orchestrator.session.rerun.sample import Sample
from orchestrator.store.provenance import code_provenance
from tickets.files.home import without_folders
from workers.storage import schemas
from workers.terminal.console import visible

Outcome = Literal["same bits", "other bits on another kind of machine", "failed"]
LABEL = "same bits on"
LETTER_PX, PADDING_PX, HEIGHT_PX = 6.6, 8, 20


class Statement(BaseModel):
    """The facts of a rerun; nothing here names a user, a host or a path.

    Attributes:
        outcome: "failed" if a stage could not be run again, or has other bits on the same kind of machine.
        run_again, finished_stages: number of stages that were run again, and of finished stages in the store.
        seed: draws the same stages of the same store.
        passed_over: number of stages that were drawn and could not be run again, by reason.
        machines, recorded_on: where the stages ran now, and when they were recorded.
        not_compared: files that differ in equal runs.
        made_at: date and time in UTC, ISO 8601.
        packages: versions of packages that ran the stages now.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    outcome: Outcome
    run_again: int
    finished_stages: int
    seed: int
    passed_over: dict[str, int]
    machines: list[str]
    recorded_on: list[str]
    not_compared: list[str]
    made_at: str
    git_commit: str | None
    git_dirty_blake2b: str | None
    packages: dict[str, str]
    python: str
    stages: list[StageAgain]

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        of = f"{self.run_again} of {self.finished_stages} stages, run again with seed {self.seed}"
        here = " and ".join(self.machines)
        if self.outcome == "same bits":
            return f"Same bits on {here}: {of}."
        other = [stage for stage in self.stages if stage.differences]
        if self.outcome == "failed":
            broken = sum(stage.failed for stage in self.stages)
            return f"Not the same bits on {here}: of {of}, {broken} failed or differ on their own kind of machine."
        return (
            f"Other bits on {here} than on {' and '.join(self.recorded_on)}: of {of}, {len(other)} differ; "
            f"{largest(difference for stage in other for difference in stage.differences)}."
        )


def statement(sample: Sample, stages: Sequence[StageAgain]) -> Statement:
    """Collect the facts of a rerun."""
    code = code_provenance()
    outcome: Outcome = "same bits"
    if any(stage.failed for stage in stages):
        outcome = "failed"
    elif not all(stage.same for stage in stages):
        outcome = "other bits on another kind of machine"
    return Statement(
        outcome=outcome,
        run_again=len(stages),
        finished_stages=sample.finished,
        seed=sample.seed,
        passed_over=sample.passed_over,
        machines=_names(stage.machine for stage in stages),
        recorded_on=_names(stage.recorded_machine for stage in stages),
        not_compared=[schemas.TIMING],
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        stages=[stage.model_copy(update={"error": without_folders(stage.error)}) for stage in stages],
        **{name: code[name] for name in ("git_commit", "git_dirty_blake2b", "packages", "python")},
    )


def largest(differences: Iterable[Difference]) -> str:
    """The largest differences of weights and of percentages, such as accuracies, in words."""
    every = list(differences)
    weights = [each for each in every if each.file.endswith(".safetensors")]
    points = [each.largest for each in every if each.unit == "points" and each.largest is not None]
    parts = []
    if weights:
        absolute = max((each.largest for each in weights if each.largest is not None), default=None)
        relative = max((each.largest_relative for each in weights if each.largest_relative is not None), default=None)
        by = [f"{absolute:.3g}"] if absolute is not None else ["an unknown or infinite amount"]
        parts.append(f"weights by at most {', '.join([*by, *([f'{relative:.3g} relative'] if relative else [])])}")
    if points:
        parts.append(f"accuracies, errors and barriers by at most {max(points):.3g} points")
    return " and ".join(parts) or f"{len(every)} files or results"


def drawn_badge(rerun: Statement) -> str:
    """Draw "same bits on MACHINE" as SVG, with the facts as its title."""
    value = f"{' and '.join(rerun.machines)} · {rerun.run_again} of {rerun.finished_stages} stages"
    widths = [round(len(text) * LETTER_PX + 2 * PADDING_PX) for text in (LABEL, value)]
    left, whole = widths[0], sum(widths)
    version = f"winning-sign {rerun.packages.get('winning-sign', 'of unknown version')}"
    changed = " and uncommitted changes" if rerun.git_dirty_blake2b else ""
    commit = f" at commit {rerun.git_commit[:12]}{changed}" if rerun.git_commit else ""
    title = f"{rerun.sentence} Made on {rerun.made_at[:10]} with {version}{commit}."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="{HEIGHT_PX}" role="img">\n'
        f"<title>{_text(title)}</title>\n"
        f'<rect width="{whole}" height="{HEIGHT_PX}" rx="3" fill="#2e6b34"/>\n'
        f'<path d="M3 0H{left}V{HEIGHT_PX}H3A3 3 0 0 1 0 {HEIGHT_PX - 3}V3A3 3 0 0 1 3 0Z" fill="#444"/>\n'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">\n'
        f'<text x="{PADDING_PX}" y="14" textLength="{left - 2 * PADDING_PX}">{LABEL}</text>\n'
        f'<text x="{left + PADDING_PX}" y="14" textLength="{widths[1] - 2 * PADDING_PX}">{_text(value)}</text>\n'
        "</g>\n</svg>\n"
    )


def _text(text: str) -> str:
    return escape(visible(text))


def _names(machines: Iterable[dict[str, Any]]) -> list[str]:
    return sorted({_name(machine) for machine in machines})


def _name(machine: dict[str, Any]) -> str:
    """Name a kind of machine: the GPU or the processor, the version of torch, and what else decides bits."""
    device = str(machine["device"] or "an unknown device")
    name = str(machine["processor"] or device) if device.startswith("cpu") else device
    kernels = "" if machine["deterministic"] in (True, None) else ", kernels not deterministic"
    return f"{name}, torch {machine['torch'] or 'unknown'}{kernels}"
