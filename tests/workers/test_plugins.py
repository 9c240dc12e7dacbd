"""Plugins are imported once per process, and completely before any stage uses them; old imports still work."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.registries import registries_kept
from workers.models import ARCHITECTURES
from workers.plugins import PluginError, load_plugins
from workers.probing import PROBES
from workers.pruning import CRITERIA

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


def test_stages_that_share_a_process_wait_until_a_plugin_is_loaded(tmp_path: Path) -> None:
    # the second stage of a packed pair found the module begun, went on, and knew no such data set
    (tmp_path / "slow.py").write_text(SLOW)

    def known(number: int) -> bool:
        load_plugins([str(tmp_path / "slow.py")])
        return "slow" in ARCHITECTURES

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(known, range(4)))
    del ARCHITECTURES["slow"]


def test_a_failing_plugin_is_named_and_loads_once_repaired(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("raise KeyError('width')")
    with pytest.raises(PluginError, match=r"broken\.py: KeyError"):
        load_plugins([str(path)])
    path.write_text("")
    load_plugins([str(path)])


OLD_IMPORTS = """
import workers.criteria
from workers.criteria import Candidate, criterion
from workers.probes import Pair, probe

@workers.criteria.criterion("old_criterion")
def old_criterion(candidate: Candidate):
    return candidate.weights

@probe("old_probe")
def old_probe(pair: Pair):
    return {"percent": 1.0}
"""
NEW_IMPORTS = OLD_IMPORTS.replace("workers.criteria", "workers.pruning").replace("workers.probes", "workers.probing")


def test_imports_of_earlier_versions_work_in_plugins_and_name_the_new_module_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "old.py").write_text(OLD_IMPORTS)
    with registries_kept(), caplog.at_level(logging.WARNING):
        load_plugins([str(tmp_path / "old.py")])
        assert "old_criterion" in CRITERIA
        assert "old_probe" in PROBES
    assert caplog.messages == [
        "a plugin imports workers.criteria, which is now workers.pruning; change the import",
        "a plugin imports workers.probes, which is now workers.probing; change the import",
    ]


def test_criteria_and_probes_are_imported_from_their_rooms(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "new.py").write_text(NEW_IMPORTS)
    with registries_kept(), caplog.at_level(logging.WARNING):
        load_plugins([str(tmp_path / "new.py")])
        assert "old_criterion" in CRITERIA
        assert "old_probe" in PROBES
    assert not caplog.messages


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("raise SystemExit(3)", r"one\.py: SystemExit: 3"),
        ("import sys; sys.exit()", r"one\.py: SystemExit:$"),
        ("def", r"one\.py: SyntaxError: "),
        ("raise ValueError('two\\nlines')", r"one\.py: ValueError: two lines$"),
        (
            "from workers.models import architecture\n@architecture('resnet20')\ndef mine(in_channels, classes): ...",
            r"one\.py: ValueError: architecture 'resnet20' is built in, by workers\.models\.\w+; choose another name",
        ),
        (
            "from workers.data import data_set\n@data_set('cifar10', channels=3, num_classes=10)\ndef mine(r, d): ...",
            r"data set 'cifar10' is built in",
        ),
        ("from tickets import sign_source\n\n\n@sign_source('random')\ndef mine(w, g): ...", "'random' is built in"),
    ],
)
def test_whatever_a_plugin_raises_names_it(tmp_path: Path, program: str, sentence: str) -> None:
    (tmp_path / "one.py").write_text(program)
    before = set(ARCHITECTURES)
    with pytest.raises(PluginError, match=sentence):
        load_plugins([str(tmp_path / "one.py")])
    assert set(ARCHITECTURES) == before


def test_two_plugins_of_a_command_that_register_one_name_are_refused(tmp_path: Path) -> None:
    program = "from workers.models import architecture\n@architecture('thin')\ndef mine(in_channels, classes): ..."
    one, two = (tmp_path / name for name in ("one.py", "two.py"))
    for path in (one, two):
        path.write_text(program)
    with registries_kept():
        with pytest.raises(
            PluginError, match=r"two\.py: ValueError: architecture 'thin' is registered by .*one\.py too"
        ):
            load_plugins([str(one), str(two)])
        assert ARCHITECTURES["thin"].function.__code__.co_filename == str(one)
        load_plugins([str(two)])  # alone, as in another command


def test_what_a_plugin_prints_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "loud.py").write_text("print('hello')")
    load_plugins([str(tmp_path / "loud.py")])
    assert capsys.readouterr() == ("", "hello\n")


def test_a_plugin_may_lie_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(PluginError, match=f"no such file: {tmp_path}/none.py"):
        load_plugins(["~/none.py"])
