"""The global generators: a thread that waits for them is heard, and can be stopped."""

from __future__ import annotations

import threading

import pytest
import torch

from workers.devices import randomness
from workers.devices.randomness import exclusive_generators
from workers.models import build_model
from workers.stages import Model
from workers.stages.execution import Interrupted

CPU = torch.device("cpu")


def test_a_stage_that_waits_for_a_packed_training_beats_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(randomness, "BEAT_S", 0.01)
    taken, free = threading.Event(), threading.Event()

    def train_with_dropout() -> None:
        with exclusive_generators(CPU):
            taken.set()
            free.wait(30)

    beats = []

    def beat() -> None:
        beats.append(1)
        if len(beats) == 3:
            raise Interrupted

    thread = threading.Thread(target=train_with_dropout)
    thread.start()
    try:
        assert taken.wait(30)
        with pytest.raises(Interrupted):
            build_model(Model("resnet1d"), in_channels=1, num_classes=3, init_seed=0, beat=beat)
        assert len(beats) == 3
    finally:
        free.set()
        thread.join()
    build_model(Model("resnet1d"), in_channels=1, num_classes=3, init_seed=0, beat=beat)
    assert len(beats) == 3
