"""From a store's Parquet files to tidy pandas frames, plotly figures and one HTML page.

>>> frames = analysis.frames.load("runs/mnist1d")
>>> frames.stages[["name", "density", "test_accuracy_percent"]]
>>> analysis.figures.results.accuracy_by_density(frames)
"""

from analysis import figures
from analysis.frames.load import Frames, load
from analysis.signs.tickets_compared import compare

__all__ = ["Frames", "compare", "figures", "load"]
