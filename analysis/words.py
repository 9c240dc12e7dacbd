"""How labels and numbers are said, in sentences, tables and figures alike."""

from __future__ import annotations

from math import isnan

METHODS = {"lrr": "LRR", "aws": "AWS"}
TRANSFERS = {
    "dense": "dense",
    "retrain": "retrain",
    "signed": "signed transfer",
    "mask": "mask transfer",
    "signed_psi_kept": "signed transfer, ψ kept",
    "signed_psi_signs": "signed transfer, signs of ψ too",
    "random_signs": "random signs",
    "shuffled": "shuffled signed mask",
    "flipped_quarter": "a quarter of the signs flipped",
}
KINDS = {"pretrain": "round 0", "round": "pruning round", "train": "final training", "probe": "probe"}


def method(label: str) -> str:
    """A method's name."""
    return METHODS.get(label, label)


def transfer(label: str) -> str:
    """A transfer's name."""
    return TRANSFERS.get(label, label.replace("_", " "))


def kind(label: str) -> str:
    """A kind of stage."""
    return KINDS.get(label, label)


def rank(label: str) -> tuple[int, str]:
    """Sorts methods and transfers as above, and unknown ones after them."""
    known = [*METHODS, *TRANSFERS]
    return (known.index(label), "") if label in known else (len(known), label)


def number(value: float) -> str:
    """Two decimals, with a true minus sign."""
    return f"{value:.2f}".replace("-", "−")


def signed(value: float) -> str:
    """Two decimals, always with a sign."""
    return f"{value:+.2f}".replace("-", "−")


def mean_sd(mean: float, sd: float) -> str:
    """Mean ± standard deviation; the mean alone where there is one training."""
    return number(mean) if isnan(sd) else f"{number(mean)}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{number(sd)}"


def count(n: int, noun: str, plural: str | None = None) -> str:
    """3 chains, 1 chain."""
    return f"{n} {noun if n == 1 else plural or noun + 's'}"


def sample(trainings: int, chains: int, noun: str = "training") -> str:
    """What a mean is over; dense trainings have no chain."""
    of = f" in {count(chains, 'chain')}" if chains else ""
    return f"n = {count(trainings, noun)}{of}"


def density(value: float) -> str:
    """Three significant digits: 0.107."""
    return f"{value:.3g}"
