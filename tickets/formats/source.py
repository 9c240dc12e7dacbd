"""A file of any format: its container, its tensors and its metadata, read without running code from the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tickets.errors import TicketError

Kind = Literal["folder", "parquet", "safetensors", "torch", "other"]
_WRAPPED = ("state_dict", "model_state_dict", "model")  # keys under which checkpoints keep a state dict
_PREFIXES = ("module.", "_orig_mod.")  # of DistributedDataParallel and torch.compile
_REAL = (  # types whose signs torch computes
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
)
_UNSAFE = re.compile(r"Unsupported (?:global|class|operand)[^\n]*?(?:GLOBAL )?([\w.]+) was not")


@dataclass(frozen=True)
class Source:
    """A file or folder, read once, when an attribute is first used.

    Raises:
        TicketError: from each attribute, if the file is missing, damaged or holds more than tensors.
    """

    path: Path

    @cached_property
    def kind(self) -> Kind:
        """The container, by the first bytes; the name does not count."""
        if self.path.is_dir():
            return "folder"
        try:
            with self.path.open("rb") as file:
                head = file.read(9)
        except FileNotFoundError as error:
            raise TicketError(f"{self.path} does not exist") from error
        except OSError as error:
            raise TicketError(f"{self.path} cannot be read: {error.strerror}") from error
        if head.startswith(b"PAR1"):
            return "parquet"
        if head.startswith((b"PK\x03\x04", b"\x80\x02\x8a\nl")):  # torch.save's archive, and what it wrote before 1.6
            return "torch"
        return "safetensors" if head[8:] == b"{" else "other"

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """All tensors by name, on the CPU; empty for folders and Parquet files."""
        return self._contents[0]

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata of a safetensors file; empty for other files."""
        return self._contents[1]

    @cached_property
    def _contents(self) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
        if self.kind == "safetensors":
            return _safetensors(self.path)
        return (_state_dict(self.path), {}) if self.kind == "torch" else ({}, {})


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise TicketError(f"{path} is no readable safetensors file: {error}") from error
    return _unprefixed(_real(tensors, path)), metadata


def _state_dict(path: Path) -> dict[str, Tensor]:
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch raise nearly anything
        unsafe = _UNSAFE.search(str(error))
        if unsafe:
            raise TicketError(
                f"{path} holds a {unsafe[1]}, and reading it would run code from the file; save the state_dict alone "
                f"and give that file"
            ) from None
        # without torch's message, which advises to read such a file unsafely
        raise TicketError(
            f"{path} is no readable file of torch.save: it is damaged, or holds more than tensors; save the network's "
            f"state_dict alone and give that file"
        ) from None
    if isinstance(loaded, Mapping):
        loaded = next((loaded[key] for key in _WRAPPED if isinstance(loaded.get(key), Mapping)), loaded)
        tensors = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
        if tensors:
            return _unprefixed(_real(tensors, path))
    raise TicketError(f"{path} holds no state dict; save the model's state_dict() and give that file")


def _real(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors, dense; TicketError if a tensor has no values or no real numbers."""
    for name, tensor in tensors.items():
        if tensor.dtype not in _REAL:
            raise TicketError(f"{path}: {name} is of {tensor.dtype}, whose signs cannot be read; save it in float32")
        if tensor.is_meta:
            raise TicketError(f"{path}: {name} has no values; save the state_dict of the trained network")
    return {name: t.to_dense() if t.layout != torch.strided else t for name, t in tensors.items()}


def _unprefixed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES * 2:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors
