"""What keeps a trained subnetwork in its basin: its signs and psi without its magnitudes (paper figure 2)."""

from __future__ import annotations

import plotly.graph_objects as go

from analysis.figures.results.starts_compared import starts_compared
from analysis.frames.load import Frames


def signs_kept(frames: Frames) -> go.Figure:
    """Retrain, signed transfer with psi kept, and with fresh psi: accuracy, stability and barrier to the solution.

    A row of panels per measure, LRR beside AWS; no traces where no signed transfer with psi kept was trained.
    """
    return starts_compared(frames, ["signed_psi_kept", "retrain", "signed"])
