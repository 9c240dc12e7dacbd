"""Build the documentation's site from these pages and from docstrings: `make docs` writes it to build/docs."""

from __future__ import annotations

import os
import sys
import tomllib
from operator import attrgetter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(Path(__file__).parent / "_ext"), str(ROOT)]  # docstrings of this checkout
os.environ.setdefault("OMP_NUM_THREADS", "1")

_project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
project = "Winning Sign"
release = version = _project["version"]
author = "The authors of Winning Sign"
copyright = "2026, Apache-2.0"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "as_in_the_repository",
    "notebook_pages",
    "plain_docstrings",
]
exclude_patterns = ["_build", "_ext", "clusters"]
smartquotes_action = "D"  # dashes; quotes stay as written
nitpicky = False  # types of torch and pandas lead to other sites, and a build reads no other site

# only extensions that the repository's browser understands as well
myst_enable_extensions = ["alert", "html_image"]
myst_heading_anchors = 4
shown_as_pages = {
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "results": "benchmarks/RESULTS.md",
}

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "Winning Sign"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_favicon = "_static/favicon.svg"
html_theme_options = {
    "light_logo": "logo-light.svg",
    "dark_logo": "logo-dark.svg",
    "light_css_variables": {"color-brand-primary": "#0067a5", "color-brand-content": "#0067a5"},
    "dark_css_variables": {"color-brand-primary": "#6cbcf0", "color-brand-content": "#6cbcf0"},
}
copybutton_exclude = ".linenos, .gp, .go"


def _viewcode_module(app: Any, modname: str, attribute: str) -> str | None:
    """Give viewcode the module of a name that has no source of its own, such as a method of an enumeration."""
    try:
        defining_module = getattr(attrgetter(attribute)(sys.modules[modname]), "__module__", None)
    except (AttributeError, KeyError):
        return None
    return modname if defining_module == "builtins" else None


def setup(app: Any) -> None:
    """Connect to Sphinx."""
    app.connect("viewcode-follow-imported", _viewcode_module)
