"""The report's terms, as data: the page explains each term, and docs/concepts.md at more length."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
        return _GREEK.get(self.name, self.name).lower().replace(" ", "-")

    @property
    def sentence(self) -> str:
        """What the term stands for, and its meaning."""
        return f"{self.stands_for}. {self.meaning}" if self.stands_for else self.meaning


TERMS = (
    Term("α", "Under AWS, the share of the way from ψ to its initial value, drawn between 0 and 1 for each batch."),
    Term("attempt", "One try at computing a stage; only an attempt that ends well makes a result.", explained=False),
    Term(
        "AWS",
        "The paper's method: prunes and trains as LRR does, but each batch is trained with ψ moved towards its initial "
        "value by a random share, so that the signs work for every ψ on that way.",
        "A Winning Sign",
    ),
    Term(
        "barrier", "The rise of the test error above the mean of its ends, on the straight path between two solutions."
    ),
    Term(
        "chain",
        "One series of pruning rounds from one initialisation; chains are the replicates of a ticket, so intervals are "
        "over chains.",
    ),
    Term("dense", "Unpruned: the whole network, trained from a fresh initialisation.", explained=False),
    Term(
        "density", "The share of the prunable weights that survive pruning: 0.8 after one round, 0.035 after fifteen."
    ),
    Term("error landscape", "The test error over the plane through three solutions."),
    Term(
        "final training", "The full training that turns a start into a solution; the accuracy of its last epoch counts."
    ),
    Term("gang", "Several devices that train one network together."),
    Term("λ", "A place on the straight path between two solutions: 0 is the first solution, 1 the second."),
    Term(
        "LMC",
        "Two solutions without a barrier between them: they lie in one basin of the loss.",
        "Linear mode connectivity",
    ),
    Term(
        "LRR",
        "Prunes the smallest of the surviving weights, keeps the others as trained, trains again at the full learning "
        "rate, and repeats.",
        "Learning-rate rewinding",
    ),
    Term("mask", "For each weight, whether it survived pruning.", explained=False),
    Term("mask transfer", "A control: a fresh initialisation under a ticket's mask, without the ticket's signs."),
    Term("points", "The unit of a difference between two percentages.", explained=False),
    Term(
        "preset",
        "Which protocol made a result: “sound”, where every choice uses validation images and the test set is read "
        "once, or “reference”, which follows the authors' released code.",
    ),
    Term("probe", "A measurement on a pair of solutions, such as the test error along the path between them."),
    Term(
        "prunable weight",
        "A weight of a convolution or linear layer, except the classifier: only these weights are pruned.",
    ),
    Term("ψ", "The scales and shifts of the normalization layers; they are never pruned."),
    Term("record", "The file that commits a stage: its results, inputs and provenance.", explained=False),
    Term(
        "retrain", "A ticket's own trained weights, trained once more: the solution that transfers are compared with."
    ),
    Term(
        "round",
        "One pruning step and the training after it; round 0 is the dense training before the first pruning.",
        explained=False,
    ),
    Term(
        "SGD seed",
        "The seed of a training's randomness apart from its initialisation, such as batch order and augmentation.",
    ),
    Term(
        "shown",
        "A claim whose 95 % interval lies on one side of 0; “not shown” means that the interval includes 0.",
        explained=False,
    ),
    Term("signed mask", "A mask with the signs of the survivors: −1 or +1 for a surviving weight, 0 for a pruned one."),
    Term(
        "signed transfer",
        "A fresh initialisation that takes a ticket's signed mask: the magnitudes are fresh, the signs the ticket's.",
    ),
    Term("solution", "A network after its final training."),
    Term(
        "stability",
        "The barrier between two final trainings of one start that differ in their SGD seed alone: lower is better.",
    ),
    Term(
        "stage",
        "A part of a sweep that is computed and committed as one: a round, a training, a probe.",
        explained=False,
    ),
    Term("start", "The weights and the mask that a final training begins with.", explained=False),
    Term("store", "The folder or bucket that holds all results of some sweeps.", explained=False),
    Term("ticket", "A signed mask with its provenance: data set, architecture, method, round and density."),
    Term("twin", "A second final training of one start that differs in its SGD seed alone; it serves stability."),
)

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
