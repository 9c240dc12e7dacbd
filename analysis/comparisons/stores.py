"""Compare two stores: what differs in their recipes, and in their results.

Chains are the replicates, as in a report; dense trainings, which have no chain, are replicates themselves. The stores
are compared unpaired (Welch 1947), although chains of one number share their seeds: trainings under two recipes soon
part, and pairing would cost half of the degrees of freedom. What the stores share can only widen these intervals.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import pandas as pd

from analysis.comparisons.answers import cells_of
from analysis.comparisons.labels import begin, count, density, mean_sd, method_name, number, rank, signed, transfer_name
from analysis.comparisons.measures import ACCURACY, ALWAYS, MEASURES, Measure, numbers, tabulated
from analysis.comparisons.questions import QUESTIONS, SIGNS_CARRY, Question, questions_of
from analysis.comparisons.statistics import LEVEL, Estimate, difference
from analysis.comparisons.study import shares, study_of
from analysis.frames.load import Frames
from analysis.frames.sections import SETTING, Section, sections

DIFFERS, NOT_SHOWN, NO_INTERVAL, UNJUDGED = "differs", "not shown to differ", "no interval", "not judged yet"
_LABELS = ("result", "measure", "of", "unit", "difference_unit", "method", "transfer", "density")
_SIDE = ("mean", "sd", "low", "high", "trainings", "chains", "keys")
_COLUMNS = {
    **dict.fromkeys(_LABELS, "str"),
    "density": "float64",
    **{f"{side}_{name}": "float64" for side in "ab" for name in ("mean", "sd", "low", "high")},
    **{f"{side}_{name}": "int64" for side in "ab" for name in ("trainings", "chains")},
    **{f"{side}_keys": "str" for side in "ab"},
    **dict.fromkeys(("difference", "low", "high", "adjusted_low", "adjusted_high"), "float64"),
    "primary": "bool",
    **dict.fromkeys(("outcome", "sentence"), "str"),
}
_PRIMARY = (SIGNS_CARRY.name, ACCURACY.name)


@dataclass(frozen=True)
class ComparedPart:
    """One data set, architecture and preset that both stores have.

    Attributes:
        a, b: its results in the stores, whose names are ``names``.
        fields: ``field``, ``a`` and ``b``: fields of the recipe that differ, with their values as JSON; a value is
            missing if that store's recipe has no such field.
        equal_fields: number of fields that are equal; None if a store has no recipe, as sweeps of earlier versions.
        stages: number of stages that both stores hold by name; ``same`` of them have the same key, so both stores made
            them from the same recipe, seeds and data.
        unequal: of those with the same key, the number whose files or numbers differ.
        most_points: the largest difference of accuracies or barriers among those with the same key.
        results: one row per result that both have: ``result`` (a measure's or a question's name), ``measure``, ``of``
            (in words), ``unit`` (of the means), ``difference_unit``, ``method`` and ``transfer`` (missing if it has
            none), ``density``; of each side ``mean``, ``sd``, ``low``, ``high`` (95 %), ``trainings``, ``chains``,
            ``keys``; ``difference`` (b - a) with its 95 % interval ``low`` and ``high`` and, adjusted for all results
            of the part, ``adjusted_low`` and ``adjusted_high``; ``primary``; ``outcome`` (``DIFFERS``, ``NOT_SHOWN``,
            ``NO_INTERVAL`` or ``UNJUDGED``) and ``sentence``. A measure that only some studies have is compared if
            the study of either store asks about it.
        only: by store, the results that only it has, in words.
    """

    names: tuple[str, str]
    a: Section
    b: Section
    fields: pd.DataFrame
    equal_fields: int | None
    stages: int
    same: int
    unequal: int
    most_points: float
    results: pd.DataFrame
    only: dict[str, list[str]]

    @property
    def replication(self) -> bool:
        """Whether every stage that both stores hold by name was made from the same recipe, seeds and data."""
        return 0 < self.stages == self.same


def compare_parts(a: Frames, b: Frames, unequal: pd.DataFrame, names: tuple[str, str]) -> list[ComparedPart]:
    """Compare what two stores have in common, part by part.

    Args:
        unequal: the stages that both hold with different results: the frame ``disagreements`` of both.
    """
    of_b = {_setting(section): section for section in sections(b)}
    return [
        _part(section, of_b[_setting(section)], unequal, names) for section in sections(a) if _setting(section) in of_b
    ]


def parts_of_one(a: Frames, b: Frames, names: tuple[str, str]) -> dict[str, list[str]]:
    """Return the titles of the parts that only one of two stores has, by store."""
    titles = [{_setting(section): section.title for section in sections(frames)} for frames in (a, b)]
    return {
        name: [title for setting, title in own.items() if setting not in other]
        for name, own, other in zip(names, titles, reversed(titles), strict=True)
    }


def _setting(section: Section) -> tuple[str, ...]:
    return tuple(getattr(section, name) for name in SETTING)


def _part(a: Section, b: Section, unequal: pd.DataFrame, names: tuple[str, str]) -> ComparedPart:
    fields = a.frames.recipes.merge(b.frames.recipes, on="field", how="outer", suffixes=("_a", "_b"))
    fields = fields[["field", "value_a", "value_b"]].set_axis(["field", "a", "b"], axis=1)
    equal = fields["a"] == fields["b"]
    known = not (a.frames.recipes.empty or b.frames.recipes.empty)
    both = a.frames.stages.merge(b.frames.stages, on="name", suffixes=("_a", "_b"))
    same = both[both["key_a"] == both["key_b"]]
    apart = [same[f"{column}_a"] - same[f"{column}_b"] for column in ("test_accuracy_percent", "barrier_points")]
    further = [*dict.fromkeys([*_further(a), *_further(b)])]
    of_a, of_b = _cells(a, further), _cells(b, further)
    return ComparedPart(
        names=names,
        a=a,
        b=b,
        fields=fields[~equal] if known else fields[:0],
        equal_fields=int(equal.sum()) if known else None,
        stages=len(both),
        same=len(same),
        unequal=int(same["key_a"].isin(unequal["key"]).sum()),
        most_points=float(pd.concat(apart).abs().max()),
        results=_results(of_a, of_b, names, unfinished=bool(len(a.frames.missing) or len(b.frames.missing))),
        only={
            name: [_named(cell) for key, cell in own.items() if key not in other]
            for name, own, other in zip(names, (of_a, of_b), (of_b, of_a), strict=True)
        },
    )


def _further(section: Section) -> list[Question]:
    """Return the study's primary questions about measures that only some studies have."""
    primary = study_of(section).primary
    asked = questions_of(primary, section.frames.stages)
    return [each for each in asked if each.name in primary and each.measure not in ALWAYS]


