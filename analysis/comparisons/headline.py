"""The first words about a section: what its study asks, the answer, and how sure it is.

The study's primary questions lead. A study that declares none asks whether signs carry accuracy; one that trains no
such pair asks the first question that its results can answer, or only which accuracy is reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import pandas as pd

from analysis.comparisons.labels import (
    begin,
    count,
    density,
    mean_sd,
    method_name,
    number,
    percent,
    sample,
    signed,
    transfer_name,
)
from analysis.comparisons.measures import ACCURACY
from analysis.comparisons.questions import QUESTIONS, SIGNS_CARRY, Arm, Question, questions_of
from analysis.comparisons.sentences import DIGITS, NEGLIGIBLE, NOT_SHOWN, REVERSE, SHOWN, interval
from analysis.comparisons.statistics import at_last_round, sources, spread
from analysis.comparisons.study import Study
from analysis.frames.sections import Section

_CLAIM = "the signs of a pruned network carry accuracy that its mask alone does not"
_CLAIM_REVERSED = "the signs of a pruned network cost accuracy that its mask alone keeps"
_MOST_STARTS = 4  # named in a verdict
ASKED = "Do the signs of a pruned network carry accuracy that its mask alone does not?"
"""The question of a study that declares none."""
ASKED_WITHOUT_COMPARISON = "Which test accuracy do the networks of this study reach?"


def asked(section: Section, compared: pd.DataFrame, study: Study) -> str:
    """Return the questions that ``verdict`` answers, as one.

    Args:
        compared: the section's ``comparisons``.
    """
    questions = _leading(section, compared, study)
    if questions == [SIGNS_CARRY]:
        return ASKED
    if not questions:
        return ASKED_WITHOUT_COMPARISON
    return f"Is it shown that {_listed([_claim(each) for each in questions])}?"


def verdict(section: Section, compared: pd.DataFrame, study: Study) -> tuple[str, str]:
    """Answer the leading questions, each at the sparsest density that has a pair.

    Args:
        compared: the section's ``comparisons``.

    Returns:
        The claim, and what it rests on.
    """
    dense = spread(Arm("dense").of(section.trainings), ["transfer"], ACCURACY.column).to_dict("records")
    head = f"Preliminary: {study.progress()}" if study.preliminary else ""
    questions = _leading(section, compared, study)
    if not questions:
        return _without_comparison(section, study, dense)
    rows = {question: _sparsest(compared, question) for question in questions}
    if all(each.empty for each in rows.values()):
        sides = "a signed and a mask transfer" if questions == [SIGNS_CARRY] else "the two sides"
        unknown = f"{begin(_unknown(_listed(list(map(_claim, questions)))))}: too few pairs of {sides} are done"
        return head or unknown, " ".join([*([f"{unknown}."] if head else []), *_reached(dense)])
    against = "".join(f"; dense training reaches {percent(row['mean'], DIGITS)}" for row in dense)
    so_far = "so far, at" if head else "at"
    grounds = _grounds({question: each for question, each in rows.items() if len(each)})
    claim = head or begin("; ".join(_judged(question, each) for question, each in rows.items()))
    return claim, begin(f"{so_far} {grounds}{against}.")


def sureness(section: Section, compared: pd.DataFrame, study: Study) -> str:
    """State how sure the verdict is: each difference with its interval, the looks, and the risk of an error.

    Args:
        compared: the section's ``comparisons``.
    """
    sentences = []
    for question in _leading(section, compared, study):
        rows = _sparsest(compared, question)
        gains = [
            f"{signed(row['difference'], DIGITS)} {row['difference_unit']}{_under([row['method']])}, {_over(row)}"
            for row in rows[rows["low"].notna()].to_dict("records")
        ]
        title = f"{question.measure.title}, {question.title}"
        title = "Signed minus mask transfers" if question == SIGNS_CARRY else title
        sentences += [f"{begin(title)}: {'; '.join(gains)}."] if gains else []
    sentences.append(study.plan())
    if not study.preliminary and not compared.empty:
        sentences.append("All that is called shown here has a 5 % risk, together, of one false claim or more.")
    return " ".join(sentences)


def _leading(section: Section, compared: pd.DataFrame, study: Study) -> list[Question]:
    """Return the questions that come first: of the primary ones those whose sides are planned or done."""
    both = pd.concat([section.frames.stages, section.frames.missing])
    known = set(both["transfer"].dropna())
    primary = [each for each in questions_of(study.primary, both) if each.name in study.primary]
    possible = [each for each in primary if {each.a.transfer, each.b.transfer} <= known]
    if possible:
        return sorted(possible, key=lambda each: study.primary.index(each.name))
    answered = set(compared.loc[compared["pairs"] > 0, "question"])
    return [each for each in QUESTIONS if each.name in answered][:1]


def _sparsest(compared: pd.DataFrame, question: Question) -> pd.DataFrame:
    """Return the question's comparisons at the sparsest density that has a pair."""
    return _at_sparsest(compared[(compared["question"] == question.name) & (compared["pairs"] > 0)])


