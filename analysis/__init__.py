"""From a store's Parquet files to tidy pandas frames, plotly figures and one HTML page.

>>> frames = analysis.load("runs/mnist1d")
>>> frames.stages[["name", "density", "test_accuracy_percent"]]
>>> analysis.figures.accuracy_by_density(frames)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from winning_sign import check

check("analysis")  # before its modules, whose imports would fail with another sentence

__all__ = ["Frames", "compare", "figures", "load"]

if TYPE_CHECKING:
    from analysis import figures
    from analysis.frames.load import Frames, load
    from analysis.signs.tickets_compared import compare
else:
    _MODULES = {"Frames": "frames.load", "compare": "signs.tickets_compared", "load": "frames.load"}

    def __getattr__(name: str) -> Any:
        """Load pandas and plotly when a name is used: commands that need neither import rooms of this package."""
        if name == "figures":
            return import_module(f"{__name__}.figures")
        if name in _MODULES:
            return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """List the names that a notebook completes, loaded or not."""
        return sorted({*globals(), *__all__})
