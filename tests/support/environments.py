"""Python environments without the project, whose packages are those of the tests' environment: no network is needed."""

from __future__ import annotations

import shlex
import sys
import sysconfig
import venv
from pathlib import Path

OF_THE_PROJECT = ("winning_sign", "__editable__")
# Without a network, and without a second environment to build in.
OFFLINE = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_DEPS": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # pip reads the value of an option that begins with "no" the other way round
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PIP_QUIET": "1",
}


def create(folder: Path) -> Path:
    """Create an environment with a ``pip`` that works offline; return its Python.

    Pip calls are appended to ``pip.txt`` in the environment. Constraints are recorded and left out, because they are
    pins, and the tests' environment may have newer packages.
    """
    venv.create(folder, symlinks=True)
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (packages / "packages_of_the_tests.pth").write_text(f"{_linked(folder / 'packages')}\n")
    python, pip = folder / "bin" / "python", folder / "bin" / "pip"
    variables = shlex.join(f"{name}={value}" for name, value in OFFLINE.items())
    pip.write_text(
        "#!/bin/bash\n"
        f'echo "$*" >> {shlex.quote(str(folder / "pip.txt"))}\n'
        'kept=(); while [ $# -gt 0 ]; do case "$1" in\n'
        '  --constraint) test -r "$2" || exit 1; shift 2;;\n'
        '  *) kept+=("$1"); shift;;\n'
        "esac; done\n"
        f'exec env {variables} {shlex.quote(str(python))} -m pip "${{kept[@]}}"\n'
    )
    pip.chmod(0o755)
    return python


def _linked(folder: Path) -> Path:
    """Fill a folder with links to the installed packages, except to this project."""
    folder.mkdir()
    for kind in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(kind).iterdir():
            if not entry.name.startswith(OF_THE_PROJECT):
                (folder / entry.name).symlink_to(entry)
    return folder
