"""Choose the pairs of tickets to compare, count each ticket's signs, and measure flips and agreement."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analysis.signs.shared import AGREEMENT, OVERLAP, flipped, shared, signed

PAIRS = ("rounds_previous", "rounds_last", "chains", "methods")
SETTING = ["dataset", "architecture", "preset"]
COUNT_COLUMNS = ("tensor", "role", "weights", "surviving", "positive", "negative", "density")
FLIP_COLUMNS = ("other_key", "density", "tensor", "common", "signed", "flipped", "flipped_percent")
_OTHER = ("other_key", "other_method", "other_chain", "other_round", "other_density")
AGREEMENT_COLUMNS = ("pair", "density", *_OTHER, *OVERLAP, *AGREEMENT)


def ticket_pairs(tickets: pd.DataFrame, wanted: pd.DataFrame) -> pd.DataFrame:
    """Choose the pairs to compare: a few per ticket, however many rounds a chain has.

    Args:
        tickets: stages with a ticket, one row each.
        wanted: stages that are done or planned; they give the last round of a sweep, and of each source of tickets
            from elsewhere. A chain that has not reached the last round has no pair with it, since while a sweep runs
            chains are at different rounds.

    Returns:
        ``key``, ``other_key`` and ``pair``: "itself"; "rounds_previous" and "rounds_last", with the previous and
        with the last round of the same chain and method; "chains", two chains of the same method and round; "methods",
        two methods in the same chain and round. Sorted by setting and round. Superseded tickets have no pair but
        "itself".
    """
    rows = tickets[["key", *SETTING, "method", "chain", "round", "superseded"]]
    current = rows[~rows["superseded"]].dropna(subset=["method", "chain", "round"])
    of_source = [*SETTING, "source"]
    last = wanted.assign(source=_source(wanted)).groupby(of_source)["round"].max().rename("last").reset_index()
    previous = current.assign(round=current["round"] + 1)
    ends = current.assign(source=_source(current)).merge(last, on=of_source)
    ends = ends[ends["round"] == ends["last"]].drop(columns=["round", "last", "source"])
    chains = _matched(current, current, ["method", "round"])
    methods = _matched(current, current, ["chain", "round"])
    to_last = _matched(current, ends, ["method", "chain"])
    parts = [
        rows.assign(other_key=rows["key"], pair="itself"),
        _matched(current, previous, ["method", "chain", "round"]).assign(pair="rounds_previous"),
        to_last[to_last["key"] != to_last["other_key"]].assign(pair="rounds_last"),
        chains[chains["chain"] < chains["other_chain"]].assign(pair="chains"),
        methods[methods["method"] < methods["other_method"]].assign(pair="methods"),
    ]
    table = pd.concat(parts, ignore_index=True).sort_values([*SETTING, "round"], kind="stable", ignore_index=True)
    return table[["key", "other_key", "pair"]].astype("str")


def _source(rows: pd.DataFrame) -> pd.Series:
    """Where tickets are from, "theirs" of "aws@theirs", since such a source counts its rounds by itself; else empty."""
    return rows["method"].fillna("").map(lambda method: method.partition("@")[2])


def ticket_counts(compared: pd.DataFrame) -> pd.DataFrame:
    """Return one row per ticket and tensor.

    Args:
        compared: from ``comparisons``; only pairs of a ticket with itself count.

    Returns:
        Columns ``key``, ``tensor``, ``role``, ``weights``, ``surviving`` (positive, negative and surviving zeros),
        ``positive``, ``negative`` and ``density`` (surviving / weights; NaN in an empty tensor).
    """
    itself = compared[compared["key"] == compared["other_key"]]
    names = {"alive": "surviving", "both_positive": "positive", "both_negative": "negative"}
    counts = itself.rename(columns=names)
    return counts.assign(density=counts["surviving"] / counts["weights"])[["key", *COUNT_COLUMNS]]


def flips(pairs: pd.DataFrame, compared: pd.DataFrame) -> pd.DataFrame:
    """Count the signs of each tensor that changed since the previous round.

    Args:
        pairs: from ``ticket_pairs``.
        compared: from ``comparisons``.

    Returns:
        One row per ticket with a predecessor and per prunable tensor: ``key`` and ``FLIP_COLUMNS``: ``other_key``
        (the predecessor's), ``density`` (the whole ticket's), ``tensor``, ``common`` (weights alive in both),
        ``signed`` (of these, with a sign in both), ``flipped`` (of these, with opposite ones), ``flipped_percent``
        (of the signed; NaN without any).
    """
    rows = _prunable(pairs[pairs["pair"] == "rounds_previous"], compared)
    totals = rows.groupby("key")[["alive", "weights"]].transform("sum")
    rows = rows.assign(
        density=totals["alive"] / totals["weights"],
        signed=signed(rows),
        flipped=flipped(rows),
    )
    rows["flipped_percent"] = 100 * rows["flipped"] / rows["signed"]
    return rows[["key", *FLIP_COLUMNS]]


def agreement(pairs: pd.DataFrame, compared: pd.DataFrame, tickets: pd.DataFrame) -> pd.DataFrame:
    """Measure how far masks and signs of two tickets agree over all prunable tensors, and how far by chance.

    ``analysis.signs.shared`` has the definitions.

    Args:
        pairs: from ``ticket_pairs``.
        compared: from ``comparisons``.
        tickets: as for ``ticket_pairs``; they give the labels of each pair's other ticket.

    Returns:
        One row per pair: ``key`` and ``AGREEMENT_COLUMNS``: ``pair``; both tickets' densities and the other's
        labels; ``common`` and ``union`` (weights alive in both and in either), ``overlap_percent`` (common /
        union) and ``chance_overlap_percent`` (of independent masks); ``signed`` (common weights with a sign in both),
        ``equal`` (of these, with the same), ``agreement_percent`` (equal / signed) and ``chance_agreement_percent``
        (of independent signs).
    """
    rows = _prunable(pairs[pairs["pair"].isin(PAIRS)], compared)
    table = shared(rows, ["pair", "key", "other_key"])
    other = tickets[["key", "method", "chain", "round"]].add_prefix("other_")
    return table.merge(other, on="other_key")[["key", *AGREEMENT_COLUMNS]]


def _matched(a: pd.DataFrame, b: pd.DataFrame, on: Sequence[str]) -> pd.DataFrame:
    """Return all pairs of rows with equal setting and ``on``; the second row's columns are prefixed with ``other_``."""
    shared = [*SETTING, *on]
    other = b.rename(columns={name: f"other_{name}" for name in b if name not in shared})
    return a.merge(other, on=shared)


def _prunable(pairs: pd.DataFrame, compared: pd.DataFrame) -> pd.DataFrame:
    return pairs.merge(compared[compared["role"] == "prunable"], on=["key", "other_key"])
