"""Writes the results of a store, as ``results.json`` has them, into a block of a Markdown document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import nan
from pathlib import Path
from textwrap import fill

from analysis.comparisons.labels import density, mean_sd, method_name, number
from analysis.page.results import Part, Results

COLUMNS = (
    ("retrain", "retrain", "accuracy"),
    ("signed transfer", "signed", "accuracy"),
    ("mask transfer", "mask", "accuracy"),
    ("barrier, signed", "signed", "barrier"),
    ("barrier, mask", "mask", "barrier"),
    ("stability, signed", "signed", "stability"),
)
"""Head, start and measure of each column of ``numbers_table``."""


def computed_on(results: Results) -> str:
    """Name the machines and commits that computed the stages."""
    commits = " and ".join(commit[:7] for commit in results.git_commits)
    return f"Computed on {' and '.join(results.machines)}, at commit {commits or 'unknown'}."


def numbers_table(part: Part) -> Iterator[str]:
    """Yield a table of mean ± standard deviation over chains, a row for each method and density."""
    yield f"| density | method | {' | '.join(head for head, _, _ in COLUMNS)} |"
    yield "|---" * (2 + len(COLUMNS)) + "|"
    of_methods = [row for row in part.numbers if row.method is not None]
    for place, method in dict.fromkeys((row.round, row.method) for row in of_methods):
        rows = {row.transfer: row for row in of_methods if (row.round, row.method) == (place, method)}
        densities = [row.density for row in rows.values() if row.density is not None]
        cells = [density(sum(densities) / len(densities)), method_name(str(method))]
        for _, start, measure in COLUMNS:
            summary = rows[start].measures.get(measure) if start in rows else None  # type: ignore[call-overload]
            cells.append(mean_sd(summary.mean, nan if summary.sd is None else summary.sd, 1) if summary else "")
        yield f"| {' | '.join(cells)} |"


def answers(part: Part) -> Iterator[str]:
    """Yield what the adjusted decisions support, a sentence each."""
    for sentence in (f"{part.verdict}.", *part.answers):
        yield fill(sentence, 120, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


def comparisons_table(part: Part) -> Iterator[str]:
    """Yield a table of every comparison with both intervals."""
    yield "| comparison | density | difference, points | 95 % interval | adjusted | outcome |"
    yield "|---|---:|---:|---:|---:|---|"
    for row in part.comparisons:
        method = f", {method_name(row.method)}" if row.method else ""
        intervals = ((row.low, row.high), (row.adjusted_low, row.adjusted_high))
        ends = [
            "" if low is None or high is None else f"{number(low, 1)} to {number(high, 1)}" for low, high in intervals
        ]
        difference = "" if row.difference is None else number(row.difference, 1)
        title = f"{row.measure}, {row.title}{method}"
        yield f"| {' | '.join((title, density(row.density), difference, *ends, row.outcome))} |"


def replace_block(document: Path, begin: str, end: str, lines: Iterable[str]) -> None:
    """Replace what a document has between two comments, each a line."""
    before, rest = document.read_text(encoding="utf-8").split(begin)
    _, after = rest.split(end, 1)
    block = "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")
    document.write_text(f"{before}{begin}\n{block}\n\n{end}{after}", encoding="utf-8")
