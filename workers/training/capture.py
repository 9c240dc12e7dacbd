"""CUDA graphs of a training step: captured once per batch size, replayed with no work for the host.

With deterministic kernels, a graph is used only if its first replay changes the training's state exactly as the eager
step does from the same state. Otherwise the training continues eagerly, and its log says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from workers.devices.health import capture_failed
from workers.devices.randomness import device_draws
from workers.training.step import TrainingState

WARM_UP_STEPS = 2  # the second runs with every lazy initialisation done
log = logging.getLogger("winning_sign")

StepFunction = Callable[[Tensor, Tensor, Tensor], None]


class CapturedStep:
    """A training step, replayed as a CUDA graph of its own for each batch size.

    Call it on a stream that no other stage uses: what libraries keep per stream becomes part of the graph.

    Args:
        state: everything that the step changes.
        exact: use a graph only if its first replay equals the eager step bit for bit; needs deterministic kernels.
    """

    def __init__(self, step: StepFunction, state: TrainingState, *, exact: bool) -> None:
        self._step, self._state, self._exact = step, state, exact
        self._steps: dict[int, StepFunction] = {}
        # a graph that is freed may free the workspace of cuBLAS that the others use, so failed ones live as long
        self._graphs: list[torch.cuda.CUDAGraph] = []
        # graphs share their memory: they never run at the same time, and no step reads what another left there
        self._pool: Any = None

    def __call__(self, images: Tensor, labels: Tensor, alpha: Tensor) -> None:
        """Take a step; see ``Step``."""
        if len(labels) not in self._steps:
            with device_draws():  # a capture takes the device's generator, even if the step does not draw
                self._steps[len(labels)] = self._captured_or_eager(images, labels, alpha)
        self._steps[len(labels)](images, labels, alpha)

    def _captured_or_eager(self, *inputs: Tensor) -> StepFunction:
        before = {name: tensor.detach().clone() for name, tensor in self._state.packed().items()}
        size = len(inputs[1])
        try:
            replay = self._capture(before, inputs)
            if not self._exact:
                return replay
            replayed, eager = (self._after(step, before, inputs) for step in (replay, self._step))
            equal = all(torch.equal(replayed[name], tensor) for name, tensor in eager.items())
            torch.cuda.empty_cache()  # the eager step's memory would count as the stage's for its whole training
            if equal:
                return replay
            log.warning("the CUDA graph for batches of %d differs from the eager step, so they run eagerly", size)
        except RuntimeError as error:
            capture_failed()
            log.warning("no CUDA graph for batches of %d, so they run eagerly: %s", size, error)
        finally:
            self._state.unpack(before)
        return self._step

    def _capture(self, before: Mapping[str, Tensor], inputs: tuple[Tensor, ...]) -> StepFunction:
        static = tuple(tensor.clone() for tensor in inputs)
        for _ in range(WARM_UP_STEPS):
            self._step(*static)
        self._state.unpack(before)
        graph = torch.cuda.CUDAGraph()
        self._graphs.append(graph)
        # packed trainings continue in other threads: the limits of a capture hold for this thread only
        with torch.cuda.graph(graph, self._pool, torch.cuda.current_stream(), capture_error_mode="thread_local"):
            self._step(*static)
        self._pool = graph.pool()

        def replay(images: Tensor, labels: Tensor, alpha: Tensor) -> None:
            for held, given in zip(static, (images, labels, alpha), strict=True):
                held.copy_(given)
            graph.replay()

        return replay

    def _after(self, step: StepFunction, before: Mapping[str, Tensor], inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The state after one step from ``before``."""
        self._state.unpack(before)
        step(*inputs)
        return {name: tensor.detach().clone() for name, tensor in self._state.tensors().items()}
