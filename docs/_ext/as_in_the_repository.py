"""What a repository's browser shows of a page in its way, the site shows in its own.

- A ``<picture>`` with a dark source follows the site's switch of light and dark, not the system's alone.
- An SVG is put into the page: so its colours follow the switch too, and its text is found and read aloud.
- A file beside ``docs/`` is a page where ``shown_as_pages`` names one for it, and a download otherwise.
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
    """``<picture>`` as two images, of which the theme shows one."""

    default_priority = 200  # before images are collected

    def apply(self, **_: Any) -> None:
        for raw in list(self.document.findall(nodes.raw)):
            if not (found := PICTURE.fullmatch(raw.astext().strip())):
                continue
            alt = html.unescape(found["alt"])
            shown = [
                nodes.image(uri=found[look], alt=alt, classes=[f"only-{look}", "picture"]) for look in ("light", "dark")
            ]
            raw.replace_self(nodes.paragraph("", "", *shown))


class Drawings(SphinxTransform):
    """A paragraph that is one SVG as the drawing itself, named by the image's alternative text."""

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
    """Links to what lies outside of docs/: to the page that shows it, else to a copy of it."""

    default_priority = 202

    def apply(self, **_: Any) -> None:
        root, here = Path(self.env.srcdir).parent, Path(self.env.doc2path(self.env.docname)).parent
        pages = {root / file: page for page, file in self.config.shown_as_pages.items()}
        found = [*self.document.findall(addnodes.download_reference), *self.document.findall(addnodes.pending_xref)]
        for link in found:
            if link.get("reftype") != "myst":
                continue
            target = link["reftarget"].partition("#")[0]
            if Path(target).is_absolute():  # MyST takes every .md for a page, and leaves out how its name ends
                target += ".md"
            # what a page includes from README is relative to README
            path = next((Path(os.path.normpath(at / target)) for at in (here, root) if (at / target).is_file()), None)
            common = {"refdoc": self.env.docname, "reftype": "myst", "refexplicit": True}
            if path in pages:
                to = addnodes.pending_xref(refdomain="doc", reftarget=pages[path], reftargetid=None, **common)
            elif path is not None and not path.is_relative_to(self.env.srcdir):
                to = addnodes.download_reference(refdomain=None, reftarget=os.path.relpath(path, here), **common)
            else:
                continue
            to.extend(link.children)
            link.replace_self(to)


def show(app: Sphinx, docname: str, source: list[str]) -> None:
    """A page of ``shown_as_pages`` is the file that it stands for, with the links led on from here."""
    name = app.config.shown_as_pages.get(docname)
    if name is None:
        return
    file, page = Path(app.srcdir).parent / name, Path(app.env.doc2path(docname))
    app.env.note_dependency(str(file))
    source[0] = RELATIVE_LINK.sub(
        lambda link: f"]({os.path.relpath(file.parent / link[1], page.parent)})", file.read_text()
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls this."""
    app.add_config_value("shown_as_pages", {}, "env", dict)
    app.connect("source-read", show)
    for transform in (Pictures, Drawings, FilesBeside):
        app.add_transform(transform)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
