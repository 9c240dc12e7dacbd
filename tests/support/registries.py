"""What tests add of their own to the names that recipes and options can say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.recipes.methods import METHODS
from tickets import SIGN_SOURCES, TRANSFERS
from workers.data import DATA_SETS
from workers.models import ARCHITECTURES
from workers.probing.probes import PROBES
from workers.pruning.criteria import CRITERIA
from workers.training import MASK_RULES, OPTIMIZERS, REGULARISERS, REPARAMETRISATIONS, WARM_UPS

IN_TRAINING = (REPARAMETRISATIONS, REGULARISERS, OPTIMIZERS, WARM_UPS, MASK_RULES)
REGISTRIES = (DATA_SETS, ARCHITECTURES, CRITERIA, SIGN_SOURCES, TRANSFERS, PROBES, METHODS, *IN_TRAINING)


@contextmanager
def registries_kept() -> Iterator[None]:
    """What is registered meanwhile is forgotten afterwards."""
    before = [dict(registry) for registry in REGISTRIES]
    try:
        yield
    finally:
        for registry, content in zip(REGISTRIES, before, strict=True):
            registry.clear()
            registry.update(content)  # type: ignore[arg-type]
