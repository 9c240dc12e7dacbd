"""A file of any format: its container, its tensors and its metadata, read without running code from the file."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tickets.errors import TicketError
from tickets.files.reading import open_regular
from tickets.files.tables import MOST_LETTERS
from tickets.registry import unknown

Kind = Literal["folder", "parquet", "safetensors", "torch", "other"]
_BESIDE_NETWORK = re.compile("optim(?!al)|sched|scaler", re.IGNORECASE)  # keys of what a checkpoint holds besides
_DEEPEST = 3  # checkpoints wrap a state dict at most this often
_COUNTER = "n_averaged"  # AveragedModel's number of averaged updates, beside the network's tensors
_REAL = (  # types whose signs torch computes
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
)
_SCALARS: list[Any] = [  # numpy's numbers, such as an accuracy beside the state dict: they run no code
    np.dtype,
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *{type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["Float"] + "?"},
]
_MOST_KEYS = 200_000  # of a checkpoint and of the mappings in it
_FREE_BYTES, _BYTES_PER_BYTE = 64 << 20, 8  # tensors may share memory, and an archive may be compressed
_FREE_ELEMENTS, _ELEMENTS_PER_BYTE = 1 << 25, 200  # of sparse tensors, each of whose values takes 20 bytes
_MOST_HEADER_BYTES = _MOST_PICKLE_BYTES = 16 << 20  # what names the tensors of safetensors and of torch.save
_UNSAFE = re.compile(r"Unsupported (?:global|class|operand)[^\n]*?(?:GLOBAL )?([\w.]+) was not")


class NeedsHintError(TicketError):
    """An intact file leaves a question open; the message names the hint that answers it."""


@dataclass(frozen=True)
class Source:
    """A file or folder, read once, when an attribute is first used.

    Attributes:
        state: keys to one of the state dicts in a checkpoint, joined by dots, such as "ema"; None if there is only one.

    Raises:
        NeedsHintError: from ``tensors``, if the file holds several state dicts and ``state`` does not choose one.
        TicketError: from each attribute, if the file is missing, damaged or holds more than tensors.
    """

    path: Path
    state: str | None = None

    @cached_property
    def kind(self) -> Kind:
        """The container, by the first bytes; the name does not count."""
        kind = self._kind()
        if self.state is not None and kind != "torch":
            raise TicketError(f"{self.path} is no checkpoint of torch.save, which --state chooses from; leave it out")
        return kind

    def _kind(self) -> Kind:
        if self.path.is_dir():
            return "folder"
        try:
            with open_regular(self.path) as file:
                head = file.read(9)
        except FileNotFoundError as error:
            raise TicketError(f"{self.path} does not exist") from error
        except OSError as error:
            raise TicketError(f"{self.path} cannot be read: {error.strerror or error}") from error
        if head.startswith(b"PAR1"):
            return "parquet"
        if head.startswith((b"PK\x03\x04", b"\x80\x02\x8a\nl")):  # torch.save's archive, and what it wrote before 1.6
            return "torch"
        if head[8:] != b"{":
            return "other"
        if int.from_bytes(head[:8], "little") > _MOST_HEADER_BYTES:
            raise TicketError(f"{self.path} has a header of more than {_MOST_HEADER_BYTES:,} bytes; save fewer tensors")
        return "safetensors"

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
        if self.kind == "torch":
            return _state_dict(self.path, self.state), {}
        return _safetensors(self.path) if self.kind == "safetensors" else ({}, {})


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError, RuntimeError, OverflowError) as error:
        raise TicketError(f"{path} is no readable safetensors file: {error}") from error
    return _unprefixed(_real(tensors, path)), metadata


def _state_dict(path: Path, chosen: str | None) -> dict[str, Tensor]:
    _check_archive(path)
    try:
        with torch.serialization.safe_globals(_SCALARS):
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
        if _keys(loaded) > _MOST_KEYS:
            raise TicketError(f"{path} has more than {_MOST_KEYS:,} keys; save the network's state_dict alone")
        state = _chosen(dict(_state_dicts(loaded)), path, chosen) or loaded
        tensors = {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor)}
        if tensors:
            return _unprefixed(_real(tensors, path))
    raise TicketError(f"{path} holds no state dict; save the model's state_dict() and give that file")


def _check_archive(path: Path) -> None:
    """Raise TicketError if the entries of torch.save's archive unpack to far more bytes than the file has."""
    most_bytes = _most_bytes(path)
    try:
        with path.open("rb") as file:
            if file.read(2) != b"PK":  # written before torch 1.6
                return
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise TicketError(f"{path} is no readable file of torch.save: it is damaged") from error
    unpacked_bytes = sum(entry.file_size for entry in entries)
    pickle_bytes = max((entry.file_size for entry in entries if entry.filename.endswith(".pkl")), default=0)
    if unpacked_bytes > most_bytes or pickle_bytes > _MOST_PICKLE_BYTES:
        raise TicketError(
            f"{path} unpacks to {unpacked_bytes:,} bytes, {pickle_bytes:,} of them without tensors, and at most "
            f"{most_bytes:,} and {_MOST_PICKLE_BYTES:,} are read of a file of its size; save the state_dict alone with "
            f"torch.save"
        )


