"""The checklist: all rules of the method, checked on one store."""

from __future__ import annotations

import pandas as pd

from analysis.frames.load import Frames
from analysis.frames.several import Reader
from analysis.rules.files import TicketFiles
from analysis.rules.masks import masks
from analysis.rules.pairs import same_initialisation, same_masks, sgd_noise_only
from analysis.rules.protocol import artifacts, aws_in_rounds_only, one_recipe, reads_of_the_test_set

COLUMNS = ("rule", "verdict", "counted", "detail")
REPORT_DEADLINE_S = 20.0
"""Time a report spends on masks and weights that are not in the cache; the next report goes on from there."""


def checks(store: Reader, frames: Frames, *, deadline_s: float | None = None) -> pd.DataFrame:
    """Check the method's rules on all results that the figures draw.

    Counts in the masks and weights of committed stages are cached in the user's cache, since such files never change.

    Args:
        frames: of the store or of one of its sections; superseded stages are left out.
        deadline_s: seconds after which no further file is opened; the rest counts as not checked. None: no limit.

    Returns:
        One row per rule: ``rule`` (a sentence), ``verdict`` ("holds", "broken" or "not checked"), ``counted`` (number
        of items checked) and ``detail`` (stages that break the rule, reasons for unchecked ones, notes).
    """
    everything = store.records({}, relist=False)  # as the frames were read
    drawn = frames.stages.loc[~frames.stages["superseded"], "key"]
    records = [everything[key] for key in drawn if key in everything]
    probes = [record for record in records if record.kind == "probe"]
    files = TicketFiles(store, everything, deadline_s)
    results = [
        *masks(records, files),
        same_masks([probe for probe in probes if probe.labels.probe != "successive"], everything),
        sgd_noise_only(probes, everything),
        same_initialisation(records),
        reads_of_the_test_set(frames.metrics[~frames.metrics["superseded"]]),
        aws_in_rounds_only(records, everything),
        one_recipe(records),
        artifacts(records, store, files.unreadable),
    ]
    rows = [{name: getattr(result, name) for name in COLUMNS} for result in results]
    return pd.DataFrame(rows, columns=list(COLUMNS))
