"""``import analysis`` loads no figure, offers its names, and loads each when it is used."""

from __future__ import annotations

import subprocess
import sys

import analysis

LATE = """
import sys, analysis
assert not {"pandas", "plotly"} & sys.modules.keys()
assert set(analysis.__all__) <= set(dir(analysis))
from analysis import *
print(load.__module__, compare.__name__, Frames.__name__, figures.accuracy_by_density.__name__)
"""


def test_names_are_offered_at_once_and_loaded_when_used() -> None:
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=False)
    assert done.stdout == "analysis.frames.load compare Frames accuracy_by_density\n", done.stderr


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert not hasattr(analysis, "figure")