def _most_bytes(path: Path) -> int:
    return _FREE_BYTES + _BYTES_PER_BYTE * path.stat().st_size


def _keys(loaded: Mapping[Any, Any]) -> int:
    """Number of keys in which state dicts are looked for, or one above ``_MOST_KEYS``; shared mappings count again."""
    count, level = len(loaded), [loaded]
    for _ in range(_DEEPEST):
        deeper: list[Mapping[Any, Any]] = []
        for value in (value for mapping in level for value in mapping.values()):
            if isinstance(value, Mapping):
                deeper.append(value)
                count += len(value)
                if count > _MOST_KEYS:
                    return count
        level = deeper
    return count


def _state_dicts(loaded: Mapping[Any, Any], keys: tuple[str, ...] = ()) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """The state dicts inside a checkpoint by their keys: mappings with weights, not those of optimizers."""
    for key, value in loaded.items():
        if isinstance(key, str) and isinstance(value, Mapping) and not _BESIDE_NETWORK.search(key):
            if any(_is_weight(name, tensor) for name, tensor in value.items()):
                yield ".".join((*keys, key)), value
            elif len(keys) + 1 < _DEEPEST:
                yield from _state_dicts(value, (*keys, key))


def _is_weight(name: object, value: object) -> bool:
    if not isinstance(name, str) or not isinstance(value, Tensor):
        return False
    return value.dim() > 0 and name.rpartition(".")[2].startswith("weight")


def _chosen(states: Mapping[str, Mapping[Any, Any]], path: Path, chosen: str | None) -> Mapping[Any, Any] | None:
    """The state dict to read; None if the file is a state dict itself."""
    if chosen is not None:
        if not states:
            raise TicketError(f"{path} holds one state dict, without a key; leave --state out")
        under = [key for key in states if f"{key}.".startswith(f"{chosen}.")]
        if len(under) != 1:
            raise TicketError(f"{path}: {unknown('state dict', chosen, states)}")
        return states[under[0]]
    if not states:
        return None
    first, *others = states.values()
    if not all(_same(first, other) for other in others):
        raise NeedsHintError(
            f"{path} holds {len(states)} state dicts, {' and '.join(states)}; choose one with --state of convert"
        )
    return first


def _same(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) if isinstance(value, Tensor) and isinstance(other[name], Tensor) else True
        for name, value in one.items()
    )


def _real(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors, dense.

    Raises:
        TicketError: a tensor has no values or no real numbers, or the tensors have far more values than the file.
    """
    for name, tensor in tensors.items():
        if len(name) > MOST_LETTERS:
            raise TicketError(f"{path}: {name[:40]}… is a name of more than {MOST_LETTERS:,} letters")
        if tensor.dtype not in _REAL:
            raise TicketError(f"{path}: {name} is of {tensor.dtype}, whose signs cannot be read; save it in float32")
        if tensor.is_meta:
            raise TicketError(f"{path}: {name} has no values; save the state_dict of the trained network")
        if tensor.is_nested:
            raise TicketError(f"{path}: {name} is a nested tensor, which is no weight; save it as a plain tensor")
    sparse = {name: tensor for name, tensor in tensors.items() if tensor.layout != torch.strided}
    elements = sum(tensor.numel() for tensor in sparse.values())
    values_bytes = sum(t.numel() * t.element_size() for name, t in tensors.items() if name not in sparse)
    most_elements = max(_FREE_ELEMENTS, _ELEMENTS_PER_BYTE * path.stat().st_size)
    if elements > most_elements or values_bytes > _most_bytes(path):
        raise TicketError(
            f"{path}: its tensors have {elements:,} sparse elements and {values_bytes:,} bytes of others, and at most "
            f"{most_elements:,} and {_most_bytes(path):,} are read of a file of its size; save each tensor's clone()"
        )
    try:
        return {name: tensor.to_dense() if name in sparse else tensor for name, tensor in tensors.items()}
    except RuntimeError as error:
        raise TicketError(f"{path}: a sparse tensor is damaged; save dense tensors") from error


def _unprefixed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under their network's names, without what torch.compile, data parallelism and averages add."""
    tensors = {name.replace("_orig_mod.", ""): tensor for name, tensor in tensors.items()}
    while True:
        named = {name: tensor for name, tensor in tensors.items() if name != _COUNTER}
        if not named or not all(name.startswith("module.") for name in named):
            return tensors
        tensors = {name.removeprefix("module."): tensor for name, tensor in named.items()}
