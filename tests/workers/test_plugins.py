"""Plugins: imported once per process, and whole before anyone goes on."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workers.models import ARCHITECTURES
from workers.plugins import PluginError, load_plugins

SLOW = """
import time
from torch import nn
from workers.models import ARCHITECTURES, architecture

assert "slow" not in ARCHITECTURES, "imported twice"
time.sleep(0.3)

@architecture("slow")
def slow(in_channels, num_classes):
    return nn.Linear(in_channels, num_classes)
"""


def test_stages_that_share_a_process_wait_for_a_plugin_under_way(tmp_path: Path) -> None:
    # the second stage of a packed pair found the module begun, went on, and knew no such data set
    (tmp_path / "slow.py").write_text(SLOW)

    def known(number: int) -> bool:
        load_plugins([str(tmp_path / "slow.py")])
        return "slow" in ARCHITECTURES

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(known, range(4)))
    del ARCHITECTURES["slow"]


def test_a_plugin_that_fails_is_named_and_may_be_mended(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("raise KeyError('width')")
    with pytest.raises(PluginError, match=r"broken\.py: KeyError"):
        load_plugins([str(path)])
    path.write_text("")
    load_plugins([str(path)])
