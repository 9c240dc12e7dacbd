"""How a stage is run: no part of its key. Same key, same bits, on the same device.

Two settings for GPUs bend that by rounding, and stand in the record: ``deterministic``, and which decoder streamed
images go through.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

AT_EPOCH_END = 0.1  # epochs of small networks end many times a second


class Interrupted(Exception):  # noqa: N818  (not an error: the stage was asked to stop, and checkpointed)
    """The stage was asked to stop; it resumes from its checkpoint."""


@dataclass(frozen=True)
class Execution:
    """Places and habits.

    Attributes:
        device: "cpu", "cuda", "cuda:1", or "auto" for a GPU where there is one.
        data_root: the user's data; None where the data sets need none.
        data_cache: decoded data sets, one copy per host.
        checkpoint_interval_s: a training checkpoints when this time has passed since the last one.
        plugins: files or modules that register what is the user's own, imported first.
        loader_workers: processes that decode streamed images with PIL; None decodes on the GPU, or in one process.
        cuda_graphs: on a GPU, replay training steps as CUDA graphs.
        deterministic: on a GPU, use deterministic kernels only: same key, same bits. Otherwise cuDNN may pick the
            fastest ones by trying, and equal runs differ by rounding; the record says which it was.
    """

    device: str
    data_root: str | None
    data_cache: str
    checkpoint_interval_s: float = 60.0
    plugins: tuple[str, ...] = ()
    loader_workers: int | None = None
    cuda_graphs: bool = True
    deterministic: bool = True

    @property
    def torch_device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.device)


@dataclass
class Control:
    """What a running training asks and tells: whether to stop, when to checkpoint, how far it is.

    Attributes:
        checkpoints: folder for this attempt's checkpoints; None keeps none.
        earlier: checkpoint folders of earlier attempts to resume from.
        should_stop: asked before every step, so it must be cheap.
        report: told {"epoch": ..., "epochs": ..., "accuracy_percent": ...} after every epoch.
        beat: called at every batch of anything: that it goes on being called tells slow from hung.
        checkpointed: told the folder whenever a checkpoint was written into it.
    """

    checkpoints: Path | None = None
    earlier: tuple[Path, ...] = ()
    should_stop: Callable[[], bool] = lambda: False
    report: Callable[[dict[str, Any]], None] = lambda progress: None
    beat: Callable[[], None] = lambda: None
    checkpointed: Callable[[Path], None] = lambda folder: None
    checkpoint_interval_s: float = 60.0
    _last: float = field(default_factory=time.monotonic)

    def stop_if_asked(self) -> None:
        """Beat, and raise Interrupted once a stop was asked for."""
        self.beat()
        if self.should_stop():
            raise Interrupted

    def checkpoint_due(self, *, epoch_ended: bool = False) -> bool:
        """Whether the interval has passed since this last said so; at an epoch's end, a tenth of it."""
        interval = self.checkpoint_interval_s * (AT_EPOCH_END if epoch_ended else 1)
        if self.checkpoints is None or time.monotonic() - self._last < interval:
            return False
        self._last = time.monotonic()
        return True
