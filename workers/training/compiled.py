"""torch.compile: what it needs of a machine, and where it keeps the programs that it has compiled."""

from __future__ import annotations

import os
import shutil
import sysconfig
import tempfile
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from tickets.files.home import NoHomeError, user_cache
from workers.devices.processor import processor
from workers.stages.execution import StageError

Forward = Callable[[Tensor, Tensor], Tensor]
"""Maps images and alpha to logits."""

PROGRAMS = 256  # compiled in one process
CACHE = "TORCHINDUCTOR_CACHE_DIR"


class NoCompilerError(StageError):
    """This machine lacks what torch.compile calls; the message names it and the remedy."""


def check_compiler(device: torch.device) -> None:
    """Raise NoCompilerError unless torch.compile finds a compiler, and the headers of this Python.

    torch itself fails in the first step, after the data was read, and names no field of a recipe.
    """
    variable, names = ("CC", ("gcc", "clang")) if device.type == "cuda" else ("CXX", ("g++",))
    chosen = os.environ.get(variable)
    headers = Path(sysconfig.get_path("include"))
    lacks = ""
    if not any(map(shutil.which, (chosen.split()[:1] if chosen else names))):
        lacks = f"the compiler {chosen or names[0]}"
    elif not (headers / "Python.h").is_file():
        lacks = f"Python's headers ({headers}/Python.h; on Debian and Ubuntu, the package python3-dev)"
    if lacks:
        raise NoCompilerError(
            f"torch.compile needs {lacks}, which this machine lacks; install it, or train without torch.compile: "
            f"--set compile_from_epochs=null, which gives other keys"
        )


def compile_forward(forward: Forward, device: torch.device) -> Forward:
    """Compile a forward pass for training; its programs are kept in the user's cache, for later processes.

    Raises:
        NoCompilerError: see ``check_compiler``.
    """
    check_compiler(device)
    if not _is_chosen(os.environ.get(CACHE, "")):
        with suppress(NoHomeError):  # then torch keeps them in the folder for temporary files
            os.environ[CACHE] = str(programs_folder())
    # beyond the limit torch would silently run eagerly, and round differently
    torch._dynamo.config.recompile_limit = PROGRAMS
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    compiled: Forward = torch.compile(forward, dynamic=False)  # one program for full batches, one for the tail
    return compiled


def _is_chosen(folder: str) -> bool:
    """Whether a user named the folder of programs; torch sets the variable too, to a folder that a restart empties."""
    path = Path(folder)
    return folder != "" and (path.parent != Path(tempfile.gettempdir()) or not path.name.startswith("torchinductor_"))


def programs_folder() -> Path:
    """Return the folder of compiled programs: one for each torch and processor, whose instructions they contain.

    Machines of two kinds may share a home folder. Raises NoHomeError.
    """
    machine = blake2b(f"{torch.__version__}, {processor()}".encode(), digest_size=8).hexdigest()
    return user_cache() / "compiled" / machine
