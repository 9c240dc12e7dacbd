"""How a stage is run. None of it is part of the stage's key: same key, same bits, on the same device.

Two settings for GPUs change rounding, so the record keeps them: ``deterministic``, and which decoder reads streamed
images.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

AT_EPOCH_END = 0.1  # share of the interval; epochs of small networks end many times a second


class Interrupted(Exception):  # noqa: N818  (no error: the stage was asked to stop, and checkpointed)
    """The stage was asked to stop; it resumes from its checkpoint."""


class StageError(ValueError):
    """The stage cannot be computed as it stands; the message says why, and another attempt would end alike."""


@dataclass(frozen=True)
class Execution:
    """Device, data folders and other settings of a run that change no number.

    Attributes:
        device: "cpu", "cuda", "cuda:1", or "auto" for a GPU if there is one.
        data_root: folder of the user's data; None if the data sets need none.
        data_cache: folder of the decoded data sets, one copy per host.
        checkpoint_interval_s: seconds between two checkpoints of a training.
        plugins: files or modules to import first; they register the user's data sets, models and functions.
        loader_workers: processes that decode streamed images with PIL; None decodes on the GPU, or in one process.
        cuda_graphs: on a GPU, replay training steps as CUDA graphs.
        deterministic: on a GPU, use deterministic kernels only: same key, same bits. Otherwise cuDNN may choose the
            fastest kernels by trial, and equal runs differ by rounding; the record keeps this setting.
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
    """Callbacks of a running stage: when to stop, when to checkpoint, and whom to report progress to.

    Attributes:
        checkpoints: folder for this attempt's checkpoints; None writes none.
        earlier: checkpoint folders of earlier attempts to resume from.
        should_stop: called before every step, so it must be cheap.
        opened: receives what the stage's data set holds, for the record.
        report: receives {"epoch": ..., "epochs": ..., "accuracy_percent": ...} after every epoch.
        beat: called at every batch of any kind; regular calls tell a slow stage from a hung one.
        checkpointed: receives the folder after each checkpoint written into it.
    """

    checkpoints: Path | None = None
    earlier: tuple[Path, ...] = ()
    should_stop: Callable[[], bool] = lambda: False
    opened: Callable[[dict[str, Any]], None] = lambda held: None
    report: Callable[[dict[str, Any]], None] = lambda progress: None
    beat: Callable[[], None] = lambda: None
    checkpointed: Callable[[Path], None] = lambda folder: None
    checkpoint_interval_s: float = 60.0
    _last: float = field(default_factory=time.monotonic)

    @property
    def checkpoint_folders(self) -> tuple[Path, ...]:
        """All folders to resume from: those of earlier attempts, and this attempt's own."""
        return self.earlier if self.checkpoints is None else (*self.earlier, self.checkpoints)

    def beat_or_stop(self) -> None:
        """Beat, then raise Interrupted if the stage was asked to stop."""
        self.beat()
        if self.should_stop():
            raise Interrupted

    def checkpoint_due(self, *, epoch_ended: bool = False) -> bool:
        """Whether the interval, or a tenth of it at an epoch's end, has passed since the last True."""
        interval = self.checkpoint_interval_s * (AT_EPOCH_END if epoch_ended else 1)
        if self.checkpoints is None or time.monotonic() - self._last < interval:
            return False
        self._last = time.monotonic()
        return True
