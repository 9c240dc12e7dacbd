"""Another file of one of our packages' names: every command says which file hides ours, as does an import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from winning_sign import HOME

# as an editable installation finds packages: after sys.path, so that even a bare folder comes first
EDITABLE = f"""
import sys
from importlib.machinery import PathFinder

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [{str(HOME)!r}]) if path is None else None

sys.meta_path.insert(sys.meta_path.index(PathFinder) + 1, Finder)
"""
COMMANDS = [
    *(f"orchestrator.{name}" for name in ("sweep", "status", "why", "gc", "search", "landscape", "spot_notice")),
    *("analysis.report", "analysis.serve", "analysis.checks", "workers.run", "tickets"),
]


def python(folder: Path, *arguments: str, path: str = str(HOME)) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def hide(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return file


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_the_file_that_hides_a_package_and_exits_with_2(command: str, tmp_path: Path) -> None:
    hidden = "orchestrator" if command.startswith("workers") else "workers"
    file = hide(tmp_path / f"{hidden}.py")
    done = python(tmp_path, "-m", command, "--help")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"Error: {file} hides Winning Sign's package {hidden!r}, which lies in {HOME}; "
        "rename it, or run from another folder\n"
    )


def test_a_package_of_the_users_hides_ours(tmp_path: Path) -> None:
    hide(tmp_path / "analysis" / "__init__.py")
    done = python(tmp_path, "-m", "orchestrator.status", "sweeps")
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {tmp_path / 'analysis'} hides Winning Sign's package 'analysis'")


def test_a_folder_without_init_hides_an_editable_installation(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(EDITABLE)
    (tmp_path / "study" / "analysis").mkdir(parents=True)
    done = python(tmp_path / "study", "-m", "orchestrator.status", "sweeps", path=str(tmp_path / "site"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {tmp_path / 'study' / 'analysis'} hides Winning Sign's package 'analysis'")


def test_a_folder_without_init_hides_no_installed_package(tmp_path: Path) -> None:
    (tmp_path / "analysis").mkdir()
    done = python(tmp_path, "-m", "orchestrator.status", "--help")
    assert (done.returncode, done.stderr) == (0, "")


def test_another_installed_package_hides_ours(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "site-packages"
    hide(site / "tickets" / "__init__.py")
    done = python(tmp_path, "-m", "orchestrator.sweep", "--help", path=f"{site}{os.pathsep}{HOME}")
    assert done.returncode == 2
    assert f"{site / 'tickets'} hides Winning Sign's package 'tickets'" in done.stderr
    assert done.stderr.endswith("install winning-sign in a virtual environment of its own\n")


def test_a_folder_of_pythonpath_hides_ours(tmp_path: Path) -> None:
    hide(tmp_path / "mine" / "tickets.py")
    (tmp_path / "here").mkdir()
    done = python(tmp_path / "here", "-m", "orchestrator.sweep", "--help", path=f"{tmp_path / 'mine'}:{HOME}")
    assert done.returncode == 2
    assert done.stderr.endswith(f"take {tmp_path / 'mine'} off PYTHONPATH\n")


def test_winning_sign_says_which_file_hides_even_orchestrator(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "site-packages"
    hide(site / "orchestrator" / "__init__.py")
    script = tmp_path / "winning-sign"  # as pip writes it
    script.write_text("from winning_sign import main\nmain()\n")
    done = python(tmp_path, str(script), "--help", path=f"{site}{os.pathsep}{HOME}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {site / 'orchestrator'} hides Winning Sign's package 'orchestrator'")


def test_importing_tickets_warns_and_works_where_another_package_is_hidden(tmp_path: Path) -> None:
    file = hide(tmp_path / "analysis.py")
    done = python(tmp_path, "-c", "import tickets; print(tickets.Ticket.__name__)")
    assert (done.returncode, done.stdout) == (0, "Ticket\n")
    assert f"UserWarning: {file} hides Winning Sign's package 'analysis'" in done.stderr


@pytest.mark.parametrize("package", ["workers", "orchestrator", "analysis"])
def test_importing_a_package_fails_where_one_that_it_needs_is_hidden(package: str, tmp_path: Path) -> None:
    file = hide(tmp_path / "tickets.py")
    done = python(tmp_path, "-c", f"import {package}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"winning_sign.HiddenPackageError: {file} hides Winning Sign's package 'tickets'"
    )


def test_a_private_ray_is_not_started_where_its_workers_would_import_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from orchestrator.backends.base import BackendError
    from orchestrator.backends.ray import cluster

    file = hide(tmp_path / "workers.py")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackendError, match=rf"search the current folder first: {file} hides"):
        cluster.connect(None, 1)
