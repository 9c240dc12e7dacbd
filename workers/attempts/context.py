"""What every kind of stage works with: its data set, its network, its gang, and the trainer called with all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import tickets
from workers.data import MappedData, StreamedData, covered, open_data
from workers.data.splits import split_data
from workers.devices.memory_format import memory_format
from workers.models import build_model
from workers.stages import Alpha, Setting, Training
from workers.stages.execution import Control, Execution
from workers.storage import artifacts, schemas
from workers.training.gang.member import Member
from workers.training.signs import signs_summary
from workers.training.trainer import TrainingLog, train


class StageContext:
    """The data set and network of a setting on this process's device.

    Attributes:
        data: the decoded data set.
        splits: its splits on the device; ``fresh_model`` sets their memory format.
        member: this process's place in the stage's gang.
    """

    def __init__(self, setting: Setting, execution: Execution, control: Control, member: Member) -> None:
        self.setting, self.control, self.member = setting, control, member
        self._execution = execution
        self.data = open_data(
            setting.data.name,
            setting.data.fingerprint,
            Path(execution.data_root) if execution.data_root else None,
            Path(execution.data_cache),
            lambda what, done, total: control.beat(),
            setting.data.image_size,
        )
        device, loader_workers = execution.torch_device, execution.loader_workers
        self.splits = split_data(self.data, setting.data, device, loader_workers, setting.precision)
        control.opened(_held(self.data, setting.data.fingerprint, len(self.splits.validation)))

    def fresh_model(self, init_seed: int = 0) -> nn.Module:
        """Build the network with initial weights drawn from a seed, on the device."""
        channels, classes, device = self.data.channels, self.data.num_classes, self.splits.device
        model = build_model(
            self.setting.model,
            in_channels=channels,
            num_classes=classes,
            init_seed=init_seed,
            beat=self.control.beat_or_stop,
        )
        self.splits = replace(self.splits, memory_format=memory_format(model, device))
        return model.to(device).to(memory_format=self.splits.memory_format)

    def load_model(self, folder: Path) -> nn.Module:
        """Load a stage's trained network from its ``out/`` folder."""
        model = self.fresh_model()
        model.load_state_dict(load_state(folder))
        return model

    def train(
        self,
        model: nn.Module,
        training: Training,
        masks: Mapping[str, Tensor],
        sgd_seed: int,
        alpha: Alpha | None = None,
    ) -> TrainingLog:
        """Train a network in place, and the masks under a mask rule; with ``alpha``, under AWS."""
        watched = {"validation": self.splits.validation} if len(self.splits.validation) else {}
        if self.setting.watch_test_set:
            watched["test"] = self.splits.test
        return train(
            model,
            training,
            self.splits,
            masks=masks,
            alpha=alpha,
            sgd_seed=sgd_seed,
            watched=watched,
            control=self.control,
            cuda_graphs=self._execution.cuda_graphs,
            deterministic=self._execution.deterministic,
            member=self.member,
            roles=tickets.parameter_roles(model, self.data.num_classes),
        )


def _held(data: MappedData | StreamedData, fingerprint: str, validation_images: int) -> dict[str, Any]:
    """What a data set holds: counts by split, files left out, and what its fingerprint covers."""
    return {
        "splits": {split: asdict(summary) for split, summary in data.splits.items()},
        "validation_images": validation_images,
        "left_out_files": data.left_out,
        "fingerprint_covers": covered(fingerprint),
        "prepared_unix_s": data.prepared_unix_s,
    }


def load_state(folder: Path) -> dict[str, Tensor]:
    """Load the trained tensors of a stage from its ``out/`` folder."""
    return artifacts.load_weights(folder / schemas.WEIGHTS)[0]


def save_training(model: nn.Module, masks: Mapping[str, Tensor], log: TrainingLog, out: Path) -> dict[str, float]:
    """Write a trained network with its masks, metrics, timing and signs over time; return the numbers of its signs."""
    artifacts.write_rows(out / schemas.METRICS, log.metrics, schemas.METRICS_SCHEMA)
    artifacts.write_rows(out / schemas.TIMING, log.timing, schemas.TIMING_SCHEMA)
    artifacts.save_weights(out / schemas.WEIGHTS, model.state_dict(), masks)
    if log.signs:  # a network that is not trained, such as one pruned at initialisation, has none
        artifacts.write_rows(out / schemas.SIGNS, log.signs, schemas.SIGNS_SCHEMA, compressed=True)
    return signs_summary(log.signs)
