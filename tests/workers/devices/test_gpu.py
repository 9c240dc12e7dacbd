"""On a GPU: captured, packed and resumed trainings equal the eager one bit for bit; images are decoded there."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import tickets
from tests.support.image_sets import write_imagenet
from tests.workers.data.test_streaming import pictures
from tests.workers.training.gang.gangs import normalised_in_gang
from tests.workers.training.gang.test_fused import batch_norm, shares_of
from tests.workers.training.test_trainer import ADAM, SGD, interrupted_after
from workers.data import open_data
from workers.data.augmentation import BYTES_AT_ONCE, augmented, draw_epoch, placed
from workers.data.batches import ResidentSplit
from workers.data.images.crops import RandomCrops, Request
from workers.data.images.streaming import DeviceReader, ProcessReader, jpeg_decoder, open_reader
from workers.data.splits import Splits, split_data
from workers.devices import health
from workers.devices.memory import PeakMemory, shared_process
from workers.devices.streams import POOL, exclusive_stream, leased_stream
from workers.models import build_model
from workers.probing.alignment import trace_permutations
from workers.pruning.selection import magnitudes, prune
from workers.stages import (
    NO_RULES,
    UNIFORM,
    Augmentation,
    Data,
    MaskRule,
    Model,
    Optimizer,
    Precision,
    Rule,
    Rules,
    Training,
)
from workers.stages.execution import Control, Interrupted
from workers.training.capture import CapturedStep
from workers.training.trainer import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
GPU = torch.device("cuda")


@pytest.fixture
def on_gpu(data_cache: Path) -> Splits:
    torch.use_deterministic_algorithms(True, warn_only=True)
    return split_data(open_data("tiny", "tiny-1", None, data_cache), Data("tiny", "tiny-1", 0.1), GPU)


def trained(
    splits: Splits,
    spec: Optimizer = SGD,
    precision: Precision = "float32",
    *,
    graphs: bool,
    control: Control | None = None,
    seed: int = 3,
    batch_size: int = 32,
    rules: Rules = NO_RULES,
) -> dict[str, torch.Tensor]:
    model: nn.Module = build_model(Model("resnet20", {"width": 4}), in_channels=1, num_classes=3, init_seed=seed)
    model = model.to(GPU).to(memory_format=torch.channels_last)
    names = tickets.prunable_names(model, 3)
    full = {name: torch.ones_like(model.get_parameter(name), dtype=torch.bool) for name in names}
    with exclusive_stream(GPU):
        train(
            model,
            Training(3, batch_size, spec, rules=rules),
            replace(splits, precision=precision),
            masks=prune(magnitudes({name: model.get_parameter(name) for name in names}), full, 0.5),
            alpha=UNIFORM,
            sgd_seed=seed,
            watched={"validation": splits.validation},
            control=control or Control(),
            cuda_graphs=graphs,
            roles=tickets.parameter_roles(model, 3),
        )
        torch.cuda.current_stream().synchronize()
    return {name: tensor.cpu() for name, tensor in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, b[name]) for name, tensor in a.items())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("spec", [SGD, ADAM], ids=["sgd", "adam"])
def test_a_captured_training_equals_the_eager_one_bit_for_bit(
    on_gpu: Splits, spec: Optimizer, precision: Precision, caplog: pytest.LogCaptureFixture
) -> None:
    captured = trained(on_gpu, spec, precision, graphs=True)
    assert not caplog.records, "the capture failed"
    assert same(captured, trained(on_gpu, spec, precision, graphs=False))


def test_graphs_are_replayed(on_gpu: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    replays = 0
    replay = torch.cuda.CUDAGraph.replay

    def count(graph: torch.cuda.CUDAGraph) -> None:
        nonlocal replays
        replays += 1
        replay(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", count)
    trained(on_gpu, graphs=True)
    assert replays == 3 * 7 + 2  # every step of three epochs, and a check of each of two graphs


IN_TRAINING = Rules(
    reparametrisation=Rule("sign_in"),
    regulariser=Rule("l1"),
    warm_up=Rule("linear"),
    mask_rule=MaskRule("rigl", every_steps=4),
)


@pytest.mark.parametrize(
    "rules", [IN_TRAINING, Rules(mask_rule=MaskRule("set", every_steps=4))], ids=["all", "mask rule"]
)
@pytest.mark.parametrize("spec", [SGD, Optimizer(1e-3, "adamw")], ids=["sgd", "adamw"])
def test_a_captured_training_under_rules_equals_the_eager_one_and_resumes(
    on_gpu: Splits, spec: Optimizer, rules: Rules, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    captured = trained(on_gpu, spec, graphs=True, rules=rules)
    assert not caplog.records, "the capture failed"
    assert same(captured, trained(on_gpu, spec, graphs=False, rules=rules))
    stopping = Control(checkpoints=tmp_path, should_stop=interrupted_after(9))  # after the update of step 8
    with pytest.raises(Interrupted):
        trained(on_gpu, spec, graphs=True, rules=rules, control=stopping)
    assert same(captured, trained(on_gpu, spec, graphs=True, rules=rules, control=Control(earlier=(tmp_path,))))


def test_packed_trainings_equal_the_same_trainings_run_alone(on_gpu: Splits) -> None:
    alone = [trained(on_gpu, graphs=True, seed=seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as threads:
        packed = list(threads.map(lambda seed: trained(on_gpu, graphs=True, seed=seed), range(6)))
    assert all(map(same, alone, packed))


@pytest.mark.parametrize("graphs", [True, False], ids=["graphs", "eager"])
def test_an_interrupted_training_resumes_to_the_same_bits(on_gpu: Splits, tmp_path: Path, graphs: bool) -> None:
    with pytest.raises(Interrupted):
        trained(on_gpu, graphs=graphs, control=Control(checkpoints=tmp_path, should_stop=interrupted_after(10)))
    again = trained(on_gpu, graphs=graphs, control=Control(earlier=(tmp_path,)))
    assert same(again, trained(on_gpu, graphs=graphs))


def test_a_training_runs_eagerly_if_the_capture_fails(
    on_gpu: Splits, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = trained(on_gpu, graphs=False)
    step = CapturedStep._capture

    def syncing(self: CapturedStep, *arguments: object) -> object:
        inner = self._step

        def synchronised(*inputs: torch.Tensor) -> None:
            inner(*inputs)
            torch.cuda.synchronize()  # not allowed while capturing

        self._step = synchronised
        try:
            return step(self, *arguments)  # type: ignore[arg-type]
        finally:
            self._step = inner

    monkeypatch.setattr(CapturedStep, "_capture", syncing)
    assert same(trained(on_gpu, graphs=True), expected)
    assert "no CUDA graph" in caplog.text
    assert health.spoiled() == health.FAILED_CAPTURES_SPOIL
    PeakMemory(GPU)  # as the next stage of the process begins


def test_the_gpu_decodes_images_as_pil_does(tmp_path: Path) -> None:
    held = pictures(write_imagenet(tmp_path, train=12, val=1))
    reader = open_reader(held, GPU, None)
    assert isinstance(reader, DeviceReader)
    rows = torch.arange(len(held)).numpy()
    (decoded,) = reader.batches([Request(rows, (64, 64))])
    (expected,) = ProcessReader(held, torch.device("cpu"), 0).batches([Request(rows, (64, 64))])
    assert decoded.is_cuda
    assert (decoded.cpu().int() - expected.int()).abs().float().mean() < 2


def test_crops_are_done_before_their_images_are_overwritten(tmp_path: Path) -> None:
    held = pictures(write_imagenet(tmp_path, train=12, val=1))
    reader = open_reader(held, GPU, None)
    rows = torch.arange(len(held)).numpy()
    uniforms = torch.rand(len(rows), 22, generator=torch.Generator().manual_seed(0)).numpy()
    requests = [Request(rows, (224, 224), RandomCrops(uniforms, 0.08))] * 200
    first, *others = (batch.clone() for batch in reader.batches(requests))
    assert all(torch.equal(first, other) for other in others)


def test_the_decoders_stream_is_leased_to_no_stage() -> None:
    jpeg_decoder(GPU)
    leased: list[torch.cuda.Stream] = []
    with ExitStack() as leases, suppress(RuntimeError):  # none is left
        leased.extend(leases.enter_context(leased_stream(GPU)) for _ in range(POOL))
    assert 0 < len(leased) < POOL


def test_graphs_of_two_batch_sizes_need_little_more_memory_than_one(on_gpu: Splits) -> None:
    def peak_bytes(batch_size: int) -> int:
        memory = PeakMemory(GPU)
        trained(on_gpu, graphs=True, batch_size=batch_size)
        return memory.read() or 0

    peak_bytes(32)
    images = len(on_gpu.train)
    assert images % 32
    assert peak_bytes(32) < 1.5 * peak_bytes(next(size for size in range(32, images) if images % size == 0))


@pytest.mark.parametrize(("size", "augmentation"), [(32, "crop_flip"), (64, "half_resized_crop_flip")])
def test_batches_augmented_together_equal_those_augmented_alone_and_fit(size: int, augmentation: Augmentation) -> None:
    images, count = 128, 70
    pixels = torch.randint(0, 256, (500, 3, size, size), dtype=torch.uint8)
    split = ResidentSplit(
        pixels.to(GPU), (torch.arange(images * count) % 500).to(GPU), torch.arange(images * count).to(GPU)
    )
    draws = draw_epoch(len(split), 3, 0, augmentation)
    alone = placed(draws, augmentation, size, size).to(GPU)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    for batch, of_batch in zip(split.drawn(draws, images, augmentation), alone.batches(images), strict=True):
        chosen = split.source[split.rows[of_batch.order]]
        assert torch.equal(batch.images, augmented(chosen, of_batch, augmentation))
    assert torch.cuda.max_memory_allocated() - before < 2 * BYTES_AT_ONCE


@pytest.mark.parametrize("images", [(3, 3), (4, 2, 2), (2, 0)], ids=str)
@pytest.mark.parametrize(("x_format", "dy_format"), [("contiguous", "channels_last"), ("channels_last", "contiguous")])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 3e-2)], ids=str)
def test_a_gangs_batch_norm_by_fused_kernels_equals_the_formula(
    images: Sequence[int], x_format: str, dy_format: str, dtype: torch.dtype, tolerance: float
) -> None:
    shares = [(x.to(dtype), dy.to(dtype)) for x, dy in shares_of(images, x_format, dy_format)]
    moved = [(x.to(GPU), dy.to(GPU)) for x, dy in shares]
    by_formula = normalised_in_gang(batch_norm(), shares)
    by_kernels = normalised_in_gang(batch_norm().to(GPU), moved)
    for fused, expected in zip(by_kernels, by_formula, strict=True):
        for name, tensor in expected.items():
            torch.testing.assert_close(fused[name].cpu(), tensor, rtol=tolerance, atol=tolerance, msg=name)


def test_a_gangs_batch_norm_never_waits_for_the_host() -> None:
    shares = [(x.to(GPU), dy.to(GPU)) for x, dy in shares_of((2, 2, 0), "channels_last", "contiguous")]
    norm = batch_norm().to(GPU)
    normalised_in_gang(norm, shares)
    torch.cuda.set_sync_debug_mode("error")
    try:
        normalised_in_gang(norm, shares)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", ["resnet20", "vgg16"])
def test_a_network_whose_convolutions_round_to_tf32_keeps_its_permutations(name: str) -> None:
    network = build_model(Model(name), in_channels=3, num_classes=10, init_seed=1).to(GPU)
    assert trace_permutations(network, torch.zeros(1, 3, 32, 32, device=GPU)).groups


def test_pruning_on_the_gpu_equals_pruning_on_the_cpu() -> None:
    weights = {"a": torch.randn(300, 400), "b": torch.ones(1000)}
    masks = {name: torch.rand_like(weight) < 0.7 for name, weight in weights.items()}
    on_cpu = prune(magnitudes(weights), masks, 0.2)
    moved = {name: mask.to(GPU) for name, mask in masks.items()}
    on_gpu = prune(magnitudes({name: weight.to(GPU) for name, weight in weights.items()}), moved, 0.2)
    assert all(torch.equal(mask, on_gpu[name].cpu()) for name, mask in on_cpu.items())


def test_the_peak_memory_of_a_stage_is_measured() -> None:
    memory = PeakMemory(GPU)
    torch.ones(50_000_000, device=GPU)
    assert 200e6 <= (memory.read() or 0) < 10e9


def test_workspaces_of_stages_do_not_add_up() -> None:
    def multiply(stage: int) -> None:
        with exclusive_stream(GPU):
            nn.Linear(64, 10).to(GPU)(torch.randn(128, 64, device=GPU)).sum().backward()

    held = []
    for _ in range(3):
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(multiply, range(8)))
        with shared_process(GPU):
            held.append(torch.cuda.memory_allocated())
    assert max(held) - min(held) < 2**20
