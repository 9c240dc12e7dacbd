"""The example notebook runs from top to bottom, and shows every figure."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbclient import NotebookClient

from analysis import figures
from tests.support import environments

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

ROOT = Path(__file__).parents[3]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
REPOSITORY = "https://github.com/winning-sign/winning-sign"
# comparison_figure is of tickets' files, and stores_compared of two stores
OF_ONE_STORE = set(figures.__all__) - {"CATALOGUE", "Entry", "comparison_figure", "stores_compared"}


def test_the_notebook_runs(sweep: SyntheticStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNING_SIGN_STORE", str(sweep.root))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": NOTEBOOK.parent}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    drawn = [output for output in shown if "application/vnd.plotly.v1+json" in output.get("data", {})]
    assert len(drawn) >= len(OF_ONE_STORE)
    assert any("+10.0 points" in output.get("text", "") for output in shown)


def test_it_shows_every_figure_and_holds_small_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells)
    missing = {name for name in OF_ONE_STORE if f"figures.{name}(" not in source}
    assert not missing
    assert NOTEBOOK.stat().st_size < 300_000
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs, f"execute the notebook again (docs/report.md): no output of {cell.source}"
    kinds = {kind for cell in notebook.cells for output in cell.get("outputs", ()) for kind in output.get("data", {})}
    assert "image/png" in kinds
    assert not any("plotly" in kind for kind in kinds)


HOSTED = """
import os, sys
import nbformat
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
for source in [cell.source for cell in nbformat.read(sys.argv[1], as_version=4).cells if cell.cell_type == "code"][:3]:
    source = source.replace('"--seeds", "3"', sys.argv[2])
    result = shell.run_cell(source)
    result.raise_error()
    print("cell:", result.result)
"""
TINY = (
    *("--seeds", "1", "--rounds", "1", "--chains", "1", "--methods", "aws", "--transfers", "signed"),
    *("--set", "batch_size=512", "--set", "pretrain_epochs=1", "--set", "round_epochs=1", "--set", "final_epochs=1"),
    *("--set", "final_schedule.name=constant", "--set", "probe_points=3", "--set", "bn_images=256"),
    *("--backend", "inline", "--data-cache", "cache"),
)


def test_where_the_project_is_missing_one_cell_installs_it_and_the_next_sweeps(tmp_path: Path) -> None:
    python = environments.create(tmp_path / "environment")
    (tmp_path / "here").mkdir()
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= {**environments.OFFLINE, "OMP_NUM_THREADS": "1", "IPYTHONDIR": str(tmp_path / "ipython")}
    # git takes the repository's address for this checkout
    git = [("safe.directory", "*"), (f"url.file://{ROOT}.insteadOf", REPOSITORY)]
    variables |= {"GIT_CONFIG_COUNT": str(len(git))}
    for number, (key, value) in enumerate(git):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    tiny = ", ".join(f'"{word}"' for word in TINY)

    def run() -> str:
        done = subprocess.run(
            [python, "-c", HOSTED, NOTEBOOK, tiny], cwd=tmp_path / "here", env=variables, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    output = run()
    assert "cell: Winning Sign is installed" in output
    assert "8 of 8 stages finished" in output
    assert "resnet1d" in output.rpartition("cell:")[2]
    (installed,) = (tmp_path / "environment" / "lib").glob("python*/site-packages/winning_sign.py")
    assert installed.read_bytes() == (ROOT / "winning_sign.py").read_bytes()
