"""Write the demo's numbers into README and RESULTS from its store: ``python -m tests.docs.demo_numbers sweeps``.

Each document has a block between two comments; the text between them comes from the store alone, with the machine and
the commit that computed it. `make picture` runs this beside the pictures.
"""

from __future__ import annotations

import sys
from pathlib import Path

from analysis import load
from analysis.page.results import results
from tests.docs.results_tables import answers, comparisons_table, computed_on, numbers_table, replace_block

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- the demo's numbers: make picture writes them -->\n", "<!-- the end of the demo's numbers -->\n"


def main(store: str) -> None:
    """Write both documents."""
    stated = results(load(store))
    [part] = stated.parts
    numbers = [*numbers_table(part), "", computed_on(stated), "", *answers(part)]
    replace_block(ROOT / "README.md", BEGIN, END, numbers)
    intervals = [*comparisons_table(part), "", part.study, "", computed_on(stated)]
    replace_block(ROOT / "benchmarks" / "RESULTS.md", BEGIN, END, intervals)


if __name__ == "__main__":
    main(sys.argv[1])
