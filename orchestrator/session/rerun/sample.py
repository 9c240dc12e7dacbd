"""Draws finished stages at random, to be run again; nothing is run here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from orchestrator.planning.identity import stage_key
from orchestrator.store import Store, StoreError
from orchestrator.store.record import Record
from workers.data import find_data_set
from workers.models.registry import find_architecture
from workers.stages import Imported, Stage
from workers.stages.job import JobError, parse_job
from workers.stages.kinds import width

COLLECTED_INPUT = "an input's files were removed by gc"
ELSEWHERE = "a ticket from elsewhere, which is copied and not computed"
LOST_INPUT = "an input has no record any more"
NOT_DETERMINISTIC = "its record says that not all its kernels were deterministic"
OTHER_VERSION = "another version of this software computed it"
PLUGIN = "its data set or architecture is unknown here; name its --plugin"
SEVERAL_DEVICES = "several devices trained it together"


@dataclass(frozen=True)
class Sample:
    """Stages to run again.

    Attributes:
        seed: what the stages were drawn with; the same seed draws the same stages of the same store.
        stages: each stage with its record, in the order of the draw.
        finished: number of finished stages in the store.
        passed_over: number of stages that were drawn and cannot be run again here, by reason.
    """

    seed: int
    stages: list[tuple[Record, Stage]]
    finished: int
    passed_over: dict[str, int]

    @property
    def recorded_s(self) -> float:
        """Seconds that the stages took when they were recorded."""
        return sum(record.seconds for record, _ in self.stages)


def draw(store: Store, count: int, seed: int) -> Sample:
    """Draw ``count`` finished stages, all equally likely; a stage that cannot be run again here is passed over.

    Raises:
        StoreError: fewer stages can be run again; the message says how many, and why the others cannot.
    """
    records = store.records({})
    collected = store.collected()
    stages: list[tuple[Record, Stage]] = []
    passed_over: Counter[str] = Counter()
    for key in Random(seed).sample(sorted(records), len(records)):
        if len(stages) == count:
            break
        stage = _runnable(records[key], records, collected)
        if isinstance(stage, str):
            passed_over[stage] += 1
        else:
            stages.append((records[key], stage))
    if len(stages) < count:
        why = "".join(f"; {number}: {reason}" for reason, number in passed_over.items())
        remedy = f"; give --rerun {len(stages)}" if stages else ""
        raise StoreError(
            f"--rerun {count}: {len(stages)} of the store's {len(records)} finished stages can be run again here"
            f"{why}{remedy}"
        )
    return Sample(seed, stages, len(records), dict(passed_over))


def _runnable(record: Record, records: Mapping[str, Record], collected: set[str]) -> Stage | str:
    """Return the stage of a record, or the reason why it cannot be run again here."""
    if any(key not in records for key in record.inputs.values()):
        return LOST_INPUT
    if any(key in collected for key in record.inputs.values()):
        return COLLECTED_INPUT
    if record.provenance.get("deterministic") is False:
        return NOT_DETERMINISTIC
    try:
        fields = {"key": record.key, "name": record.name, "kind": record.kind, "science": record.science, "inputs": {}}
        stage = parse_job(fields).stage
    except JobError:
        return OTHER_VERSION
    if stage_key(stage, record.inputs) != record.key:
        return OTHER_VERSION
    if isinstance(stage, Imported):
        return ELSEWHERE
    model = stage.setting.model
    try:
        known = find_data_set(stage.setting.data.name) is not None and find_architecture(model.name)
    except ValueError:  # an unknown architecture, or no valid name of a family of data sets
        known = False
    if not known:
        return PLUGIN
    if known.version != model.version:
        return OTHER_VERSION
    return SEVERAL_DEVICES if width(stage) > 1 else stage
