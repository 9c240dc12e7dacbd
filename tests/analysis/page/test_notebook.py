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

pytestmark = pytest.mark.slow(seconds=20)

ROOT = Path(__file__).parents[3]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
REPOSITORY = "https://github.com/winning-sign/winning-sign"
# comparison_figure is of tickets' files, and stores_compared of two stores
OF_ONE_STORE = set(figures.__all__) - {"CATALOGUE", "Entry", "comparison_figure", "stores_compared"}

HOSTED = """
import sys
import nbformat
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
for source in [cell.source for cell in nbformat.read(sys.argv[1], as_version=4).cells if cell.cell_type == "code"][:2]:
    shell.run_cell(source.replace('"--seeds", "3"', '"--seeds", "3", "--plan"')).raise_error()
"""


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


def test_where_the_project_is_missing_one_cell_installs_it_and_the_next_begins_the_demo(tmp_path: Path) -> None:
    python = environments.create(tmp_path / "environment")
    (tmp_path / "here").mkdir()
    # IPython adds the packages of VIRTUAL_ENV to its own
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    variables |= {**environments.OFFLINE, "OMP_NUM_THREADS": "1", "IPYTHONDIR": str(tmp_path / "ipython")}
    # git takes the repository's address for this checkout
    git = [("safe.directory", "*"), (f"url.file://{ROOT}.insteadOf", REPOSITORY)]
    variables |= {"GIT_CONFIG_COUNT": str(len(git))}
    for number, (key, value) in enumerate(git):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}

    done = subprocess.run(
        [python, "-c", HOSTED, NOTEBOOK], cwd=tmp_path / "here", env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Winning Sign is installed" in done.stdout
    assert "375" in done.stdout  # the demo's stages
    (installed,) = (tmp_path / "environment" / "lib").glob("python*/site-packages/winning_sign.py")
    assert installed.read_bytes() == (ROOT / "winning_sign.py").read_bytes()
