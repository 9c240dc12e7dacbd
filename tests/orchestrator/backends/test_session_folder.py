"""A private Ray's folder: Ray's own choice where its sockets fit and may be made, else a short one of this user's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.backends.base import BackendError
from orchestrator.backends.ray.session_folder import session_parent


@pytest.fixture
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def own(short: Path) -> str:
    return str(short / f"winning-sign-{os.getuid()}")


def test_a_usable_folder_stays(short: Path) -> None:
    assert session_parent({}, short) == str(short)
    (short / "job").mkdir()
    assert session_parent({"TMPDIR": str(short / "job")}, short) == str(short / "job")
    assert session_parent({"TMPDIR": "/none", "RAY_TMPDIR": str(short)}, short) == str(short)


def test_a_long_a_missing_and_a_closed_folder_are_replaced(short: Path) -> None:
    long = short / ("x" * (97 - len(str(short)) - 1))
    long.mkdir()
    (short / "file").touch()
    (short / "blocked").mkdir()
    (short / "blocked" / "ray").touch()
    for folder in (long, short / "none", short / "file", short / "blocked"):
        assert session_parent({"TMPDIR": str(folder)}, short) == own(short)
    assert Path(own(short)).stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_may_write_is_not_taken(short: Path) -> None:
    Path(own(short)).mkdir()
    Path(own(short)).chmod(0o777)
    with pytest.raises(BackendError, match=r"TMPDIR=/none is no folder, and .* others may write there; set RAY_TMPDIR"):
        session_parent({"TMPDIR": "/none"}, short)
    Path(own(short)).rmdir()
    (short / "elsewhere").mkdir()
    Path(own(short)).symlink_to(short / "elsewhere")
    with pytest.raises(BackendError, match="set RAY_TMPDIR"):
        session_parent({"TMPDIR": "/none"}, short)
