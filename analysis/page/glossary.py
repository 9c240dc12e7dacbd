"""The report's terms, from terms.yaml: the page explains each, and docs/concepts.md at more length."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from markupsafe import Markup, escape

from analysis.page.escaping import visible_text

_GREEK = {"α": "alpha", "λ": "lambda", "ψ": "psi"}


@dataclass(frozen=True)
class Term:
    """A term of the report.

    Attributes:
        name: as it reads within a sentence.
        meaning: one sentence that needs no other term's sentence.
        stands_for: the words behind an abbreviation.
        explained: whether the page marks the term where it first stands; False for words that have a plain sense too.
    """

    name: str
    meaning: str
    stands_for: str = ""
    explained: bool = True

    @property
    def anchor(self) -> str:
        """The anchor of the term's entry in docs/concepts.md."""
        return "-".join(_GREEK.get(word, word) for word in self.name.split()).lower()

    @property
    def sentence(self) -> str:
        """What the term stands for, and its meaning."""
        return f"{self.stands_for}. {self.meaning}" if self.stands_for else self.meaning


TERMS = tuple(Term(**entry) for entry in yaml.safe_load(Path(__file__).with_name("terms.yaml").read_bytes()))
_FORMS = {
    form: term
    for term in TERMS
    if term.explained
    for form in (term.name, term.name if term.name.endswith("s") else f"{term.name}s")
}
_ANY = re.compile("|".join(rf"\b{re.escape(form)}\b" for form in sorted(_FORMS, key=len, reverse=True)))


class Explainer:
    """Mark each term where it first stands on a page."""

    def __init__(self) -> None:
        self._explained: set[Term] = set()

    def __call__(self, text: str) -> Markup:
        """Return a text as HTML, with the meaning of each term that the page has not explained yet."""
        return Markup(_ANY.sub(self._marked, str(escape(visible_text(text)))))

    def _marked(self, match: re.Match[str]) -> str:
        term = _FORMS[match[0]]
        if term in self._explained:
            return match[0]
        self._explained.add(term)
        return f'<abbr title="{escape(term.sentence)}">{match[0]}</abbr>'
