"""Write a study's results file, picture and block of docs/findings.md from its finished store.

    python -m tests.docs.findings controls_small STORE

docs/findings/NAME.json holds what the report states (``results.json`` of ``winning-sign report --export``). The block
of docs/findings.md between two comments is written from that file alone, and a test compares them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from math import nan
from pathlib import Path

from analysis import load
from analysis.comparisons.labels import density, mean_sd, method_name, transfer_name
from analysis.page.results import Numbers, Part, Results, results
from tests.browser.pictures import take_figure
from tests.docs.results_tables import answers, comparisons_table, computed_on, replace_block

PAGE = Path(__file__).parents[2] / "docs" / "findings.md"
FOLDER = PAGE.with_suffix("")
BEGIN, END = "<!-- {name}: python -m tests.docs.findings writes it -->\n", "<!-- the end of {name} -->\n"
MOST_BYTES = 300_000
PICTURED = {"controls_small": "accuracy_by_start", "figure3_small": "path_to_the_solution_elsewhere"}
"""The report's figure that stands for each study."""
_STORE, _DATA_ROOT = re.compile(r" --store \S+"), re.compile(r"(?<= --data-root )\S+")


def block(results: Results) -> Iterator[str]:
    """Yield what the page says of a results file: command, machine, hours, answers, numbers and comparisons."""
    for part in results.parts:
        yield f"`{part.command}`"
        yield ""
        yield f"{computed_on(results)} The stages took {results.stage_hours:.1f} hours, added up. {part.study}"
        yield ""
        yield from answers(part)
        yield ""
        yield from starts_table(part)
        yield ""
        yield from comparisons_table(part)


def starts_table(part: Part) -> Iterator[str]:
    """Yield accuracy in percent, barrier and stability in points, by start: mean ± standard deviation over chains."""
    methods = list(dict.fromkeys(row.method for row in part.numbers if row.method is not None))
    measures = ("accuracy", "barrier", "stability")
    heads = [f"{measure}, {method_name(method)}" for measure in measures for method in methods]
    yield f"| density | start | {' | '.join(heads)} |"
    yield "|---:|---|" + "---:|" * len(heads)
    rows = {(row.round, row.transfer, row.method): row for row in part.numbers}
    for place, start in dict.fromkeys((row.round, row.transfer) for row in part.numbers if row.method is not None):
        of_start = [rows.get((place, start, method)) for method in methods]
        shown = next(row.density for row in of_start if row is not None)
        cells = [_cell(row, measure) for measure in measures for row in of_start]
        yield f"| {density(nan if shown is None else shown)} | {transfer_name(start)} | {' | '.join(cells)} |"
    for row in part.numbers:
        if row.method is None:
            yield f"| 1 | {transfer_name(row.transfer)} | {_cell(row, 'accuracy')} |" + " |" * (len(heads) - 1)


def _cell(row: Numbers | None, measure: str) -> str:
    summary = row.measures.get(measure) if row is not None else None  # type: ignore[call-overload]
    return mean_sd(summary.mean, nan if summary.sd is None else summary.sd, 1) if summary is not None else ""


def pictures(name: str) -> dict[Path, str]:
    """Return the files of a study's picture, and the colour scheme of each."""
    return {FOLDER / f"{name}.png": "light", FOLDER / f"{name}-dark.png": "dark"}


def _without_places(results: Results) -> Results:
    """Leave out of the commands where the store lay, and write the data's folder as the documents do."""
    commands = [_DATA_ROOT.sub("~/data", _STORE.sub("", part.command)) for part in results.parts]
    parts = [
        part.model_copy(update={"command": command}) for part, command in zip(results.parts, commands, strict=True)
    ]
    return results.model_copy(update={"parts": parts})


def main(name: str, store: str) -> None:
    """Write the file, the pictures and the block.

    Raises:
        ValueError: the study has no figure of its own here, or the results file would be too large to commit.
    """
    if name not in PICTURED:
        raise ValueError(f"{name}: name the figure that stands for it in PICTURED")
    stated = _without_places(results(load(store)))
    text = stated.model_dump_json(indent=1)
    if len(text) > MOST_BYTES:
        raise ValueError(f"{name}: {len(text):,} bytes of results; at most {MOST_BYTES:,} are committed")
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
    for file, scheme in pictures(name).items():
        take_figure(Path(store) / "report.html", PICTURED[name], file, scheme)
    replace_block(PAGE, BEGIN.format(name=name), END.format(name=name), block(stated))


if __name__ == "__main__":
    main(*sys.argv[1:])
