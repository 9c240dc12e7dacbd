"""The wheel: built without a network, installed alone, and used from an empty folder."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
from email.message import Message
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from orchestrator.recipes.experiment_file import builtin_experiments

pytestmark = pytest.mark.slow(seconds=20)

ROOT = Path(__file__).parents[2]
CODE = ("winning_sign.py", "orchestrator", "workers", "tickets", "analysis")
PARTS = (*CODE, "pyproject.toml", "setup.py", "README.md", "LICENSE")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input")
RELATIVE_LINK = re.compile(r'(?:\]\(|\b(?:src|srcset|href)=")(?!#|[a-z]+:)([^)"\s]+)')
SWEEP = ("winning-sign", "sweep")
QUICK = ("--backend", "inline", "--device", "cpu", "--data-cache", "cache")
TINY = (
    *("--rounds", "1", "--seeds", "1", "--chains", "1", "--methods", "aws", "--transfers", "signed"),
    *("--set", "batch_size=512", "--set", "pretrain_epochs=1", "--set", "round_epochs=1", "--set", "final_epochs=1"),
    *("--set", "final_schedule.name=constant", "--set", "probe_points=3", "--set", "bn_images=256"),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the built wheel and nothing else installed into it."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *PARTS)
    tracked = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
    offline = ("--no-deps", "--no-index")
    pip("wheel", *offline, "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source"))
    (wheel,) = folder.glob("*.whl")
    pip("install", *offline, "--target", str(folder / "site"), str(wheel))
    return folder / "site"


def pip(*arguments: str) -> None:
    done = subprocess.run([*PIP, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def run(site: Path, folder: Path, *command: str) -> str:
    """Run a command that imports the installed wheel and no checkout; return its output."""
    environment = {**os.environ, "PYTHONPATH": str(site), "PATH": f"{site / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def metadata(site: Path) -> Message:
    (folder,) = site.glob("*.dist-info")
    return email.message_from_string((folder / "METADATA").read_text())


def test_the_wheel_holds_every_module_and_every_data_file(site: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", *CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    missing = [name for name in tracked.stdout.split() if (ROOT / name).is_file() and not (site / name).is_file()]
    assert missing == []


def test_a_sweep_runs_from_an_empty_folder(site: Path, tmp_path: Path) -> None:
    run(site, tmp_path, *SWEEP, "--datasets", "mnist1d", *TINY, *QUICK)
    assert (tmp_path / "sweeps" / "report.html").stat().st_size > 100_000
    assert "8 stages" in run(site, tmp_path, "winning-sign", "status", "sweeps")


def test_a_built_in_experiment_is_planned_by_its_name(site: Path, tmp_path: Path) -> None:
    assert "figure2" in builtin_experiments()
    plan = run(site, tmp_path, *SWEEP, "figure2", "--smoke", "--plan", *QUICK)
    assert "signed_psi_kept" in plan


def test_tickets_is_imported_from_the_wheel(site: Path, tmp_path: Path) -> None:
    assert run(site, tmp_path, sys.executable, "-c", "import tickets; print(tickets.__file__)").startswith(str(site))


def test_every_command_has_an_entry_point_that_exists(site: Path) -> None:
    (folder,) = site.glob("*.dist-info")
    scripts = [entry for entry in PathDistribution(folder).entry_points if entry.group == "console_scripts"]
    assert "winning-sign" in {script.name for script in scripts}
    for script in scripts:
        assert callable(script.load()), script


def test_links_of_the_long_description_lead_somewhere_from_an_index(site: Path) -> None:
    page = metadata(site).get_payload()
    assert isinstance(page, str)
    assert "# Winning Sign" in page
    assert RELATIVE_LINK.findall(page) == []
    urls = dict(value.split(", ") for value in metadata(site).get_all("Project-URL", []))
    assert urls.keys() >= {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    for path in re.findall(rf"{re.escape(urls['Source'])}/(?:blob|raw)/main/([^)\"\s#]+)", page):
        assert (ROOT / path).exists(), path