def _cells(section: Section, further: Sequence[Question]) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    """Return every result of a section with its ``estimate``, by result, method, transfer and density in words.

    Args:
        further: questions about measures that only some studies have. Others of these measures are left out: each
            result widens the adjusted intervals of all.
    """
    cells: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    measures = (*ALWAYS, *(question.measure for question in further))
    for cell in (*_measured(section, measures), *_paired(section, (*QUESTIONS, *further))):
        labels = [cell[name] if isinstance(cell[name], str) else "" for name in ("method", "transfer")]
        at = "" if pd.isna(cell["density"]) else density(cell["density"])
        cells.setdefault((cell["result"], labels[0], labels[1], at), cell)
    return cells


def _measured(section: Section, measures: Collection[Measure]) -> Iterator[dict[str, Any]]:
    for row in numbers(section).to_dict("records"):
        for measure in (each for each in tabulated(row) if each in measures):
            summary = {name: row[f"{measure.name}_{name}"] for name in _SIDE}
            if pd.isna(summary["mean"]):
                continue
            replicates = int(summary["chains"]) or int(summary["trainings"])
            if replicates == 1:  # the spread is of the trainings of one chain
                summary |= dict.fromkeys(("sd", "low", "high"), nan)
            yield {
                **{name: row[name] for name in ("method", "transfer", "density")},
                **summary,
                "result": measure.name,
                "measure": measure.title,
                "of": transfer_name(row["transfer"]),
                "unit": measure.unit,
                "difference_unit": measure.difference_unit,
                "estimate": Estimate.of(summary["mean"], summary["sd"], replicates),
            }


def _paired(section: Section, questions: Iterable[Question]) -> Iterator[dict[str, Any]]:
    """Yield the differences of pairs; those against dense trainings are left out, whose replicates are not chains."""
    for question in questions:
        if "chain" not in question.partners:
            continue
        for cell in cells_of(section, question):
            if cell.paired.empty:
                continue
            paired = difference(cell.paired)
            error, freedom = paired.errors[0] if paired.chains > 1 else (nan, nan)
            estimate = Estimate(paired.mean, error, freedom)
            low, high = estimate.interval()
            yield {
                "method": cell.labels.get("method"),
                "transfer": None,
                "density": cell.labels["density"],
                "mean": paired.mean,
                "sd": error * paired.chains**0.5,
                "low": low,
                "high": high,
                "trainings": paired.pairs,
                "chains": paired.chains,
                "keys": f"{cell.sides['a']['keys']},{cell.sides['b']['keys']}",
                "result": question.name,
                "measure": question.measure.title,
                "of": question.title,
                "unit": question.measure.difference_unit,
                "difference_unit": question.measure.difference_unit,
                "estimate": estimate,
            }


