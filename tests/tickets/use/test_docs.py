"""Run the code of docs/tickets.md and README from their text."""

import re
from pathlib import Path

import lightning
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import tickets
from tests.tickets.use.own_training import batches, network, ticket_under
from tickets import MaskGuard

ROOT = Path(__file__).parents[3]


def python_of(document: str, first_heading: str, last_heading: str) -> str:
    """The Python blocks from one heading to another."""
    text = (ROOT / document).read_text().split(first_heading, 1)[1].split(last_heading, 1)[0]
    return "\n".join(re.findall(r"```python\n(.*?)```", text, re.S))


def run(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    tickets.save(ticket_under(), folder / "ticket.parquet")
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"model": network(), "model_of_100_classes": network(classes=100)}
    exec(code, names)
    return names


def test_the_readmes_three_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = run(python_of("README.md", "## Use a ticket", "## Where to read on"), tmp_path, monkeypatch)
    kept = names["kept"]
    assert isinstance(kept, MaskGuard)
    assert kept.check() == 0.5


@pytest.mark.filterwarnings("ignore")
def test_the_guide_to_using_a_ticket_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = python_of("docs/tickets.md", "## Using a ticket", "If the classifier has another name")
    names = run(code, tmp_path, monkeypatch)
    model_of_100_classes, kept = names["model_of_100_classes"], names["kept"]
    assert isinstance(kept, MaskGuard)
    assert kept.check() == 0.5
    assert isinstance(model_of_100_classes, torch.nn.Sequential)
    assert model_of_100_classes[5].weight.all()
    module = names["Training"](network())  # type: ignore[operator]
    x, y = (torch.cat(parts) for parts in zip(*batches(2), strict=True))
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(TensorDataset(x, y), batch_size=8))
    assert trainer.global_step == 2
