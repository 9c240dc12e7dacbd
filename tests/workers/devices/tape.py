"""A stand-in for CUDA graphs on any device: record operations once, replay them on the same tensors."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map


class Tape(TorchDispatchMode):
    """Records every operation of a block.

    Attributes:
        reads_by_host: names of operations that made the host wait for a value, such as ``.item()``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[tuple[Callable[..., Any], Any, Any, Any]] = []
        self.reads_by_host: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, int | float | bool) for leaf in _leaves(result)) or "nonzero" in str(func):
            self.reads_by_host.append(str(func))
        self._entries.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        """Run the recorded operations again, on the recorded inputs and on the replay's own results."""
        results: dict[int, Tensor] = {}

        def current(leaf: Any) -> Any:
            return results.get(id(leaf), leaf) if isinstance(leaf, Tensor) else leaf

        for func, args, kwargs, recorded in self._entries:
            result = func(*tree_map(current, args), **tree_map(current, kwargs))
            for old, new in zip(_leaves(recorded), _leaves(result), strict=True):
                if isinstance(old, Tensor):
                    results[id(old)] = new


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]
