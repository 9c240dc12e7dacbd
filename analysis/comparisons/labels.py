"""Write labels (as labels.yaml names them) and numbers, alike in sentences, tables and figures."""

from __future__ import annotations

from math import isnan
from pathlib import Path

import yaml

METHODS: dict[str, str]
TRANSFERS: dict[str, str]
KINDS: dict[str, str]
METHODS, TRANSFERS, KINDS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_bytes()).values()


def method_name(label: str) -> str:
    """Return a method's name; "aws@cifar10", of tickets from elsewhere, is "AWS from cifar10"."""
    found_by, _, source = label.partition("@")
    name = METHODS.get(found_by, found_by.replace("_", " "))
    return f"{name} from {source}" if source else name


def source_of(method: object) -> str:
    """Return where a method's tickets are from: "cifar10" of "aws@cifar10"; empty for the sweep's own, or no method."""
    return method.partition("@")[2] if isinstance(method, str) else ""


def transfer_name(label: str) -> str:
    """Return a transfer's name."""
    return TRANSFERS.get(label, label.replace("_", " "))


def kind_name(label: str) -> str:
    """Return the name of a kind of stage."""
    return KINDS.get(label, label)


def rank(label: str) -> tuple[int, str]:
    """Return the sort key of a method, transfer or kind of stage: in the order of labels.yaml, then unknown ones.

    A method's tickets from elsewhere come after its own.
    """
    known = [*METHODS, *TRANSFERS, *KINDS]
    found_by, _, source = label.partition("@")
    return (known.index(found_by), source) if found_by in known else (len(known), label)


def number(value: float, digits: int = 2) -> str:
    """Write a number with ``digits`` decimals and a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")


def percent(value: float, digits: int = 2) -> str:
    """Write a percentage, kept on one line."""
    return f"{number(value, digits)}\N{NO-BREAK SPACE}%"


def signed(value: float, digits: int = 2) -> str:
    """Write a number as ``number`` does, always with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def mean_sd(mean: float, sd: float, digits: int = 2) -> str:
    """Write mean ± standard deviation; the mean alone for one training."""
    spread = "" if isnan(sd) else f"\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{number(sd, digits)}"
    return number(mean, digits) + spread


def between(low: float, high: float, digits: int = 2) -> str:
    """Write a signed range, or one number if both ends read alike."""
    ends = [signed(low, digits), signed(high, digits)]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def begin(sentence: str) -> str:
    """Begin a sentence with a capital; keep the other letters."""
    return sentence[:1].upper() + sentence[1:]


def count(n: int, noun: str, plural: str | None = None) -> str:
    """Write a number with its noun: 3 chains, 1 chain."""
    return f"{n} {noun if n == 1 else plural or noun + 's'}"


def sample(trainings: int, chains: int, noun: str = "training") -> str:
    """Write a mean's replicates: n = 6 trainings in 2 chains; dense trainings have no chain."""
    of = f" in {count(chains, 'chain')}" if chains else ""
    return f"n = {count(trainings, noun)}{of}"


def density(value: float) -> str:
    """Write a density with three significant digits: 0.107."""
    return f"{value:.3g}"
