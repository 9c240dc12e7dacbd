"""One rank's part of a gang's attempt: rank 0 writes the attempt's folder, the other ranks only compute."""

from __future__ import annotations

import logging
import os
import socket
import time
import traceback
from dataclasses import replace

from workers.attempts.attempt import Attempt, Outcome, failed, run_attempts, workspace_of
from workers.attempts.execute import run_stage
from workers.stages.execution import Control, Interrupted
from workers.training.gang.member import Member, RankLostError

log = logging.getLogger("winning_sign")


def run_rank(attempt: Attempt, member: Member, node: str = "") -> Outcome:
    """Compute a stage as one rank of its gang; a failure becomes an outcome, on every rank.

    Rank 0's outcome is the attempt's. The other ranks' outcomes hold their failures, with tracebacks.

    Args:
        node: the backend's name of the gang's machines.
    """
    if member.is_leader:
        return run_attempts([attempt], node, member)[0]
    began = time.monotonic()
    try:
        with workspace_of(attempt, writes=False) as space:
            run_stage(
                attempt.job.stage,
                space.inputs,
                space.folder / "out",
                attempt.execution,
                Control(earlier=space.earlier),  # rank 0 decides when to stop, and checkpoints
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
        return replace(failed(error, began), message=message)
    return Outcome("done", time.monotonic() - began)
