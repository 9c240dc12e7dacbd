"""Stages by their artifacts: the rules of rounds, final trainings and probes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

import tickets
from tests.support.registries import registries_kept
from workers.attempts.execute import run_probes, run_stage
from workers.data import MappedData, open_data
from workers.probing import Pair, probe
from workers.stages import Alpha, PairProbe, Pretrain, Probe, Round, Setting, Train, Training
from workers.stages.execution import Execution
from workers.storage import artifacts, schemas

BETA = Alpha("beta", (2.0, 2.0))


@pytest.fixture
def chain(tmp_path: Path, setting: Setting, training: Training, execution: Execution) -> Path:
    """round0, round1 and round2 of AWS."""
    run_stage(Pretrain(setting, training, "interpolated", 1, 10), {}, tmp_path / "round0", execution, key="key0")
    for number in (1, 2):
        stage = Round(setting, training, "interpolated", number, 0.2, 10 + number)
        inputs = {"previous": tmp_path / f"round{number - 1}"}
        run_stage(stage, inputs, tmp_path / f"round{number}", execution, key=f"key{number}")
    return tmp_path


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return artifacts.load_weights(folder / schemas.WEIGHTS)[0]


def splits_in(folder: Path) -> list[str]:
    return pq.read_table(folder / schemas.METRICS).column("split").to_pylist()


def test_density_falls_by_a_fifth_per_round_and_the_classifier_is_never_pruned(chain: Path) -> None:
    first = tickets.load(chain / "round0" / schemas.TICKET)
    alive = total = sum(mask.numel() for mask in first.masks.values())
    assert first.density == 1
    for number in (1, 2):
        ticket, state = tickets.load(chain / f"round{number}" / schemas.TICKET), weights(chain / f"round{number}")
        alive = int(0.8 * alive)
        assert sum(int(mask.sum()) for mask in ticket.masks.values()) == alive
        assert ticket.provenance.density == alive / total
        assert ticket.provenance.round == number
        assert ticket.provenance.stage_key == f"key{number}"
        assert "fc.weight" not in ticket.masks
        assert state["fc.weight"].count_nonzero() == state["fc.weight"].numel()
        for name, mask in ticket.masks.items():
            assert not state[name][~mask].any()
            assert torch.equal(state[name].sign().to(torch.int8), ticket.tensors[name].sign)


def test_a_stage_trains_on_images_of_the_size_that_its_key_says(
    tmp_path: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    small = replace(setting, data=replace(setting.data, image_size=4))
    results = run_stage(Train(small, training, tickets.TRANSFERS["dense"], 1, 2), {}, tmp_path, execution)
    averaged = open_data("tiny", "tiny-1", None, Path(execution.data_cache), image_size=4)
    assert isinstance(averaged, MappedData)
    assert averaged.train_images.shape == (230, 1, 4, 4)
    assert results["data_blake2b"] == averaged.content_blake2b


def test_a_round_starts_from_the_weights_and_statistics_of_the_round_before(
    chain: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    frozen = replace(training, optimizer=replace(training.optimizer, learning_rate=1e-12))
    stage = Round(setting, frozen, "plain", 1, 0.2, 5)
    run_stage(stage, {"previous": chain / "round0"}, chain / "frozen", execution)
    before, after = weights(chain / "round0"), weights(chain / "frozen")
    mask = tickets.load(chain / "frozen" / schemas.TICKET).masks
    for name, tensor in after.items():
        if "running" not in name and "batches" not in name:
            expected = before[name] * mask[name] if name in mask else before[name]
            torch.testing.assert_close(tensor, expected, rtol=1e-5, atol=1e-6)
    counter = "bn.num_batches_tracked"
    assert int(after[counter]) == 2 * int(before[counter]) > 0  # carried over, not reset


def test_a_round_prunes_the_smallest_magnitudes_of_the_round_before(chain: Path) -> None:
    before = weights(chain / "round0")
    mask = tickets.load(chain / "round1" / schemas.TICKET).masks
    surviving = torch.cat([before[name][m].abs() for name, m in mask.items()])
    pruned = torch.cat([before[name][~m].abs() for name, m in mask.items()])
    assert surviving.min() >= pruned.max()


def test_aws_interpolates_psi_in_every_round_and_never_in_final_training(
    tmp_path: Path, setting: Setting, training: Training, execution: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []
    import workers.attempts.context

    original = workers.attempts.context.train
    monkeypatch.setattr(
        "workers.attempts.context.train", lambda *a, **options: (calls.append(options), original(*a, **options))[1]
    )
    for psi in ("interpolated", "plain"):
        base = tmp_path / psi
        run_stage(Pretrain(setting, training, psi, 1, 2, BETA), {}, base / "0", execution)  # type: ignore[arg-type]
        run_stage(Round(setting, training, psi, 1, 0.2, 3, BETA), {"previous": base / "0"}, base / "1", execution)  # type: ignore[arg-type]
        for name in ("retrain", "signed", "mask"):
            stage = Train(setting, training, tickets.TRANSFERS[name], 4, 5)
            run_stage(stage, {"ticket": base / "1"}, base / name, execution)
    assert [call.get("alpha") for call in calls] == [BETA, BETA, None, None, None] + [None] * 5


def test_aws_trains_psi_and_does_not_collapse_it(chain: Path) -> None:
    state = weights(chain / "round2")
    assert not torch.equal(state["bn.weight"], torch.ones_like(state["bn.weight"]))
    assert state["bn.bias"].abs().max() > 0


@pytest.mark.parametrize("watched", [False, True])
def test_a_retrain_without_epochs_tests_the_network_of_the_round_as_it_is(
    chain: Path, setting: Setting, training: Training, execution: Execution, watched: bool
) -> None:
    untrained = Training(0, training.batch_size, training.optimizer)
    stage = Train(replace(setting, watch_test_set=watched), untrained, tickets.TRANSFERS["retrain"], 0, 0)
    results = run_stage(stage, {"ticket": chain / "round1"}, chain / "tested", execution)
    before, after = weights(chain / "round1"), weights(chain / "tested")
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
    [row] = pq.read_table(chain / "tested" / schemas.METRICS).to_pylist()
    assert (row["split"], row["epoch"], row["accuracy_percent"]) == ("test", 0, results["test_accuracy_percent"])
    assert results["density"] == tickets.load(chain / "round1" / schemas.TICKET).density


def test_a_transfer_keeps_its_mask_through_training(
    chain: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    ticket = tickets.load(chain / "round2" / schemas.TICKET)
    for name in ("signed", "mask", "retrain"):
        results = run_stage(
            Train(setting, training, tickets.TRANSFERS[name], 4, 5),
            {"ticket": chain / "round2"},
            chain / name,
            execution,
        )
        assert results["density"] == ticket.density
        state = weights(chain / name)
        assert all(not state[weight][~mask].any() for weight, mask in ticket.masks.items())


def test_sound_reads_the_test_set_once_and_reference_after_every_epoch(
    tmp_path: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    dense = Train(setting, training, tickets.DENSE, 4, 5)
    run_stage(dense, {}, tmp_path / "sound", execution)
    assert splits_in(tmp_path / "sound") == ["train", "validation"] * 2 + ["test"]
    watching = Setting("reference", replace(setting.data, validation_fraction=0.0), setting.model, True)
    run_stage(replace(dense, setting=watching), {}, tmp_path / "reference", execution)
    assert splits_in(tmp_path / "reference") == ["train", "test"] * 2


def test_a_training_that_must_not_read_the_test_set_reports_validation_accuracy(
    chain: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    stage = Train(setting, training, tickets.SIGNED, 5, 6)
    blind = run_stage(replace(stage, read_test_set=False), {"ticket": chain / "round1"}, chain / "blind", execution)
    seeing = run_stage(stage, {"ticket": chain / "round1"}, chain / "seeing", execution)
    assert "test" not in splits_in(chain / "blind")
    rows = pq.read_table(chain / "seeing" / schemas.METRICS).to_pylist()
    last = [row["accuracy_percent"] for row in rows if row["split"] == "validation"][-1]
    assert blind["validation_accuracy_percent"] == last
    assert not [name for name in blind if name.startswith("test")]
    assert seeing["test_accuracy_percent"] == rows[-1]["accuracy_percent"]


def test_chain_stages_never_read_the_test_set_in_sound(chain: Path) -> None:
    assert splits_in(chain / "round1") == ["train", "validation"] * 2 + ["validation_reestimated"]


def test_round_0_saves_its_initialisation(
    chain: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    state, _ = artifacts.load_weights(chain / "round0" / schemas.INIT)
    from workers.models import build_model

    fresh = build_model(setting.model, in_channels=1, num_classes=3, init_seed=1).state_dict()
    assert all(torch.equal(state[name], fresh[name]) for name in fresh)


def test_a_probe_records_whether_its_solutions_share_a_mask(
    chain: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    for name in ("signed", "shuffled", "retrain"):
        stage = Train(setting, training, tickets.TRANSFERS[name], 4, 5)
        run_stage(stage, {"ticket": chain / "round2"}, chain / name, execution)
    probe = Probe(setting, 5, 32, 64, None)
    for name, same in (("signed", True), ("shuffled", False)):
        inputs = {"a": chain / name, "b": chain / "retrain"}
        results = run_stage(probe, inputs, chain / f"probe-{name}", execution)
        assert results["same_mask"] is same
    curve = pq.read_table(chain / "probe-signed" / schemas.PROBE).to_pydict()
    error = curve["error_percent"]
    row = pq.read_table(chain / "probe-signed" / schemas.BARRIER).to_pylist()[0]
    assert row["barrier_points"] == pytest.approx(max(error) - (error[0] + error[-1]) / 2)
    assert curve["lambda"] == [0, 0.25, 0.5, 0.75, 1]


def test_the_same_stage_gives_the_same_bits(
    chain: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    stage = Round(setting, training, "interpolated", 2, 0.2, 12)
    run_stage(stage, {"previous": chain / "round1"}, chain / "again", execution, key="key2")
    for name in (schemas.WEIGHTS, schemas.TICKET, schemas.METRICS):
        assert (chain / "again" / name).read_bytes() == (chain / "round2" / name).read_bytes(), name


def test_twins_share_their_start_and_differ_in_their_sgd_seed_only(
    chain: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    # the released code's pair also differed in the initialisation
    still = replace(training, optimizer=replace(training.optimizer, learning_rate=1e-12))
    for name, learning in (("still", still), ("moving", training)):
        for seed in (5, 6):
            stage = Train(setting, learning, tickets.SIGNED, 4, seed)
            run_stage(stage, {"ticket": chain / "round2"}, chain / f"{name}{seed}", execution)
    start, twin = weights(chain / "still5")["conv.weight"], weights(chain / "still6")["conv.weight"]
    torch.testing.assert_close(start, twin)
    assert not torch.equal(weights(chain / "moving5")["conv.weight"], weights(chain / "moving6")["conv.weight"])


def test_a_settings_precision_reaches_trainings_and_probes(
    chain: Path, tmp_path: Path, setting: Setting, training: Training, execution: Execution
) -> None:
    halved = replace(setting, precision="bfloat16")
    run_stage(Pretrain(halved, training, "interpolated", 1, 10), {}, tmp_path / "halved", execution)
    plain, other = weights(chain / "round0"), weights(tmp_path / "halved")
    assert not torch.equal(plain["conv.weight"], other["conv.weight"])
    inputs = {"a": chain / "round0", "b": chain / "round0"}
    curves = []
    for number, which in enumerate((setting, halved)):
        run_stage(Probe(which, 3, 32, 64, None), inputs, tmp_path / f"probe{number}", execution)
        curves.append(pq.read_table(tmp_path / f"probe{number}" / schemas.PROBE).column("loss_nats").to_pylist())
    assert curves[0] != curves[1]
    assert curves[0] == pytest.approx(curves[1], rel=0.05)


def test_probes_run_together_write_what_each_writes_alone(
    chain: Path, tmp_path: Path, setting: Setting, execution: Execution
) -> None:
    stage = Probe(setting, 3, 32, 64, None)
    pairs = [{"a": chain / f"round{a}", "b": chain / f"round{b}"} for a, b in ((0, 1), (1, 2), (2, 2))]
    together = run_probes(stage, pairs, [tmp_path / f"together{n}" for n in range(3)], execution)
    for number, inputs in enumerate(pairs):
        assert run_stage(stage, inputs, tmp_path / f"alone{number}", execution) == together[number]
        for name in (schemas.PROBE, schemas.BARRIER):
            one, two = (tmp_path / f"{way}{number}" / name for way in ("alone", "together"))
            assert one.read_bytes() == two.read_bytes()
    assert [row["same_mask"] for row in together] == [False, False, True]


def test_a_probe_of_a_pair_has_the_masks_of_each_end_where_a_survivor_is_zero(
    chain: Path, setting: Setting, tmp_path: Path, execution: Execution
) -> None:
    masks = tickets.load(chain / "round1" / schemas.TICKET).masks
    name, mask = next(iter(masks.items()))
    state = weights(chain / "round1")
    state[name].view(-1)[mask.flatten().nonzero()[0]] = 0
    artifacts.save_weights(chain / "round1" / schemas.WEIGHTS, state, masks)
    survivors = {end: sum(int(each.sum()) for each in tickets.load(chain / end / schemas.TICKET).masks.values())
                 for end in ("round1", "round2")}  # fmt: skip
    with registries_kept():

        @probe("survivors")
        def _(pair: Pair) -> dict[str, float]:
            a, b = (sum(int(each.sum()) for each in masks.values()) for masks in pair.masks())
            return {"a": a, "b": b}

        for ends in (("round1", "round2"), ("round2", "round1")):
            inputs = dict(zip("ab", (chain / end for end in ends), strict=True))
            results = run_stage(PairProbe(setting, "survivors"), inputs, tmp_path / ends[0], execution)
            assert (results["survivors_a"], results["survivors_b"]) == tuple(survivors[end] for end in ends)
