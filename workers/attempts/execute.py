"""One stage as a plain function of (stage, input artifacts, output folder, execution)."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import tickets
from workers.data import open_data
from workers.data.splits import split_data
from workers.devices.memory_format import memory_format
from workers.devices.seeds import derive, generator
from workers.devices.streams import own_stream
from workers.models import build_model
from workers.plugins import load_plugins
from workers.probing.landscape import landscape_rows
from workers.probing.path import barrier_row, curve_rows, path_outcomes
from workers.probing.probes import Pair, measured
from workers.pruning.rounds import round_masks
from workers.pruning.selection import density
from workers.stages import (
    METHOD_OF_PSI,
    Alpha,
    Landscape,
    PairProbe,
    Pretrain,
    Probe,
    Round,
    Setting,
    Stage,
    Train,
    Training,
)
from workers.stages.execution import Control, Execution
from workers.storage import artifacts, schemas
from workers.training.evaluation import Reestimation, evaluate, evaluate_share, reestimate_statistics
from workers.training.gang.member import ALONE, Member
from workers.training.trainer import TrainingLog, metrics_row, train

AWS_EVALUATION_IMAGES = 5120


def run_stage(
    stage: Stage,
    inputs: Mapping[str, Path],
    out: Path,
    execution: Execution,
    control: Control | None = None,
    *,
    key: str = "",
    member: Member = ALONE,
) -> dict[str, Any]:
    """Compute a stage and write its artifacts.

    Args:
        inputs: ``out/`` folder of each upstream stage, by input name.
        out: an empty or missing folder.
        key: the stage's key, for the ticket's provenance.
        member: this process's place in the stage's gang. All ranks train, and rank 0 writes.

    Returns:
        What the stage found, for its record; nothing on other ranks than 0.

    Raises:
        DataError, TicketError, DivergedError, ValueError: the stage cannot be computed.
        RanksDisagreeError, RankLostError: its gang broke.
        Interrupted: it was asked to stop, and checkpointed.
    """
    if isinstance(stage, Probe):
        return run_probes(stage, [inputs], [out], execution, control)[0]
    out.mkdir(parents=True, exist_ok=True)
    with _worker(stage.setting, execution, control, member) as worker:
        match stage:
            case Pretrain():
                return worker.pretrain(stage, out, key)
            case Round():
                return worker.round(stage, inputs["previous"], inputs.get("reset"), out, key)
            case Train():
                return worker.train(stage, inputs, out)
            case PairProbe():
                return worker.pair_probe(stage, inputs)
            case Landscape():
                return worker.landscape(stage, inputs, out)


def run_probes(
    stage: Probe,
    inputs: Sequence[Mapping[str, Path]],
    outs: Sequence[Path],
    execution: Execution,
    control: Control | None = None,
) -> list[dict[str, Any]]:
    """Compute probes of several pairs at once: each batch of data is loaded once and serves them all.

    Args:
        inputs: per pair, the ``out/`` folders of its two solutions, ``a`` and ``b``.
        outs: per pair, its own folder for the artifacts.

    Raises:
        Interrupted: it was asked to stop; probes start anew.
    """
    for out in outs:
        out.mkdir(parents=True, exist_ok=True)
    with _worker(stage.setting, execution, control) as worker:
        return worker.probe(stage, inputs, outs)


@contextmanager
def _worker(
    setting: Setting, execution: Execution, control: Control | None, member: Member = ALONE
) -> Iterator[_Worker]:
    load_plugins(execution.plugins)
    control = control or Control(checkpoint_interval_s=execution.checkpoint_interval_s)
    device = execution.torch_device
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
        torch.use_deterministic_algorithms(execution.deterministic, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a kernel each
        torch.backends.cudnn.benchmark = not execution.deterministic
    torch.set_num_threads(1)  # the fastest where every core has a stage, and a sum's order never depends on the host
    with own_stream(device):
        yield _Worker(setting, execution, control, member)


class _Worker:
    """The data and network of a stage, and the kinds of work on them."""

    def __init__(self, setting: Setting, execution: Execution, control: Control, member: Member) -> None:
        self._member = member
        root = Path(execution.data_root) if execution.data_root else None
        self._setting, self._control = setting, control
        self._execution, self._device = execution, execution.torch_device
        self._data = open_data(
            setting.data.name,
            setting.data.fingerprint,
            root,
            Path(execution.data_cache),
            lambda what, done, total: control.beat(),
        )
        self._splits = split_data(self._data, setting.data, self._device, execution.loader_workers)

    def pretrain(self, stage: Pretrain, out: Path, key: str) -> dict[str, Any]:
        model = self._fresh_model(stage.init_seed)
        if self._member.leads:
            artifacts.save_weights(out / schemas.INIT, model.state_dict())
        names = tickets.prunable_names(model, self._data.num_classes)
        parameters = dict(model.named_parameters())
        masks = {name: torch.ones_like(parameters[name], dtype=torch.bool) for name in names}
        init_digest = artifacts.state_digest(model.state_dict())
        start = {"init_blake2b": init_digest, "data_blake2b": self._data.content_blake2b}
        return {**start, **self._chain_step(model, stage, masks, 0, out, key)}

    def round(self, stage: Round, previous: Path, reset: Path | None, out: Path, key: str) -> dict[str, Any]:
        ticket = tickets.load(previous / schemas.TICKET)
        model = self._fresh_model(0)
        ticket.check_fits(model)
        model.load_state_dict(artifacts.load_weights(previous / schemas.WEIGHTS)[0])
        old = {name: mask.to(self._device) for name, mask in ticket.masks.items()}
        masks = round_masks(stage, model, old, self._splits, self._control.beat)
        if reset is not None:
            model.load_state_dict(artifacts.load_weights(reset / schemas.WEIGHTS)[0])
        return self._chain_step(model, stage, masks, stage.round, out, key)

    def train(self, stage: Train, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
        model = self._fresh_model(stage.init_seed)
        init_digest = artifacts.state_digest(model.state_dict())
        ticket, trained, others = None, None, {}
        if "ticket" in inputs:
            ticket = tickets.load(inputs["ticket"] / schemas.TICKET)
            trained = artifacts.load_weights(inputs["ticket"] / schemas.WEIGHTS)[0]
            others = {name: self._origin(name, inputs) for name in stage.transfer.others}
        stream = generator(stage.init_seed, "transfer")
        masks = tickets.transfer_(model, stage.transfer, ticket.tensors if ticket else None, trained, stream, others)
        log = self._train(model, stage.training, masks, stage.sgd_seed)
        if stage.read_test_set and not self._setting.watch_test_set:
            split, last, beat = self._splits.test, log.metrics[-1], self._control.beat
            loss, error = evaluate_share(model, self._splits, split, self._setting.precision, self._member, beat)
            log.metrics.append(metrics_row(last["epoch"], "test", loss, 100 - error, len(split), last["learning_rate"]))
        if not self._member.leads:
            return {}
        _write_log(log, out)
        artifacts.save_weights(out / schemas.WEIGHTS, model.state_dict(), masks)
        last = log.metrics[-1]
        return {
            "init_blake2b": init_digest,
            "data_blake2b": self._data.content_blake2b,
            "density": density(masks) if masks else 1.0,
            f"{last['split']}_accuracy_percent": last["accuracy_percent"],
            f"{last['split']}_loss_nats": last["loss_nats"],
        }

    def probe(self, stage: Probe, inputs: Sequence[Mapping[str, Path]], outs: Sequence[Path]) -> list[dict[str, Any]]:
        began = time.perf_counter()
        loaded = [[artifacts.load_weights(ends[end] / schemas.WEIGHTS) for end in ("a", "b")] for ends in inputs]
        lambdas, outcomes = path_outcomes(
            self._fresh_model(0),
            [(a, b) for (a, _), (b, _) in loaded],
            stage,
            self._splits,
            self._control.stop_if_asked,
        )
        rows = []
        for ((_, mask_a), (_, mask_b)), points, out in zip(loaded, outcomes, outs, strict=True):
            rows.append({**barrier_row(lambdas, points), "same_mask": mask_a == mask_b})
            artifacts.write_rows(out / schemas.PROBE, curve_rows(lambdas, points), schemas.PROBE_SCHEMA)
            artifacts.write_rows(out / schemas.BARRIER, rows[-1:], schemas.BARRIER_SCHEMA)
        seconds = (time.perf_counter() - began) / len(outs)
        used = min(stage.bn_images or len(self._splits.train), len(self._splits.train))
        images = stage.points * (used + len(self._splits.test))
        timing = {"epoch": 1, "seconds": seconds, "images_per_second": images / seconds}
        for out in outs:
            artifacts.write_rows(out / schemas.TIMING, [timing], schemas.TIMING_SCHEMA)
        return rows

    def pair_probe(self, stage: PairProbe, inputs: Mapping[str, Path]) -> dict[str, Any]:
        a, b = (self._solution(inputs[slot]) for slot in ("a", "b"))
        prunable = tuple(tickets.prunable_names(a, self._data.num_classes))
        seed = derive("probe", stage.probe)
        pair = Pair(a, b, prunable, self._splits, self._setting.precision, seed, self._control.stop_if_asked)
        return dict(measured(stage, pair))

    def landscape(self, stage: Landscape, inputs: Mapping[str, Path], out: Path) -> dict[str, Any]:
        loaded = {slot: artifacts.load_weights(folder / schemas.WEIGHTS) for slot, folder in inputs.items()}
        solutions = {slot: state for slot, (state, _) in loaded.items()}
        rows = landscape_rows(self._fresh_model(0), solutions, stage, self._splits, self._control)
        artifacts.write_rows(out / schemas.LANDSCAPE, rows, schemas.LANDSCAPE_SCHEMA)
        errors = [row["error_percent"] for row in rows]
        return {
            "same_mask": len({mask for _, mask in loaded.values()}) == 1,
            "lowest_error_percent": min(errors),
            "highest_error_percent": max(errors),
        }

    def _chain_step(
        self,
        model: nn.Module,
        stage: Pretrain | Round,
        masks: Mapping[str, Tensor],
        round_: int,
        out: Path,
        key: str,
    ) -> dict[str, Any]:
        log = self._train(
            model, stage.training, masks, stage.sgd_seed, stage.alpha if stage.psi == "interpolated" else None
        )
        if not self._member.leads:  # nothing that follows is worth sharing
            return {}
        if stage.psi == "interpolated" and log.metrics and len(self._splits.validation):
            log.metrics.append(self._unbiased_validation(model, stage.training, log.metrics[-1]))
        _write_log(log, out)
        artifacts.save_weights(out / schemas.WEIGHTS, model.state_dict(), masks)
        ticket = tickets.from_model(
            model,
            masks,
            self._data.num_classes,
            tickets.Provenance(
                dataset=self._setting.data.name,
                architecture=self._setting.model.name,
                method=(stage.pruning.ticket_method if isinstance(stage, Round) else "") or METHOD_OF_PSI[stage.psi],
                round=round_,
                density=density(masks),
                preset=self._setting.preset,
                stage_key=key,
            ),
        )
        tickets.save(ticket, out / schemas.TICKET)
        last = log.metrics[-1] if log.metrics else None  # pruned at initialisation, nothing is trained
        accuracy = last["accuracy_percent"] if last and last["split"].startswith("validation") else None
        return {"density": ticket.density, "validation_accuracy_percent": accuracy}

    def _unbiased_validation(self, model: nn.Module, training: Training, last: Mapping[str, Any]) -> dict[str, Any]:
        """Validation under alpha = 0 with statistics to match: the running ones mix all alphas of AWS's training."""
        probe, precision = copy.deepcopy(model), self._setting.precision
        how = Reestimation(AWS_EVALUATION_IMAGES, training.batch_size, None, training.augmentation, draw_seed=0)
        reestimate_statistics([probe], self._splits, how, precision, self._control.beat)
        (outcomes,) = evaluate([probe], self._splits, self._splits.validation, precision, self._control.beat)
        return metrics_row(
            last["epoch"],
            "validation_reestimated",
            outcomes.mean_loss_nats,
            100 - outcomes.error_percent,
            len(self._splits.validation),
            last["learning_rate"],
        )

    def _train(
        self,
        model: nn.Module,
        training: Training,
        masks: Mapping[str, Tensor],
        sgd_seed: int,
        alpha: Alpha | None = None,
    ) -> TrainingLog:
        """Train; under AWS with alpha drawn from a distribution."""
        watched = {}
        if len(self._splits.validation):
            watched["validation"] = self._splits.validation
        if self._setting.watch_test_set:
            watched["test"] = self._splits.test
        return train(
            model,
            training,
            self._splits,
            precision=self._setting.precision,
            masks=masks,
            alpha=alpha,
            sgd_seed=sgd_seed,
            watched=watched,
            control=self._control,
            cuda_graphs=self._execution.cuda_graphs,
            deterministic=self._execution.deterministic,
            member=self._member,
        )

    def _origin(self, name: str, inputs: Mapping[str, Path]) -> tickets.Origin:
        """What a transfer calls by this name: an input, or the initialisation of a transfer seed."""
        if name in inputs:
            return tickets.Origin(
                artifacts.load_weights(inputs[name] / schemas.WEIGHTS)[0],
                tickets.load(inputs[name] / schemas.TICKET).tensors,
            )
        kind, seed = tickets.named_source(name) or ("", 0)
        if kind != "init":
            raise ValueError(f"this transfer takes values of {name}, and the stage has no such input")
        return tickets.Origin(self._fresh_model(derive("init", "seed", seed)).state_dict())

    def _solution(self, folder: Path) -> nn.Module:
        """A trained network, in evaluation mode."""
        model = self._fresh_model(0).eval()
        model.load_state_dict(artifacts.load_weights(folder / schemas.WEIGHTS)[0])
        return model

    def _fresh_model(self, init_seed: int) -> nn.Module:
        data, model = self._data, self._setting.model
        built = build_model(model, in_channels=data.channels, num_classes=data.num_classes, init_seed=init_seed)
        self._splits = replace(self._splits, layout=memory_format(built, self._device))
        return built.to(self._device).to(memory_format=self._splits.layout)


def _write_log(log: TrainingLog, out: Path) -> None:
    artifacts.write_rows(out / schemas.METRICS, log.metrics, schemas.METRICS_SCHEMA)
    artifacts.write_rows(out / schemas.TIMING, log.timing, schemas.TIMING_SCHEMA)
