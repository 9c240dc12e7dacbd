"""Build step beside pyproject.toml: README.md as a package index's page, where relative links lead nowhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
LINK = re.compile(r'(?P<before>\]\(|\b(?:src|srcset|href)=")(?!#|[a-z]+:)(?P<path>[^)"\s]+)')
PICTURES = (".png", ".svg")


def with_absolute_links(markdown: str, repository: str) -> str:
    """Let relative links lead to the repository: pictures to the file itself, other links to its page."""

    def absolute(link: re.Match[str]) -> str:
        view = "raw" if link["path"].endswith(PICTURES) else "blob"
        return f"{link['before']}{repository}/{view}/main/{link['path']}"

    return LINK.sub(absolute, markdown)


project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
setup(
    long_description=with_absolute_links((ROOT / "README.md").read_text(), project["urls"]["Source"]),
    long_description_content_type="text/markdown",
)
