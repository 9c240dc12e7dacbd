"""A record names the processor and the instruction set that torch uses on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from workers.devices import processor as module


@pytest.fixture(autouse=True)
def _asked_anew() -> None:
    module.processor.cache_clear()


def test_the_model_is_the_first_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = tmp_path / "cpuinfo"
    facts.write_text("processor\t: 0\nmodel name\t: Some  CPU @ 2.00GHz\n\nprocessor\t: 1\nmodel name\t: Some CPU\n")
    monkeypatch.setattr(module, "CPU_FACTS", facts)
    assert module.processor() == f"Some CPU @ 2.00GHz, {torch.backends.cpu.get_cpu_capability()}"


def test_a_machine_without_that_file_names_its_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CPU_FACTS", tmp_path / "none")
    model, _, capability = module.processor().rpartition(", ")
    assert model
    assert capability == torch.backends.cpu.get_cpu_capability()
