"""Selects stages by name, by a part or a pattern of the name, or by the first digits of the key."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase

from orchestrator.store import StoreError
from orchestrator.store.plans import PlannedStage

LEAST_DIGITS = 4
SHOWN = 5


def find_stages(stages: Mapping[str, PlannedStage], wanted: Container[str], text: str) -> list[str]:
    """Return the keys of the stages that a text selects; of stages with one name, the last plan's.

    Args:
        stages: by key, in the order of their plans.
        wanted: keys in the last plans.

    Raises:
        StoreError: the text selects no stage.
    """
    names = {stage.name: key for key, stage in sorted(stages.items(), key=lambda item: item[0] in wanted)}
    if text in names:
        return [names[text]]
    if re.fullmatch(rf"[0-9a-f]{{{LEAST_DIGITS},32}}", text):
        keys = [key for key in stages if key.startswith(text)]
        if keys:
            return keys
    keys = [key for name, key in names.items() if text in name or fnmatchcase(name, text)]
    if keys and text:
        return keys
    if not names:
        raise StoreError(f"{text}: the store has no stages")
    near = get_close_matches(text, names, n=3, cutoff=0.0)
    raise StoreError(
        f"{text}: no stage has this name or key{_too_short(text)}; the nearest names are {', '.join(near)}"
    )


def find_stage(stages: Mapping[str, PlannedStage], wanted: Container[str], text: str) -> str:
    """Return the key of the one stage that a text selects.

    Raises:
        StoreError: the text selects no stage, or several.
    """
    keys = find_stages(stages, wanted, text)
    if len(keys) > 1:
        names = {stages[key].name for key in keys}
        candidates = [stages[key].name if len(names) > 1 else key for key in keys[:SHOWN]]
        more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
        raise StoreError(
            f"{text}: {len(keys)} stages have this name or key{_too_short(text)}; name one of them: "
            f"{', '.join(candidates)}{more}"
        )
    return keys[0]


def _too_short(text: str) -> str:
    """A hint for a text that may have been meant as a key's first digits; else empty."""
    is_short_key = len(text) < LEAST_DIGITS and re.fullmatch("[0-9a-f]+", text)
    return f" (a key needs at least {LEAST_DIGITS} digits)" if is_short_key else ""
