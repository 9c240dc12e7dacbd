"""The example notebook runs from top to bottom, and shows every figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbclient import NotebookClient

from analysis import figures

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

NOTEBOOK = Path(__file__).parents[3] / "docs" / "notebook.ipynb"
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