def _at_sparsest(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the last round, of the sweep's own tickets if there are any."""
    own = rows[sources(rows) == ""]
    rows = rows if own.empty else own
    return rows[at_last_round(rows)]


def _judged(question: Question, rows: pd.DataFrame) -> str:
    """State how far a claim is shown, by method if methods differ."""
    if rows.empty:
        return _unknown(_claim(question))
    signs = question == SIGNS_CARRY
    between = "the accuracy of signed and mask transfers" if signs else f"{question.measure.title} ({question.title})"
    first = {
        SHOWN: _claim(question),
        NOT_SHOWN: f"it is not shown that {_claim(question)}",
        REVERSE: _CLAIM_REVERSED if signs else question.reverse,
        NEGLIGIBLE: f"{between} differs by less than the study's margin",
    }
    then = {NOT_SHOWN: "this is not shown", REVERSE: "the reverse is shown", NEGLIGIBLE: "the difference is negligible"}
    methods = {outcome: rows.loc[rows["outcome"] == outcome, "method"].tolist() for outcome in first}
    head, *rest = [outcome for outcome, names in methods.items() if names]
    under = {outcome: _under(names) if rest else "" for outcome, names in methods.items()}
    mixed = "mixed: " if {SHOWN, REVERSE} <= {head, *rest} else ""
    return mixed + first[head] + under[head] + "".join(f", but {then[outcome]}{under[outcome]}" for outcome in rest)


def _grounds(rows_of: Mapping[Question, pd.DataFrame]) -> str:
    """Write both sides' means of each question; the density where it is not that of the question before."""
    grounds, last = "", ""
    for question, rows in rows_of.items():
        at = float(rows["density"].mean())
        share = f"density {density(at)} ({percent(100 * at, DIGITS)} of the prunable weights)"
        where = "; " if share == last else f"; at {share} " if last else f"{share} "
        grounds, last = f"{grounds}{where}{_ground(question, rows)}", share
    return grounds


def _ground(question: Question, rows: pd.DataFrame) -> str:
    a, b = (_by_method(question, rows, f"{side}_mean") for side in "ab")
    if question == SIGNS_CARRY:
        return f"a random initialisation with the signed mask reaches {a}, with the mask alone {b}"
    return f"{question.measure.title}: {_side(question.a)} {a}, {_side(question.b)} {b}"


def _without_comparison(section: Section, study: Study, dense: Sequence[Mapping[Any, Any]]) -> tuple[str, str]:
    """State the accuracies at the sparsest density, where no two starts are compared."""
    pruned = _at_sparsest(section.trainings[section.trainings["round"].notna()])
    sparse = spread(pruned, ["method", "transfer"], ACCURACY.column)
    each = [
        f"{percent(row['mean'], DIGITS)} ({method_name(row['method'])} {transfer_name(row['transfer'])}, "
        f"{sample(row['trainings'], row['chains'])})"
        for row in sparse.sort_values("mean", ascending=False).to_dict("records")
    ]
    listed = (
        f"between {each[-1]} and {each[0]}, over {len(each)} starts" if len(each) > _MOST_STARTS else ", ".join(each)
    )
    accuracies = [f"At density {density(float(sparse['density'].mean()))} test accuracy is {listed}."] if each else []
    accuracies += _reached(dense)
    if study.done < study.planned:
        return f"Preliminary: {study.progress()}", " ".join(accuracies)
    first = accuracies[0].removesuffix(".") if accuracies else "No final training is done yet"
    return first, " ".join(accuracies[1:])


def _reached(dense: Sequence[Mapping[Any, Any]]) -> list[str]:
    return [
        f"Dense training reaches {mean_sd(row['mean'], row['sd'], DIGITS)} % ({sample(row['trainings'], 0)})."
        for row in dense
    ]


def _claim(question: Question) -> str:
    return _CLAIM if question == SIGNS_CARRY else question.claim


def _unknown(claim: str) -> str:
    return f"whether {claim} is not yet known"


def _side(arm: Arm) -> str:
    return f"{method_name(arm.method) if arm.method else ''} {transfer_name(arm.transfer)}".strip()


def _over(row: Mapping[Any, Any]) -> str:
    """Write the interval that decided, and its replicates; before a look, the 95 % interval."""
    over = f"n = {count(row['pairs'], 'pair')} in {count(row['chains'], 'chain')}"
    if isnan(row["adjusted_low"]):
        return f"95 % interval {interval(row['low'], row['high'])}, {over}"
    return f"adjusted interval {interval(row['adjusted_low'], row['adjusted_high'])}, {over}"


def _under(methods: Sequence[object]) -> str:
    """Name the methods of comparisons; nothing for a comparison of methods."""
    names = [method_name(name) for name in methods if isinstance(name, str)]
    return f" under {' and '.join(names)}" if names else ""


def _by_method(question: Question, rows: pd.DataFrame, column: str) -> str:
    """Write a value per method: 88.3 % (LRR) and 84.1 % (AWS)."""
    unit = question.measure.unit
    values = [percent(mean, DIGITS) if unit == "%" else f"{number(mean, DIGITS)} {unit}" for mean in rows[column]]
    names = [f" ({method_name(name)})" if isinstance(name, str) else "" for name in rows["method"]]
    return " and ".join(f"{value}{name}" for value, name in zip(values, names, strict=True))


def _listed(claims: Sequence[str]) -> str:
    """Join claims that follow the word "that"."""
    return ", and that ".join([", that ".join(claims[:-1]), claims[-1]]) if len(claims) > 1 else claims[0]
