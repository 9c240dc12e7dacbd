"""Execute the notebook on a store and keep its outputs small: ``python -m tests.browser.notebook sweeps``.

Figures become pictures, so that the notebook shows them on GitHub and on the site. Needs Chromium.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from plotly.offline import get_plotlyjs

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
PLOTLY = "application/vnd.plotly.v1+json"
WIDTH, HIGHEST = 720, 1100  # pixels
COLOURS = 48
DRAW = """async ({figure, width, highest}) => {
  const layout = {...figure.layout, paper_bgcolor: "white", plot_bgcolor: "white"};
  const height = Math.min(layout.height || 450, highest);
  return await Plotly.toImage({data: figure.data, layout}, {format: "png", width, height});
}"""


def execute(store: Path) -> None:
    """Execute the notebook on a store and write it with its outputs."""
    os.environ["WINNING_SIGN_STORE"] = str(store.absolute())
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": NOTEBOOK.parent}}).execute()
    with sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = browser.new_page()
        page.set_content(f"<script>{get_plotlyjs()}</script>")
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
            if cell.cell_type == "code":
                cell.outputs = [_small(output, page) for output in cell.outputs]
        browser.close()
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, NOTEBOOK)


def _small(output: Any, page: Page) -> Any:
    """Replace a plotly figure by a picture; without traces, by its sentence."""
    figure = output.get("data", {}).get(PLOTLY)
    if figure is None:
        return output
    summary = figure["layout"].get("meta", {}).get("summary", "")
    output.data = nbformat.from_dict({"text/plain": summary})
    if figure["data"]:
        given = {"figure": figure, "width": WIDTH, "highest": HIGHEST}
        output.data["image/png"] = _fewer_colours(page.evaluate(DRAW, given).partition(",")[2])
    return output


def _fewer_colours(png: str) -> str:
    """Reduce a picture in base64 to a palette: a tenth of the size, and lines and text look the same."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").quantize(COLOURS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    execute(Path(sys.argv[1]))
