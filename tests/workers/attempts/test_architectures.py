"""Networks of many kinds through every kind of stage: round 0, a round, the final trainings of its ticket, a probe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tickets
from tickets import Role
from workers.attempts.execute import run_stage
from workers.models import build_model
from workers.stages import Data, Model, Precision, Pretrain, Probe, Psi, Round, Setting, Train, Training
from workers.stages.execution import Execution
from workers.storage import artifacts, schemas

TIMM = {"img_size": 8, "patch_size": 4, "embed_dim": 8, "depth": 1, "num_heads": 2}
NETWORKS = {
    "vit_tiny": Model("vit_tiny", {"image_size": 8, "width": 8, "depth": 1, "heads": 2}),
    "unnormalized": Model("resnet20_unnormalized", {"width": 2}),
    "timm_vit": Model("timm:vit_tiny_patch16_224", {**TIMM, "init_values": 0.1, "drop_path_rate": 0.1}),
    "timm_deit": Model("timm:deit_tiny_distilled_patch16_224", TIMM),
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return artifacts.load_weights(folder / schemas.WEIGHTS)[0]


@pytest.mark.parametrize(
    ("name", "precision"),
    [*((name, "float32") for name in NETWORKS), ("vit_tiny", "bfloat16"), ("timm_vit", "bfloat16")],
)
def test_every_kind_of_stage_trains_a_network_of_this_kind(
    name: str, precision: Precision, tmp_path: Path, training: Training, execution: Execution
) -> None:
    training = replace(training, epochs=1)
    setting = Setting("sound", Data("tiny", "tiny-1", 0.1), NETWORKS[name], precision=precision)
    psi: Psi = "plain" if name == "unnormalized" else "interpolated"
    run_stage(Pretrain(setting, training, psi, 1, 10), {}, tmp_path / "round0", execution, key="key0")
    run_stage(
        Round(setting, training, psi, 1, 0.2, 11), {"previous": tmp_path / "round0"}, tmp_path / "round1", execution
    )
    ticket, trained = tickets.load(tmp_path / "round1" / schemas.TICKET), weights(tmp_path / "round1")
    assert ticket.density == pytest.approx(0.8, abs=0.001)
    untrained = replace(training, epochs=0)
    for start in ("retrain", "signed"):
        stage = Train(setting, untrained, tickets.TRANSFERS[start], 4, 5)
        run_stage(stage, {"ticket": tmp_path / "round1"}, tmp_path / f"{start}0", execution)
        run_stage(replace(stage, training=training), {"ticket": tmp_path / "round1"}, tmp_path / start, execution)
        assert not all(torch.equal(t, trained[key]) for key, t in weights(tmp_path / start).items())
    assert all(torch.equal(tensor, trained[key]) for key, tensor in weights(tmp_path / "retrain0").items())
    fresh = build_model(NETWORKS[name], in_channels=1, num_classes=3, init_seed=4).state_dict()
    for key, start in weights(tmp_path / "signed0").items():
        if key in ticket.tensors and ticket.tensors[key].role is not Role.NORMALIZATION:
            assert torch.equal(start, fresh[key].abs() * ticket.tensors[key].sign), key
        else:
            assert torch.equal(start, fresh[key]), key
    inputs = {"a": tmp_path / "signed", "b": tmp_path / "retrain"}
    results = run_stage(Probe(setting, 3, 32, 64, None), inputs, tmp_path / "probe", execution)
    assert results["same_mask"] is True


def test_a_sweeps_draw_of_timms_network_is_the_one_under_its_seed() -> None:
    import timm

    model = NETWORKS["timm_vit"]
    swept = build_model(model, in_channels=1, num_classes=3, init_seed=5).state_dict()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        built = timm.create_model("vit_tiny_patch16_224", in_chans=1, num_classes=3, **model.options)
    assert all(torch.equal(tensor, swept[name]) for name, tensor in built.state_dict().items())
    provenance = tickets.Provenance("tiny", model.name, "lrr", 1, 1.0, "sound", "key")
    ticket = tickets.from_model(built, {}, 3, provenance)
    with pytest.raises(tickets.TicketError, match=r"build the model under torch.manual_seed\(5\) and leave seed out"):
        ticket.apply(built, seed=5)  # its constructor has drawn it, which nobody can repeat
