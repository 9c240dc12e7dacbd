"""Finds the stages that a person means: by name, by a part or a pattern of it, or by the first digits of the key."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase

from orchestrator.store import StoreError
from orchestrator.store.record import PlannedStage

LEAST_DIGITS = 4
SHOWN = 5


def find_stages(stages: Mapping[str, PlannedStage], wanted: Container[str], text: str) -> list[str]:
    """Keys of the stages that are meant; of several with one name, that of the last plan.

    Args:
        stages: by key, those of newer plans later.
        wanted: keys of the last plans.

    Raises:
        StoreError: there is none.
    """
    names: dict[str, str] = {}
    for key, stage in sorted(stages.items(), key=lambda item: item[0] in wanted):
        names[stage.name] = key
    if text in names:
        return [names[text]]
    if re.fullmatch(rf"[0-9a-f]{{{LEAST_DIGITS},32}}", text):
        keys = [key for key in stages if key.startswith(text)]
        if keys:
            return keys
    found = [key for name, key in names.items() if text in name or fnmatchcase(name, text)]
    if found and text:
        return found
    if not names:
        raise StoreError(f"{text}: the store has no stages")
    near = get_close_matches(text, names, n=3, cutoff=0.0)
    raise StoreError(
        f"{text}: no stage has such a name or key{_too_short(text)}; the nearest names are {', '.join(near)}"
    )


def find_stage(stages: Mapping[str, PlannedStage], wanted: Container[str], text: str) -> str:
    """The key of the one stage that is meant.

    Raises:
        StoreError: there is none, or more than one.
    """
    found = find_stages(stages, wanted, text)
    if len(found) > 1:
        names = [stages[key].name if len({stages[k].name for k in found}) > 1 else key for key in found[:SHOWN]]
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        many = f"{len(found)} stages have such a name or key{_too_short(text)}"
        raise StoreError(f"{text}: {many}; say which: {', '.join(names)}{more}")
    return found[0]


def _too_short(text: str) -> str:
    """What to say of a text that may have been meant as a key's first digits."""
    short = len(text) < LEAST_DIGITS and re.fullmatch("[0-9a-f]+", text)
    return f" (of a key, give at least {LEAST_DIGITS} digits)" if short else ""
