"""What the signs of psi add to those of the weights (paper figure 5)."""

from __future__ import annotations

import plotly.graph_objects as go

from analysis.figures.results.starts_compared import starts_compared
from analysis.frames.load import Frames


def signs_of_psi(frames: Frames) -> go.Figure:
    """Signed transfer with the signs of psi too, and without: accuracy, stability and barrier to the solution.

    A row of panels per measure, LRR beside AWS; no traces where no signs of psi were transferred.
    """
    return starts_compared(frames, ["signed_psi_signs", "signed"])
