"""Adapt pages written for a repository's browser to the site.

- A ``<picture>`` with a dark source follows the site's switch between light and dark.
- An SVG becomes part of the page: its colours follow the switch, and its text can be searched and read aloud.
- A link to a file outside ``docs/`` leads to the page that ``shown_as_pages`` names for it, else to a download.
"""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

PICTURE = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">\s*'
    r'<img alt="(?P<alt>[^"]*)" src="(?P<light>[^"]+)">\s*</picture>'
)
RELATIVE_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)]+)\)")


class Pictures(SphinxTransform):
    """Turn ``<picture>`` into two images; the theme shows one of them."""

    default_priority = 200  # before images are collected

    def apply(self, **_: Any) -> None:
        for raw in list(self.document.findall(nodes.raw)):
            if not (picture := PICTURE.fullmatch(raw.astext().strip())):
                continue
            alt = html.unescape(picture["alt"])
            images = [
                nodes.image(uri=picture[theme], alt=alt, classes=[f"only-{theme}", "picture"])
                for theme in ("light", "dark")
            ]
            raw.replace_self(nodes.paragraph("", "", *images))


class Drawings(SphinxTransform):
    """Replace a paragraph of one SVG image by the drawing itself, labelled by the alternative text."""

    default_priority = 201

    def apply(self, **_: Any) -> None:
        for image in list(self.document.findall(nodes.image)):
            alone = isinstance(image.parent, nodes.paragraph) and len(image.parent) == 1
            if not image["uri"].endswith(".svg") or "://" in image["uri"] or not alone:
                continue
            _, path = self.env.relfn2path(image["uri"], self.env.docname)
            self.env.note_dependency(path)
            label = html.escape(image.get("alt", ""))
            drawing = Path(path).read_text()
            figure = f'<figure class="drawing" tabindex="0" aria-label="{label}">{drawing}</figure>'
            image.parent.replace_self(nodes.raw("", figure, format="html"))


class FilesBeside(SphinxTransform):
    """Lead links to files outside docs/ to the page that shows the file, else to a copy of it."""

    default_priority = 202

    def apply(self, **_: Any) -> None:
        root, folder = Path(self.env.srcdir).parent, Path(self.env.doc2path(self.env.docname)).parent
        pages = {root / file: page for page, file in self.config.shown_as_pages.items()}
        links = [*self.document.findall(addnodes.download_reference), *self.document.findall(addnodes.pending_xref)]
        for link in links:
            if link.get("reftype") != "myst":
                continue
            target = link["reftarget"].partition("#")[0]
            if Path(target).is_absolute():  # MyST takes every .md for a page and removes its suffix
                target += ".md"
            path = next((Path(os.path.normpath(at / target)) for at in (folder, root) if (at / target).is_file()), None)
            common = {"refdoc": self.env.docname, "reftype": "myst", "refexplicit": True}
            if path in pages:
                to = addnodes.pending_xref(refdomain="doc", reftarget=pages[path], reftargetid=None, **common)
            elif path is not None and not path.is_relative_to(self.env.srcdir):
                to = addnodes.download_reference(refdomain=None, reftarget=os.path.relpath(path, folder), **common)
            else:
                continue
            to.extend(link.children)
            link.replace_self(to)


def show(app: Sphinx, docname: str, source: list[str]) -> None:
    """Fill a page of ``shown_as_pages`` with its file; relative links are adapted."""
    name = app.config.shown_as_pages.get(docname)
    if name is None:
        return
    file, page = Path(app.srcdir).parent / name, Path(app.env.doc2path(docname))
    app.env.note_dependency(str(file))
    source[0] = RELATIVE_LINK.sub(
        lambda link: f"]({os.path.relpath(file.parent / link[1], page.parent)})", file.read_text()
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.add_config_value("shown_as_pages", {}, "env", dict)
    app.connect("source-read", show)
    for transform in (Pictures, Drawings, FilesBeside):
        app.add_transform(transform)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
