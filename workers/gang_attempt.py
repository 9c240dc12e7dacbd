"""One rank's part of an attempt that a gang works on: rank 0 writes its folder, the others only compute."""

from __future__ import annotations

import logging
import os
import socket
import time
import traceback
from pathlib import Path

from workers.attempt import Attempt, Outcome, earlier_checkpoints, run_attempts
from workers.execute import run_stage
from workers.execution import Control, Interrupted
from workers.gang import Member, RankLostError

log = logging.getLogger("winning_sign")


def run_rank(attempt: Attempt, member: Member) -> Outcome:
    """Compute a stage as one rank of its gang; a failure is an outcome, on every rank.

    The outcome of rank 0 is the attempt's. Another rank's tells what became of it, and of a failure its traceback.
    """
    if member.leads:
        return run_attempts([attempt], member)[0]
    began = time.monotonic()
    inputs = {name: Path(attempt.root) / path for name, path in attempt.job.inputs.items()}
    folder = Path(attempt.folder)
    control = Control(earlier=earlier_checkpoints(folder))  # rank 0 asks whether to stop, and checkpoints
    try:
        run_stage(
            attempt.job.stage,
            inputs,
            folder / "out",
            attempt.execution,
            control,
            key=attempt.job.key,
            member=member,
        )
    except Interrupted:
        return Outcome("interrupted", time.monotonic() - began)
    except Exception as error:
        where = f"rank {member.rank} on {socket.gethostname()}, pid {os.getpid()}"
        message = f"{error or repr(error)} ({where})"
        if not isinstance(error, RankLostError):
            message += f"\n{traceback.format_exc()}"
        seconds = time.monotonic() - began
        return Outcome("failed", seconds, error_type=type(error).__name__, message=message)
    return Outcome("done", time.monotonic() - began)
