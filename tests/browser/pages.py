"""What the browser's tests share: the numbers of their store, and a page with every figure drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.analysis.conftest import SyntheticStore

METHODS = {"aws": (9.0, 10.0, 11.0), "lrr": (-1.0, 0.0, 1.0)}
"""What a chain's signed transfer gains over its mask transfer, in points."""
ROUNDS = (5, 10)
WIDE = {"width": 1280, "height": 900}

Open = Callable[..., Any]


def write_section(store: SyntheticStore, setting: dict[str, Any]) -> None:
    """A section's trainings and probes: the tests compute with their numbers."""
    for seed in (1, 2, 3):
        store.train("dense", 70.0 + seed, seed=seed, **setting)
    for method, gains in METHODS.items():
        for round_ in ROUNDS:
            for chain, gain in enumerate(gains, start=1):
                labels = {"method": method, "chain": chain, "round": round_, "seed": 1, **setting}
                store.train("retrain", 66.0 + chain, **labels)
                store.train("mask", 50.0 + chain, **labels)
                store.train("signed", 50.0 + chain + gain, **labels)
                middle = 30.0 + chain if method == "aws" else 60.0 + chain
                store.probe("lmc", "signed", (30.0, middle, 30.0), **labels)
                store.probe("stability", "signed", (30.0, 32.0, 30.0), **labels)


def draw(page: Any, figures: str = "figure.figure") -> None:
    """Scroll to each visible figure of a CSS selector, so that it is drawn. All figures of the page take seconds."""
    for figure in page.query_selector_all(f":is({figures}):visible"):
        figure.scroll_into_view_if_needed()
        page.wait_for_function(
            "figure => figure.querySelector('.plot').childElementCount || !figure.querySelector('.nothing').hidden",
            arg=figure,
        )
    page.evaluate("scrollTo(0, 0)")
