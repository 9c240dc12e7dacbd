"""When the results of each part are judged: the looks that its plans declared, and those that extend a finished one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from orchestrator.store.plans import PlannedStudy, StoredPlan

FEWEST_CHAINS = 2
"""Of a look: one chain says nothing about other tickets."""
CHAIN_KINDS = ("pretrain", "round")
COLUMNS = {
    "dataset": "str",
    "architecture": "str",
    "preset": "str",
    "chains": "int64",
    "seeds": "int64",
    "declared": "bool",
    "planned": "bool",
    "primary": "str",
    "margin_points": "float64",
    "redeclared": "bool",
}


@dataclass
class _Study:
    """A study as its plans tell it, the first one first: plans that share a pruning round look at the same results."""

    declared: PlannedStudy | None
    rounds: set[str]
    looks: list[tuple[int, int, bool]] = field(default_factory=list)  # chains, seeds, planned at the start
    redeclared: bool = False

    def extend(self, chains: int, seeds: int) -> None:
        """A plan of more chains or seeds than every look so far is a look of its own.

        It was planned if nothing could be judged before.
        """
        if all(chains > look[0] or seeds > look[1] for look in self.looks):
            most = max((look[0] for look in self.looks), default=0)  # earlier chains stay in the store
            self.looks.append((max(chains, most), seeds, most < FEWEST_CHAINS))


def looks(plans: Iterable[StoredPlan]) -> pd.DataFrame:
    """Return the looks of each part's current study: one row per look, in their order.

    The first plan binds: a later plan may add looks, and cannot move or remove one. A plan that shares no pruning round
    with the one before begins a new study.

    Returns:
        ``dataset``, ``architecture``, ``preset``, ``chains``, ``seeds``, ``declared`` (the study named its questions or
        looks), ``planned`` (False: a look that extends the study), ``primary`` (question names, comma-separated),
        ``margin_points`` (NaN if none), ``redeclared`` (a later plan declared something else, which does not count).
    """
    studies: dict[tuple[str, str, str], _Study] = {}
    for plan in sorted(plans, key=lambda plan: plan.first_started):
        declared = {study.section: study for study in plan.studies}
        for section, (rounds, chains, seeds) in _sections(plan).items():
            study = studies.get(section)
            if study is None or not study.rounds & rounds:
                study = studies[section] = _Study(declared.get(section), rounds)
                at = study.declared.looks if study.declared else []
                study.looks = [(look, seeds, True) for look in at]
            study.rounds |= rounds
            study.redeclared |= declared.get(section, study.declared) != study.declared
            study.extend(chains, seeds)
    rows = [
        {
            **dict(zip(("dataset", "architecture", "preset"), section, strict=True)),
            **dict(zip(("chains", "seeds", "planned"), look, strict=True)),
            "declared": study.declared is not None,
            "primary": ",".join(study.declared.primary if study.declared else ()),
            "margin_points": study.declared.margin_points if study.declared else None,
            "redeclared": study.redeclared,
        }
        for section, study in studies.items()
        for look in study.looks
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _sections(plan: StoredPlan) -> dict[tuple[str, str, str], tuple[set[str], int, int]]:
    """Return a plan's parts: the keys of its pruning rounds, its number of chains, and its number of seeds.

    A part without a pruning round of its own, such as a landscape of other plans' trainings, is no study.
    """
    parts: dict[tuple[str, str, str], tuple[set[str], int, int]] = {}
    for stage in plan.stages:
        labels = stage.labels
        section = (labels.dataset, labels.architecture, labels.preset)
        rounds, chains, seeds = parts.get(section, (set(), 0, 0))
        if stage.kind in CHAIN_KINDS:
            rounds.add(stage.key)
        own = labels.chain if "@" not in (labels.method or "") else None  # tickets from elsewhere are no more chains
        parts[section] = (rounds, max(chains, own or 0), max(seeds, labels.seed or 0))
    return {section: part for section, part in parts.items() if part[0]}
