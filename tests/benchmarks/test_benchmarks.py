"""The benchmarks run, and their baseline does the work that ours does: otherwise a ratio would prove nothing."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
import torch
from torch import Tensor, nn

from benchmarks import (
    claims,
    demo,
    gpu_facts,
    loader,
    precision,
    probe,
    pruning,
    reestimation,
    scale,
    signs,
    ticket_io,
    training,
)
from benchmarks.finished_store import write_finished
from benchmarks.generated import PIXEL_MEAN, PIXEL_STD, labelled_images, splits_of
from benchmarks.ladder import OPTIMIZER, SEED, Rung, Trainings, Workload, ladder
from benchmarks.recorded import RecordedSweep
from benchmarks.released_style import PilImages, ReleasedStep, make_loader, released_curve, transform_of
from orchestrator.planning.algorithm import expand
from orchestrator.recipes.experiments import Experiment
from orchestrator.recipes.resolution import resolve
from orchestrator.scheduling.rank import cost_epochs
from orchestrator.store import Store
from orchestrator.store.events import EventLog
from orchestrator.store.record import Record
from workers.data.augmentation import AUGMENTATIONS, Draws, augmented, draw_epoch
from workers.data.splits import Splits
from workers.models import build_model
from workers.probing.path import path_outcomes
from workers.pruning.masking import Masking
from workers.stages import UNIFORM, Data, Model, Probe, Setting, Training
from workers.stages.execution import Control
from workers.storage import schemas
from workers.storage.artifacts import save_weights, write_rows
from workers.training.psi import PsiInterpolation
from workers.training.step import Step, make_optimizer
from workers.training.trainer import train

pytestmark = pytest.mark.slow(seconds=40)

CPU = torch.device("cpu")
TRAIN, TEST = labelled_images(100, 10, "train", size=16), labelled_images(30, 10, "test", size=16)
SMALL = Model("resnet20", {"width": 4})


@pytest.fixture
def splits() -> Splits:
    return splits_of(TRAIN, TEST, CPU)


@dataclass(frozen=True)
class Watched(Workload):
    """A workload that keeps the networks it makes, which are small."""

    made: list[nn.Module] = field(default_factory=list)

    def model(self) -> nn.Module:
        self.made.append(build_model(SMALL, in_channels=3, num_classes=self.classes, init_seed=SEED))
        return self.made[-1]


@pytest.fixture(params=[True, False], ids=["aws", "without"])
def work(request: pytest.FixtureRequest) -> Iterator[Watched]:
    torch.set_default_dtype(torch.float64)  # in float32 rounding grows a thousandfold with each step
    yield Watched("resnet20", 10, TRAIN, splits_of(TRAIN, TEST, CPU), 32, "crop_flip", request.param, 0.5, 0)
    torch.set_default_dtype(torch.float32)


def kept_state(model: nn.Module, masks: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a network computes with: the released code leaves values in its pruned weights."""
    state = model.state_dict()
    return {name: value * masks[name] if name in masks else value for name, value in state.items()}


def assert_same_network(a: nn.Module, b: nn.Module, masks: dict[str, Tensor]) -> None:
    torch.testing.assert_close(kept_state(a, masks), kept_state(b, masks), rtol=1e-9, atol=1e-11)


def test_the_released_step_is_the_workers_step(work: Watched) -> None:
    ours, theirs = work.model().train(), work.model()
    masks = work.masks(ours)
    masking = Masking(ours, masks)
    masking.mask_weights_()
    interpolation = PsiInterpolation(ours) if work.interpolate_psi else None
    step = Step(ours, make_optimizer(ours, OPTIMIZER), masking, interpolation, work.splits)
    released = ReleasedStep(theirs, masks, OPTIMIZER, interpolate_psi=work.interpolate_psi)
    alphas, losses, right = torch.tensor([0.7, 0.1, 1.0, 0.0]), 0.0, 0.0
    draws = draw_epoch(100, 5, 0, "crop_flip")
    for batch, alpha in zip(work.splits.train.drawn(draws, 32, "crop_flip"), alphas, strict=True):
        step(batch.images, batch.labels, alpha)
        loss, accuracy = released(work.splits.normalized(batch.images), batch.labels, alpha.item())
        losses, right = losses + loss * len(batch.labels), right + accuracy * len(batch.labels)
    assert_same_network(ours, theirs, masks)
    assert step.sums.tolist() == pytest.approx([losses, right], rel=1e-6)  # a share of right answers is float32
    fresh = work.model()
    assert not torch.allclose(kept_state(fresh, masks)["conv.weight"], kept_state(ours, masks)["conv.weight"])
    assert theirs.get_parameter("conv.weight")[~masks["conv.weight"]].any()


