"""docs/extending.md is true: its files, written from its own text, make the sweep that it promises."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from analysis import load
from tests.support.registries import registries_kept
from tests.support.sweep_processes import by_name, in_process

pytestmark = pytest.mark.slow(seconds=15)

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "extending.md").read_text()
PLUGINS = ("corners", "perceptron", "layer_relative", "majority", "sign_agreement", "midpoint")
NAMES = ("corners", "perceptron", "layer_relative", "majority_signs", "sign_agreement", "midpoint")


def write_files(folder: Path) -> Path:
    """Every block of the document that begins with its file's name."""
    folder.mkdir(parents=True)
    blocks = re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", TEXT, re.S)
    assert {name for name, _ in blocks} >= {f"{name}.py" for name in PLUGINS} | {"own.yaml"}
    for name, content in blocks:
        (folder / name).write_text(content)
    return folder


def plugins(folder: Path) -> list[str]:
    return [word for name in PLUGINS for word in ("--plugin", str(folder / f"{name}.py"))]


def plan(folder: Path, *more: str) -> dict[str, str]:
    """Keys of the document's sweep by the stages' names."""
    where = ["--store", str(folder / "none"), "--data-cache", str(folder / "cache"), "--backend", "inline"]
    code, output = in_process(str(folder / "own.yaml"), *plugins(folder), *where, "--plan", "--json", *more)
    assert code == 0, output
    return {stage["name"]: stage["key"] for stage in json.loads(output)["stages"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("extending") / "files")


@pytest.fixture(scope="module")
def store(folder: Path) -> Path:
    """What the document's command leaves."""
    (command,) = (block for block in re.findall(r"```bash\n(.*?)```", TEXT, re.S))
    words = command.replace("\\\n", " ").split()
    assert words[:3] == ["python", "-m", "orchestrator.sweep"]
    given = [str(folder / word) if (folder / word).exists() else word for word in words[3:]]
    where = ["--store", str(folder / "sweeps"), "--data-cache", str(folder / "cache")]
    code, output = in_process(*given, *where, "--backend", "inline", "--device", "cpu", report=True)
    assert code == 0, output
    return folder / "sweeps"


def test_the_sweep_has_all_six(store: Path) -> None:
    records = by_name(store)
    ticket = "corners/perceptron/layer_relative/chain1/round02"
    assert records[ticket].science["pruning"]["criterion"] == {"name": "layer_relative", "version": 1}
    assert records[f"{ticket}/majority_signs/seed1"].science["transfer"]["signs"] == "majority"
    probe = records[f"{ticket}/majority_signs/lmc/seed1/sign_agreement"]
    assert (probe.kind, probe.labels.probe, list(probe.results)) == ("pair_probe", "lmc", ["sign_agreement_percent"])
    middle = records[f"{ticket}/majority_signs/lmc/seed1/midpoint"]
    assert list(middle.results) == ["midpoint_error_percent", "midpoint_negated_error_percent"]
    barrier = records[f"{ticket}/majority_signs/lmc/seed1"]
    assert middle.science["path"] == {name: barrier.science[name] for name in middle.science["path"]}
    assert records[f"{ticket}/retrain/seed1"].results["test_accuracy_percent"] > 60  # of four classes


def test_the_frames_and_the_page_have_them_too(store: Path) -> None:
    stages = load(store).stages
    probed = stages[stages["pair_probe"] == "sign_agreement"]
    assert len(probed) == 6  # by two methods, the pairs of two transfers and their retrain, and of a twin
    assert probed["sign_agreement_percent"].between(0, 100).all()
    assert probed["density"].round(2).eq(0.64).all()
    assert not probed["superseded"].any()
    page = (store / "report.html").read_text()
    for words in ("corners · perceptron", "layer relative majority signs", "sign_agreement_percent"):
        assert words in page


@pytest.mark.parametrize("order", ["first", "last"])
def test_help_lists_what_plugins_beside_it_register(folder: Path, order: str) -> None:
    plugin_options = plugins(folder)
    code, output = in_process(*(["--help", *plugin_options] if order == "first" else [*plugin_options, "--help"]))
    assert code == 0
    assert all(name in output for name in NAMES)


def test_help_says_what_is_wrong_with_a_plugin(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise KeyError('width')")
    code, output = in_process("--help", "--plugin", tmp_path / "broken.py")
    assert code == 2
    assert "broken.py: KeyError: 'width'" in output


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("corners", "corners-1", "corners-2", ""),
        ("perceptron", "version=1", "version=2", ""),
        ("layer_relative", "version=1", "version=2", r"/layer_relative/chain1/round0[12]"),
        ("majority", "version=1", "version=2", r"/majority_signs/"),
        ("sign_agreement", "version=1", "version=2", r"/sign_agreement$"),
        ("midpoint", "version=1", "version=2", r"/midpoint$"),
    ],
)
def test_a_new_version_changes_the_keys_of_what_depends_on_it(
    tmp_path: Path, folder: Path, file: str, old: str, new: str, changed: str
) -> None:
    before, other = plan(folder), write_files(tmp_path / "other")
    content = (other / f"{file}.py").read_text()
    assert content.count(old) == 1
    (other / f"{file}.py").write_text(content.replace(old, new))
    with registries_kept():
        after = plan(other)
    assert after.keys() == before.keys()
    differing = {name for name in before if before[name] != after[name]}
    assert differing == {name for name in before if re.search(changed, name)}
    assert differing


