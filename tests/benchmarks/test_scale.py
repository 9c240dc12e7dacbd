"""``python -m benchmarks.scale`` measures all of its parts, in a process of its own: it starts Ray. Slow."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow(seconds=90)]


@pytest.mark.long
def test_every_part_of_scale_has_a_row_in_the_tables() -> None:
    command = [sys.executable, "-m", "benchmarks.scale", "--stages", "20", "--no-op-stages", "20"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("| ")]
    measured = {row[0].strip(): row[1].strip() for row in rows if len(row) == 5}
    (finished,) = (name for name in measured if name.startswith("a finished sweep of"))
    assert {"planning", "one of 20 empty stages, through Ray"} <= {*measured, *(n.split()[0] for n in measured)}
    assert float(measured[finished].removesuffix(" s")) > 0
    assert float(measured["its report, rendered again"].removesuffix(" s")) > 0
    ratios = [float(row[6]) for row in rows if len(row) == 9 and row[1].strip() in ("64", "1,024")]
    assert len(ratios) == 12
    assert min(ratios) > 0.999