def test_every_rung_trains_the_same_network(work: Watched) -> None:
    reference, masks = work.model(), work.masks(work.model())
    recipe = Training(1, 32, OPTIMIZER, augmentation="crop_flip")
    train(
        reference.to(memory_format=torch.channels_last),
        recipe,
        work.splits,
        masks=masks,
        alpha=UNIFORM if work.interpolate_psi else None,
        sgd_seed=SEED,
        watched={},
        control=Control(),
    )
    trainings = Trainings(work)
    rungs = ladder(on_gpu=False, aws=False)
    for rung in rungs[1:]:  # the first one's draws are the DataLoader's
        epoch = trainings.epoch(rung)
        epoch(0)
        assert_same_network(work.made[-1], reference, masks)
    for name, tensor in reference.state_dict().items():
        assert torch.equal(tensor, work.made[-1].state_dict()[name]), name  # the top rung is the trainer, to the bit


def test_a_pack_trains_each_of_its_members(work: Watched) -> None:
    top = ladder(on_gpu=False, aws=False)[-1]
    trainings = Trainings(work)
    trainings.epoch(replace(top, packed=2))(0)
    one, two = work.made[-2:]
    assert_same_network(one, two, {})
    assert not torch.equal(one.get_parameter("conv.weight"), work.model().get_parameter("conv.weight"))
    trainings.epoch(replace(top, packed=3))
    assert work.made[-3] is two  # the third one alone was made anew (and the network of this comparison)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_rungs_add_up(on_gpu: bool) -> None:
    rungs = ladder(on_gpu=on_gpu, aws=False, everything=True, packs=(2, 4))
    assert len({rung.name for rung in rungs}) == len(rungs)
    for before, after in pairwise(rungs):
        if after.packed == 1:
            changed = [name for name in vars(Rung("")) if getattr(before, name) != getattr(after, name)]
            assert len(changed) == 2, changed  # the name, and one technique
    assert [rung.packed for rung in rungs[-2:]] == [2, 4]


def test_one_rung_is_the_trainer_without_aws() -> None:
    *others, trainer, lrr = ladder(on_gpu=False)
    assert [*others, trainer] == ladder(on_gpu=False, aws=False)
    assert lrr == replace(trainer, name=lrr.name, as_lrr=True)


def test_the_dataloader_yields_workers_images(splits: Splits) -> None:
    (images, labels), *_ = make_loader(TRAIN, "none", 40, 0, shuffle=False, pinned=False)
    torch.testing.assert_close(images, splits.normalized(TRAIN.images[:40]), rtol=1e-5, atol=1e-5)
    assert torch.equal(labels, TRAIN.labels[:40])


def test_the_pil_crop_and_flip_is_one_of_workers(splits: Splits) -> None:
    crops = torch.cartesian_prod(torch.arange(9), torch.arange(9), torch.arange(2))
    draws = Draws(torch.zeros(len(crops), dtype=torch.int64), crops[:, :2], crops[:, 2] == 1)
    images = PilImages(TRAIN, transform_of("crop_flip", 16))
    crops_used = set()
    for number in range(20):
        possible = augmented(TRAIN.images[number].expand(len(crops), -1, -1, -1), draws, "crop_flip")
        distances = (splits.normalized(possible) - images[number][0]).abs().amax((1, 2, 3))
        assert distances.min() < 1e-5
        crops_used.add(int(distances.argmin()))
    assert len(crops_used) > 10