def test_a_probe_that_nobody_knows_names_the_nearest(folder: Path) -> None:
    where = ["--store", str(folder / "none"), "--backend", "inline", "--plan"]
    code, output = in_process(str(folder / "own.yaml"), *plugins(folder), *where, "--probes", "sign_agrement")
    assert code == 2
    assert "unknown probe 'sign_agrement'; did you mean sign_agreement" in output


def install(site: Path, name: str, modules: dict[str, str]) -> None:
    """A distribution with these modules as its entry points, in a folder that is on the path."""
    (site / name).mkdir(parents=True)
    for module, content in modules.items():
        (site / name / f"{module}.py").write_text(content)
    information = site / f"{name}-3.1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 3.1\n")
    (group,) = re.findall(r'\[project\.entry-points\."(.*)"\]', TEXT)
    lines = [f"[{group}]", *(f"{module} = {name}.{module}" for module in modules)]
    (information / "entry_points.txt").write_text("\n".join(lines))


def test_what_is_installed_is_known_to_the_driver_and_to_workers_and_what_is_broken_warns(
    store: Path, folder: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    install(site, "our_lab", {name: (folder / f"{name}.py").read_text() for name in PLUGINS})
    install(site, "theirs", {"broken": "raise KeyError('width')"})
    path = os.pathsep.join([str(site), str(ROOT), os.environ.get("PYTHONPATH", "")])

    def run(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", module, *map(str, arguments), "--data-cache", folder / "cache"]
        environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "500"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    planned = run("orchestrator.sweep", folder / "own.yaml", "--store", store, "--plan", "--json")
    stages = {stage["name"]: stage for stage in json.loads(planned.stdout)["stages"]}
    assert all(stage["cached"] for stage in stages.values())  # the very keys of the sweep with --plugin
    warning = "theirs 3.1: its plugin theirs.broken cannot be imported: KeyError: 'width'"
    assert planned.stderr.count(warning) == 1

    name = "corners/perceptron/layer_relative/chain1/round02/signed/lmc/seed1/sign_agreement"
    record = by_name(store)[name]
    (job,) = store.glob(f"stages/pair_probe/*{record.key[:8]}*/stage.json")
    alone = run("workers.run", job, "--out", tmp_path / "out")
    assert f"sign_agreement_percent: {record.results['sign_agreement_percent']}" in alone.stderr
    assert warning in alone.stderr