def _results(
    of_a: Mapping[Any, dict[str, Any]], of_b: Mapping[Any, dict[str, Any]], names: tuple[str, str], *, unfinished: bool
) -> pd.DataFrame:
    both = sorted(of_a.keys() & of_b.keys(), key=lambda key: _order(of_a[key]))
    apart = [of_b[key]["estimate"] - of_a[key]["estimate"] for key in both]
    tested = [place for place, difference_ in enumerate(apart) if difference_.error >= 0]  # the others have no interval
    primary = _primary([of_a[both[place]] for place in tested])
    share = dict(zip(tested, shares(len(tested), primary), strict=True))
    rows = []
    for place, key in enumerate(both):
        a, b = of_a[key], of_b[key]
        low, high = apart[place].interval()
        adjusted_low, adjusted_high = apart[place].interval(LEVEL * share.get(place, nan))
        row = {
            **{name: a[name] for name in _LABELS},
            **{f"{side}_{name}": cell[name] for side, cell in (("a", a), ("b", b)) for name in _SIDE},
            "difference": apart[place].mean,
            "low": low,
            "high": high,
            "adjusted_low": adjusted_low,
            "adjusted_high": adjusted_high,
            "primary": place in [tested[each] for each in primary],
            "outcome": _outcome(adjusted_low, adjusted_high, unfinished=unfinished),
        }
        rows.append({**row, "sentence": _sentence(row, names)})
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(_COLUMNS)


def _order(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sort by measure, the sparsest first, then by method and start; paired differences come last, by question."""
    measures = [measure.title for measure in MEASURES]
    question = "" if isinstance(cell["transfer"], str) else cell["of"]
    sparsity = 2.0 if pd.isna(cell["density"]) else float(cell["density"])
    names = [rank(cell[name]) if isinstance(cell[name], str) else (-1, "") for name in ("method", "transfer")]
    return (bool(question), measures.index(cell["measure"]), question, sparsity, *names)


def _primary(cells: list[dict[str, Any]]) -> set[int]:
    """Return the places of signs against masks, and of the signed transfers' accuracy, at the sparsest density."""
    asked = [
        (place, cell["density"])
        for place, cell in enumerate(cells)
        if cell["result"] in _PRIMARY and cell["transfer"] in ("signed", None)
    ]
    sparsest = min((at for _, at in asked), default=None)
    return {place for place, at in asked if at == sparsest}


def _outcome(low: float, high: float, *, unfinished: bool) -> str:
    if pd.isna(low):
        return NO_INTERVAL
    if unfinished:
        return UNJUDGED
    return DIFFERS if low > 0 or high < 0 else NOT_SHOWN


def _named(cell: Mapping[str, Any]) -> str:
    """Name a result: test accuracy, signed transfer under AWS at density 0.107."""
    under = f" under {method_name(cell['method'])}" if isinstance(cell["method"], str) else ""
    at = "" if pd.isna(cell["density"]) else f" at density {density(cell['density'])}"
    return f"{cell['measure']}, {cell['of']}{under}{at}"


def _sentence(row: Mapping[str, Any], names: tuple[str, str]) -> str:
    claim = {DIFFERS: DIFFERS, NO_INTERVAL: "has no interval"}.get(row["outcome"], f"is {row['outcome']}")
    sides = [
        f"{mean_sd(row[f'{side}_mean'], row[f'{side}_sd'])} in {name} ({_replicates(row, side)})"
        for side, name in zip("ab", names, strict=True)
    ]
    ends = [f"[{number(row[f'{of}low'])}, {number(row[f'{of}high'])}]" for of in ("", "adjusted_")]
    interval = "" if pd.isna(row["low"]) else f" {ends[0]}, adjusted {ends[1]}"
    minus = f"{names[1]} − {names[0]} is {signed(row['difference'])} {row['difference_unit']}{interval}"
    return f"{begin(_named(row))}, {claim}: {' against '.join(sides)}, in {row['unit']}; {minus}."


def _replicates(row: Mapping[str, Any], side: str) -> str:
    chains = int(row[f"{side}_chains"])
    return count(chains, "chain") if chains else count(int(row[f"{side}_trainings"]), "training")