@pytest.mark.parametrize("augmentation", ["crop_flip", "half_resized_crop_flip"])
def test_every_augmentation_for_small_images_has_its_transform(augmentation: str) -> None:
    assert augmentation in AUGMENTATIONS
    image, _ = PilImages(TRAIN, transform_of(augmentation, 16))[0]  # type: ignore[arg-type]
    assert image.shape == (3, 16, 16)
    assert image.abs().max() <= PIXEL_MEAN / PIXEL_STD


def test_the_released_probe_is_workers_probe_at_its_settings(splits: Splits) -> None:
    a, b = (build_model(SMALL, in_channels=3, num_classes=10, init_seed=seed).state_dict() for seed in (1, 2))
    setting = Setting("reference", Data("generated", "", 0.0), SMALL)
    stage = Probe(setting, 3, 32, None, 0.1, "crop_flip")
    model = build_model(SMALL, in_channels=3, num_classes=10, init_seed=0)
    _, (ours,) = path_outcomes(model, [(a, b)], stage, splits)
    drawn = splits.train.drawn(draw_epoch(100, stage.draw_seed, 0, "crop_flip"), 32, "crop_flip")
    train_loader = [(splits.normalized(batch.images), batch.labels) for batch in drawn]
    test_loader = make_loader(TEST, "none", 32, 0, shuffle=False, pinned=False)
    theirs = released_curve(model, a, b, 3, train_loader, test_loader, CPU)
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our.loss_nats, their.loss_nats, rtol=1e-3, atol=1e-4)
        assert torch.equal(our.error, their.error)
    assert not torch.allclose(ours[0].loss_nats, ours[1].loss_nats)


