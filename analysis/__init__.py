"""From a store's Parquet files to tidy pandas frames, plotly figures and one HTML page.

>>> frames = analysis.load("runs/mnist1d")
>>> frames.stages[["name", "density", "test_accuracy_percent"]]
>>> analysis.figures.accuracy_by_density(frames)
"""

from winning_sign import check

check("analysis")  # before the imports that would fail with another sentence

from analysis import figures  # noqa: E402
from analysis.frames.load import Frames, load  # noqa: E402
from analysis.signs.tickets_compared import compare  # noqa: E402

__all__ = ["Frames", "compare", "figures", "load"]
