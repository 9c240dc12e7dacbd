"""Command lines of tests: an option stands once, so a case's own option replaces that of its base."""

from __future__ import annotations

from collections.abc import Sequence

REPEATABLE = {"--plugin", "--set", "--space", "--to", "--log-to"}


def replacing(base: Sequence[object], more: Sequence[object]) -> list[object]:
    """Return ``base`` and ``more`` without those options of ``base``, and their values, that ``more`` gives too."""
    once = {word for word in more if str(word).startswith("--")} - REPEATABLE
    given = [word in once for word in base]
    values = [before and not str(word).startswith("--") for before, word in zip([False, *given], base, strict=False)]
    return [word for word, option, value in zip(base, given, values, strict=True) if not option and not value] + [*more]
