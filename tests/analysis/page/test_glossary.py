"""The report explains its terms, and docs/concepts.md has an entry for each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analysis.comparisons.labels import METHODS
from analysis.page.glossary import TERMS, Explainer, Term

CONCEPTS = Path(__file__).parents[3] / "docs" / "concepts.md"


@pytest.fixture(scope="module")
def entries() -> dict[str, str]:
    """The entries of the glossary in docs/concepts.md, by anchor."""
    _, glossary = CONCEPTS.read_text(encoding="utf-8").split("\n## Glossary\n")
    parts = re.findall(r"^### (.+)\n((?:(?!##).*\n?)*)", glossary, re.MULTILINE)
    return {heading.lower().replace(" ", "-"): " ".join(text.split()) for heading, text in parts}


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.anchor)
def test_the_page_on_concepts_explains_the_term(term: Term, entries: dict[str, str]) -> None:
    assert term.stands_for in entries[term.anchor]


def test_terms_are_listed_by_name() -> None:
    anchors = [term.anchor for term in TERMS]
    assert anchors == sorted(set(anchors))


def test_a_term_is_explained_where_it_first_stands_and_only_there() -> None:
    explain = Explainer()
    first, second = explain("Barriers, barriers of AWS"), explain("a barrier under AWS")
    assert first.count("<abbr") == 2
    assert 'title="A Winning Sign. ' in first
    assert second == "a barrier under AWS"


def test_the_longest_term_counts() -> None:
    marked = Explainer()("the signed mask of a signed transfer")
    assert ">signed mask</abbr>" in marked
    assert ">signed transfer</abbr>" in marked


def test_a_stores_texts_stay_text() -> None:
    assert Explainer()("<b>&\u202e") == r"&lt;b&gt;&amp;\u202e"


def test_both_methods_of_the_paper_are_written_out() -> None:
    long = {term.name: term.stands_for for term in TERMS}
    assert long[METHODS["aws"]] == "A Winning Sign"
    assert long[METHODS["lrr"]] == "Learning-rate rewinding"