COMMANDS: dict[str, tuple[Callable[[Sequence[str]], None], str]] = {
    "training": (training.main, "--architectures resnet20 --images 24 --batch-size 16 --repeats 1 --pack 2"),
    "tiny": (training.main, "--architectures shufflenet_g3 --images 8 --image-size 16 --repeats 1 --without-aws"),
    "probe": (probe.main, "--scale 0.001 --points 3 --pairs 1,2 --network-images 64 --repeats 1"),
    "loader": (loader.main, "--images 8 --batch-size 4 --processes 0,1 --repeats 1"),
    "pruning": (pruning.main, "--architecture resnet20 --densities 1,0.2 --repeats 1"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_prints_its_table(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main, arguments = COMMANDS[command]
    main(arguments.split())
    shown = capsys.readouterr().out
    assert ("no GPU here: measured on the CPU" in shown) == (not torch.cuda.is_available())
    assert re.search(r"^\| -+ \| -+:", shown, re.MULTILINE)
    ratios = [float(ratio) for ratio in re.findall(r"([\d.]+)x \|", shown)]
    assert len(ratios) >= 3
    assert min(ratios) > 0
    assert ratios[0] == 1


def test_pairs_probed_together_are_different_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    main, arguments = COMMANDS["probe"]
    main(arguments.split())
    one, two = re.findall(
        r"^\| ours, \d pairs? at a time +\| +[\d.]+ \| +[\d.]+x \| +([\d,]+) \|", capsys.readouterr().out, re.M
    )
    assert one == two  # forwards a pair: points of equal networks are computed once


def test_recording_signs_is_a_small_share_of_a_round(capsys: pytest.CaptureFixture[str]) -> None:
    signs.main(["--architectures", "resnet1d", "--repeats", "1"])
    [row] = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| resnet1d")]
    assert row[2].strip() == "3,600"
    assert 0 < float(row[-2].removesuffix(" % ")) < 50  # the goal of 3 % is measured, not asserted
    with pytest.raises(SystemExit, match="2"):
        signs.main(["--architectures", "lenet"])
    assert "no lenet here" in capsys.readouterr().err


def simulated_rows(shown: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in shown.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[1] in ("64", "1,024")]


def test_a_simulated_sweep_lasts_as_its_records_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = tmp_path / "store"
    plan = scale.finished_plan(20, tmp_path / "cache")
    write_finished(recorded, plan)
    found = []
    for factor in (1, 60):
        for path in recorded.glob("stages/*/*/record.json"):
            record = Record.model_validate_json(path.read_text())
            longer = record.model_copy(update={"seconds": record.seconds * factor})
            path.write_text(longer.sealed().model_dump_json())
        scale.main(["--only", "simulation", "--stages", "200", "--recorded", str(recorded)])
        found.append([row for row in simulated_rows(capsys.readouterr().out) if "mnist1d" in row[0]])
    once, slow = found
    assert once[0][0].startswith(f"mnist1d resnet1d, as {len(plan)} records on cpu (none used), ")
    assert [row[1] for row in once] == ["64"] * 3 + ["1,024"] * 3
    for short, long in zip(once[::3], slow[::3], strict=True):  # without preemptions, which have a time of their own
        assert [float(cell) for cell in long[3:6]] == pytest.approx([60 * float(cell) for cell in short[3:6]], abs=0.5)
        assert float(long[6]) >= 1


@pytest.mark.long
def test_barriers_come_early_in_the_simulated_sweeps(capsys: pytest.CaptureFixture[str]) -> None:
    scale.main(["--only", "barriers"])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if "stages" in line]
    assert len(rows) == 5
    for row in rows:
        makespan, *ends = (float(cell.strip(" %")) for cell in row[2:])
        assert makespan < 1.02
        assert ends[0] > 90 > 10 > ends[2]
        assert ends[3] < 0.65 * ends[1]


def test_a_recorded_sweep_keeps_its_epochs_and_the_spread_of_its_durations(tmp_path: Path) -> None:
    changes = {"rounds": 1, "chains": 3, "pretrain_epochs": 4, "round_epochs": 2, "final_epochs": 5, "probe_points": 7}
    recipe = resolve("mnist1d", None, "sound", [{**changes, "final_schedule": {"name": "constant"}}])
    write_finished(tmp_path, expand([Experiment(recipe, "tested")]))
    recorded = RecordedSweep(str(tmp_path))
    larger = recorded.plan(scale.changes_for(200))
    costs = {node.stage.kind: cost_epochs(node.stage) for node in larger}
    assert costs == pytest.approx({"pretrain": 4, "round": 2, "train": 5, "probe": 0.7})
    seconds = recorded.seconds(larger, Random(0))
    assert seconds.keys() == larger.nodes.keys()
    for kind in costs:
        measured = {round(one.seconds, 9) for one in Store(tmp_path).records().values() if one.kind == kind}
        drawn = {round(seconds[node.key], 9) for node in larger if node.stage.kind == kind}
        assert drawn <= measured
        assert len(drawn) > 1
    with pytest.raises(ValueError, match="has no record"):
        RecordedSweep(str(tmp_path / "nothing"))


def test_the_demos_time_is_shared_out_without_a_remainder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {"chains": 1, "rounds": 1, "probe_rounds": [1]}
    write_finished(tmp_path, expand([Experiment(resolve("mnist1d", None, "sound", [changes]), "tested")]))
    store = Store(tmp_path)
    records = [*store.records().values()]
    for record in records:  # the finished store's epochs are longer than its stages
        timing = tmp_path / store.out(record.key) / schemas.TIMING
        write_rows(timing, [{"epoch": 1, "seconds": 0.75, "images_per_second": 1.0}], schemas.TIMING_SCHEMA)
    log, seconds = EventLog(store.storage, "driver"), sum(record.seconds for record in records)
    for event, time_s in (("started", 10.0), ("done", 11.0), ("started", 12.0), ("done", 10 + seconds)):
        log.add({"time_unix_s": time_s, "event": event})
    log.write()
    demo.print_parts(demo.Ran(store, 4.0, 10 + seconds + 3, 2))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines() if line]
    shown = {part: float(time.split()[0]) for part, time, _ in rows if time.endswith("s")}
    assert shown["before the first stage: imports, plan, Ray's start"] == 6
    assert shown["after the last stage: the report"] == 3
    assert shown["no stage on a core"] == pytest.approx(seconds, abs=0.1)  # one of two
    kinds = {kind: 0.75 * sum(record.kind == kind for record in records) for kind in {r.kind for r in records}}
    assert {kind: shown[f"the work of {kind} stages"] for kind in kinds} == pytest.approx(kinds, abs=0.06)
    assert shown["the rest of all stages: data, network, files"] == pytest.approx(
        seconds - sum(kinds.values()), abs=0.1
    )


def test_probes_of_a_store_are_measured_again_on_other_draws(
    tmp_path: Path, data_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {"chains": 1, "rounds": 1, "probe_rounds": [1], "probe_points": 3, "augmentation": "none", "batch_size": 32}
    recipe = resolve("tiny", "resnet1d", "sound", [{**few, "model": {"width": 4}}])
    write_finished(tmp_path, expand([Experiment(recipe, "tiny-1")]))
    store, network = Store(tmp_path), Model("resnet1d", {"width": 4})
    for seed, record in enumerate(store.records().values()):
        if record.kind == "train":
            state = build_model(network, in_channels=1, num_classes=3, init_seed=seed).state_dict()
            save_weights(tmp_path / store.out(record.key) / schemas.WEIGHTS, state)
    measured = ["--store", str(tmp_path), "--data-cache", str(data_cache), "--images", "32,64", "--draws", "2"]
    reestimation.main([*measured, "--probes", "2"])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[-4:]]
    fewer, more = (row for row in rows if row and row[0] in ("32", "64"))
    assert fewer[3] != more[3] == "0.00, 0.00"
    with pytest.raises(SystemExit, match="2"):
        reestimation.main([*measured, "--probes", "900"])


def test_a_ticket_is_compared_with_what_the_released_code_writes(capsys: pytest.CaptureFixture[str]) -> None:
    ticket_io.main(["--repeats", "1"])
    shown = capsys.readouterr().out
    rows = [line.split("|")[1:-1] for line in shown.splitlines() if line.startswith("| ")][1:]
    ratios = {row[0].strip(): float(row[2].strip().removesuffix("x")) for row in rows if row[2].strip().endswith("x")}
    assert ratios["float32 mask and signs"] == 1
    assert ratios["ticket (Parquet)"] > 2 * ratios["2-bit packing"] > 30


@pytest.mark.long  # tests.browser.test_size opens such a page as well
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium here: apt-get install chromium")
def test_a_report_is_opened_and_timed() -> None:
    # in a process of its own: Playwright keeps an event loop in this one
    command = [sys.executable, "-m", "benchmarks.report", "--stages", "20", "--repeats", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    seconds = dict(re.findall(r"\| (the first \w+ \w+ \w+) +\| +([\d.]+) s", done.stdout))
    assert len(seconds) == 2, done.stdout
    assert float(re.findall(r"\| size +\| +([\d.]+) MB", done.stdout)[0]) < 8


@pytest.mark.parametrize(
    "module", [training, probe, loader, pruning, precision, scale, gpu_facts, demo, reestimation, signs]
)
def test_a_command_helps(module: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        module.main(["--help"])  # type: ignore[attr-defined]
    assert f"python -m {module.__name__}" in capsys.readouterr().out  # type: ignore[attr-defined]


def test_an_unknown_architecture_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        training.main(["--architectures", "resnet20,lenet"])
    assert "no lenet here" in capsys.readouterr().err


def test_claims_judges_studies_without_an_effect(capsys: pytest.CaptureFixture[str]) -> None:
    assert claims.main(["--studies", "1", "--seed", "3"]) in (0, 1)
    tables = capsys.readouterr().out
    for rule in claims.RULES:
        assert tables.count(f"| {rule.name} ") >= len(claims.NOISES)
