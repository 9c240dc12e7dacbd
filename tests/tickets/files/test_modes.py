"""Files have the mode that the umask leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tickets.files.writing import replacing, write_atomically


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_the_umask_decides_who_may_read_a_file(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "folder" / "written", b"1")
        write_atomically(tmp_path / "folder" / "created", b"1", exclusive=True)
        with replacing(tmp_path / "folder" / "replaced") as partial:
            partial.write_bytes(b"1")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "folder").iterdir()} == {mode}
