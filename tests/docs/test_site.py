"""The site builds without a warning, every link in it resolves, and no page loads anything from another site."""

from __future__ import annotations

import html
import inspect
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from pkgutil import resolve_name
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.slow(seconds=25)

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LOADS = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("source", "srcset")}
LOADING_RELS = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "modulepreload", "manifest"}


class Page(HTMLParser):
    """A page's anchors, its links, and the files that a browser loads for it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.text = path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        self.loads += [value for name, value in values.items() if (tag, name) in LOADS]
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "link" and LOADING_RELS & set(values.get("rel", "").split()):
            self.loads.append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as `make docs` does."""
    out = tmp_path_factory.mktemp("site")
    arguments = ["-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(out)]
    assert f"sphinx {' '.join(arguments[:5])} docs" in (ROOT / "Makefile").read_text()
    done = subprocess.run([sys.executable, "-m", "sphinx", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_link_leads_to_a_page_and_a_place_in_it(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            inside = target.is_file() and target.is_relative_to(site)
            if not inside or (parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_no_page_loads_anything_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for loaded in page.loads:
            parts = urlsplit(loaded)
            assert parts.scheme in ("", "data"), f"{path.relative_to(site)}: {loaded}"
            assert not parts.netloc, f"{path.relative_to(site)}: {loaded}"
            assert parts.scheme or (path.parent / unquote(parts.path)).is_file(), f"{path.relative_to(site)}: {loaded}"
    for style in site.rglob("*.css"):
        text = style.read_text()
        assert "@import" not in text, style
        assert "url(http" not in text.replace('"', "").replace("'", ""), style
        assert "url(//" not in text.replace('"', "").replace("'", ""), style


def test_every_document_is_a_page_that_the_navigation_leads_to(site: Path, pages: dict[Path, Page]) -> None:
    home = {link.partition("#")[0] for link in pages[site / "index.html"].links}
    for document in DOCS.rglob("*.md"):
        assert document.relative_to(DOCS).with_suffix(".html").as_posix() in home | {"index.html"}, document


def test_the_notebook_is_a_page_with_its_stored_outputs(site: Path, pages: dict[Path, Page]) -> None:
    assert "notebook.html" in pages[site / "index.html"].links
    cells = json.loads((DOCS / "notebook.ipynb").read_text())["cells"]
    page = pages[site / "notebook.html"]
    assert page.text.count('class="highlight-python') == sum(cell["cell_type"] == "code" for cell in cells)
    stored = [output["data"].keys() for cell in cells for output in cell.get("outputs", []) if "data" in output]
    rich = [kinds for kinds in stored if kinds & {"image/svg+xml", "image/png", "text/html"}]
    assert page.text.count('class="output"') == len(rich)


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("tickets", "tickets.Ticket.apply"),
        ("tickets", "tickets.load"),
        ("pruning", "workers.pruning.selection.prune"),
        ("pruning", "workers.pruning.criterion"),
        ("pruning", "workers.training.psi.PsiInterpolation"),
        ("stages", "workers.stages.Round"),
        ("probing", "workers.probing.probe"),
        ("planning", "orchestrator.planning.algorithm.expand"),
        ("store", "orchestrator.planning.identity.stage_key"),
        ("frames", "analysis.frames.load.load"),
        ("frames", "analysis.comparisons.statistics.spread"),
        ("figures", "analysis.figures.accuracy_by_density"),
    ],
)
def test_api_pages_show_docstrings(site: Path, pages: dict[Path, Page], page: str, name: str) -> None:
    shown = pages[site / "api" / f"{page}.html"]
    assert name in shown.ids
    docstring = inspect.getdoc(resolve_name(name))
    assert docstring
    text = html.unescape(re.sub("<[^>]+>", "", shown.text))
    assert docstring.splitlines()[0].replace("``", "") in text


def test_a_first_line_with_a_colon_keeps_its_head_first(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert '>Type<span class="colon">' not in page.text, path  # napoleon's reading of "Head: tail."


def test_attributes_that_share_a_description_keep_their_names(site: Path, pages: dict[Path, Page]) -> None:
    for page in (pages[path] for path in site.glob("api/*.html")):
        assert "<em>,</em>)" not in page.text


def test_words_of_a_docstring_are_not_read_as_markup(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        assert 'class="problematic"' not in page.text, path
        assert "system-message" not in page.text, path


def test_files_outside_docs_are_pages_of_the_site(site: Path, pages: dict[Path, Page]) -> None:
    assert "0.1.0 (unreleased)" in pages[site / "changelog.html"].text
    assert "A folder holds at most twelve entries" in pages[site / "contributing.html"].text
    assert "images/CPU-second" in pages[site / "results.html"].text
    assert '<a class="reference internal" href="results.html"' in pages[site / "faq.html"].text
    home = pages[site / "index.html"].text
    assert "only-light" in home
    assert "only-dark" in home
    assert "<picture" not in home


def drawings() -> Iterator[tuple[str, str]]:
    sys.path.insert(0, str(DOCS / "diagrams"))
    try:
        import draw

        yield from ((name, make()) for name, make in draw.DRAWINGS.items())
    finally:
        sys.path.remove(str(DOCS / "diagrams"))


def test_drawings_are_those_of_their_script_and_are_in_the_page(site: Path, pages: dict[Path, Page]) -> None:
    concepts = pages[site / "concepts.html"].text
    drawn = dict(drawings())
    assert {path.stem for path in (DOCS / "diagrams").glob("*.svg")} == drawn.keys()
    for name, text in drawn.items():
        assert (DOCS / "diagrams" / f"{name}.svg").read_text() == text, f"{name}: python docs/diagrams/draw.py"
        assert text.strip() in concepts.replace("\r", ""), name
        title = ElementTree.fromstring(text).find("{http://www.w3.org/2000/svg}title")
        assert title is not None
        assert title.text
