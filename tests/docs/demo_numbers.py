"""Write the demo's numbers into README and RESULTS from its store: ``python -m tests.docs.demo_numbers sweeps``.

Each document has a block between two comments; the text between them comes from the store alone, with the machine and
the commit that computed it. `make picture` runs this beside the pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill

import pandas as pd

from analysis import load
from analysis.comparisons.judgements import judgements
from analysis.comparisons.labels import density, mean_sd, method_name, number
from analysis.comparisons.measures import numbers
from analysis.comparisons.study import study_of
from analysis.frames.load import Frames
from analysis.frames.sections import sections

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- the demo's numbers: make picture writes them -->\n", "<!-- the end of the demo's numbers -->\n"
MEASURED = (
    ("retrain", "accuracy"),
    ("signed", "accuracy"),
    ("mask", "accuracy"),
    ("signed", "barrier"),
    ("mask", "barrier"),
    ("signed", "stability"),
)
HEADS = (
    "density",
    "method",
    "retrain",
    "signed transfer",
    "mask transfer",
    "barrier, signed",
    "barrier, mask",
    "stability, signed",
)


def made_on(frames: Frames) -> str:
    """Name the machines and commits that computed a store."""
    stages = frames.stages
    machines = sorted(set((stages["processor"].fillna("") + " " + stages["device"].fillna("")).str.strip()))
    commits = sorted({commit[:7] for commit in stages["git_commit"].dropna()})
    return f"Computed on {' and '.join(machines)}, at commit {' and '.join(commits) or 'unknown'}."


def table(frames: Frames) -> Iterator[str]:
    """Yield the table of README: mean ± standard deviation over chains."""
    [section] = sections(frames)
    rows = numbers(section)
    yield f"| {' | '.join(HEADS)} |"
    yield "|---" * len(HEADS) + "|"
    for _, cells in rows[rows["method"].notna()].groupby(["round", "method"], sort=False):
        method = str(cells["method"].iloc[0])
        by_transfer = cells.set_index("transfer")
        values: list[str] = []
        for transfer, measure in MEASURED:
            row = by_transfer.loc[transfer]
            mean, sd = row[f"{measure}_mean"], row[f"{measure}_sd"]
            values.append("" if pd.isna(mean) else mean_sd(mean, sd, 1).replace("\N{NO-BREAK SPACE}", " "))
        yield f"| {density(cells['density'].mean())} | {method_name(method)} | {' | '.join(values)} |"


def answered(frames: Frames) -> Iterator[str]:
    """Yield what the adjusted decisions support, a sentence each."""
    for part in judgements(frames):
        for sentence in (f"{part['verdict']}.", *part["answers"]):
            yield fill(sentence, 120, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


def intervals(frames: Frames) -> Iterator[str]:
    """Yield every comparison with both intervals."""
    [section] = sections(frames)
    [part] = judgements(frames)
    yield "| comparison | density | difference, points | 95 % interval | adjusted | outcome |"
    yield "|---|---:|---:|---:|---:|---|"
    for row in part["comparisons"]:
        method = f", {method_name(row['method'])}" if row["method"] else ""
        ends = [
            "" if row[low] is None else f"{number(row[low], 1)} to {number(row[high], 1)}"
            for low, high in (("low", "high"), ("adjusted_low", "adjusted_high"))
        ]
        title = f"{row['measure']}, {row['title']}{method}"
        cells = (title, density(row["density"]), number(row["difference"], 1), *ends, row["outcome"])
        yield f"| {' | '.join(cells)} |"
    study = study_of(section)
    yield ""
    yield f"{study.plan()}"


def write(document: Path, lines: Iterator[str]) -> None:
    """Replace a document's block."""
    text = document.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    block = "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")
    document.write_text(f"{before}{BEGIN}\n{block}\n\n{END}{after}", encoding="utf-8")


def main(store: str) -> None:
    """Write both documents."""
    frames = load(store)
    write(ROOT / "README.md", iter([*table(frames), "", made_on(frames), "", *answered(frames)]))
    write(ROOT / "benchmarks" / "RESULTS.md", iter([*intervals(frames), "", made_on(frames)]))


if __name__ == "__main__":
    main(sys.argv[1])
