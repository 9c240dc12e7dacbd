"""Stream images that do not fit into memory: read, decode and crop them batch by batch, ahead of the training.

A GPU decodes whole batches on separate streams; on CPUs, processes decode with PIL.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.io import encode_jpeg
from torchvision.transforms.v2 import functional as views

from workers.data.augmentation import AUGMENTATIONS, Draws, ResizedCropFlip
from workers.data.batches import Batch
from workers.data.errors import DataError
from workers.data.images import jpeg
from workers.data.images.crops import RandomCrops, Request, decoded_views, pil_views
from workers.data.images.encoded import Pictures, decode_rgb, read_encoded
from workers.data.images.headers import MOST_PIXELS
from workers.devices.streams import leased_stream, set_aside
from workers.stages import Augmentation

BATCHES_AHEAD = 2
READING_THREADS = 16
DECODING_THREADS = 2

JpegDecoder = Callable[[list[Tensor]], list[Tensor]]
"""Encoded images, uint8 (bytes,) on the CPU -> uint8 (3, height, width) on the device; RuntimeError if one is bad."""


class Reader(Protocol):
    """Loads batches of pictures."""

    labels: Tensor

    def batches(self, requests: Sequence[Request]) -> Iterator[Tensor]:
        """uint8 (batch, 3, height, width) on the device for each request; DataError names a damaged picture."""


@dataclass(frozen=True)
class StreamedSplit:
    """A split of streamed pictures: see ``workers.data.batches.Split``."""

    reader: Reader
    rows: Tensor
    labels: Tensor
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, part: slice) -> StreamedSplit:
        return replace(self, rows=self.rows[part], labels=self.labels[part])

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        requests = [Request(rows.numpy(), self.size) for rows in self.rows.split(batch_size)]
        return map(Batch, self.reader.batches(requests), self.labels.split(batch_size))

    def drawn(self, draws: Draws, batch_size: int, augmentation: Augmentation, first: int = 0) -> Iterator[Batch]:
        rule = AUGMENTATIONS[augmentation]
        if not isinstance(rule, ResizedCropFlip | None):
            raise DataError(f"augmentation {augmentation} needs images of one size; use resized_crop_flip or none")
        requests = [
            Request(
                self.rows[batch.order].numpy(),
                self.size,
                RandomCrops(batch.geometry.numpy(), rule.smallest) if rule else None,
                batch.flip.numpy() if rule else None,
            )
            for batch in draws.batches(batch_size, first)
        ]
        order = draws.order.to(self.labels.device)  # moved to the device once, so that no batch waits for the host
        labels = self.labels[order[first * batch_size :]].split(batch_size)
        yield from map(Batch, self.reader.batches(requests), labels)


def open_reader(pictures: Pictures, device: torch.device, workers: int | None) -> Reader:
    """Open the reader that suits a device; ``workers`` is the ``loader_workers`` of ``workers.data.splits``."""
    if device.type == "cuda" and workers is None:
        return DeviceReader(pictures, device, jpeg_decoder(device))
    return ProcessReader(pictures, device, 1 if workers is None else workers)


class ProcessReader:
    """Decodes with PIL in ``workers`` processes, or in this process if ``workers`` is 0."""

    def __init__(self, pictures: Pictures, device: torch.device, workers: int) -> None:
        self.labels = torch.tensor(pictures.labels)
        self._device, self._requests = device, _Requests()
        self._loader = DataLoader(
            _Views(pictures),
            sampler=self._requests,
            batch_size=None,  # a request is a whole batch
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=BATCHES_AHEAD if workers else None,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # by default a loader would draw from dropout's generator
            worker_init_fn=_leave_signals_to_the_parent,
        )

    def batches(self, requests: Sequence[Request]) -> Iterator[Tensor]:
        self._requests.pending = requests
        for loaded in self._loader:
            if isinstance(loaded, str):
                raise DataError(loaded)
            images = loaded if isinstance(loaded, Tensor) else loaded.tensor()
            yield images.to(self._device, non_blocking=True)


def _leave_signals_to_the_parent(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Requests(Sampler[Request]):
    """The requests of one pass; the loader's processes outlive the pass."""

    def __init__(self) -> None:
        self.pending: Sequence[Request] = ()

    def __iter__(self) -> Iterator[Request]:
        return iter(self.pending)

    def __len__(self) -> int:
        return len(self.pending)


@dataclass(frozen=True)
class _Pixels:
    """A loaded batch, uint8 (batch, height, width, 3), that crosses to the parent by value, through a pipe.

    As a tensor it would need room in /dev/shm, and a socket in TMPDIR. Where these fail, torch's queue only prints a
    traceback, and the parent waits for ever.
    """

    array: NDArray[np.uint8]

    def tensor(self) -> Tensor:
        """uint8 (batch, 3, height, width), channels last."""
        return torch.from_numpy(self.array).permute(0, 3, 1, 2)

    def pin_memory(self) -> Tensor:
        """Called by the loader's thread for a GPU."""
        return torch.from_numpy(self.array).pin_memory().permute(0, 3, 1, 2)


class _Views(Dataset[_Pixels | str]):
    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def __getitem__(self, request: Request) -> _Pixels | str:
        try:
            return _Pixels(pil_views(self._pictures, request))
        except DataError as error:
            return str(error)  # the parent raises the error; raised here, its message would gain a traceback


class DeviceReader:
    """Reads files in threads, and decodes and crops in two threads on the device, two batches ahead.

    One thread queues the crops of its batch while the other one decodes. Each has a stream, and so memory, of its own.
    """

    def __init__(self, pictures: Pictures, device: torch.device, decode: JpegDecoder) -> None:
        self.labels = torch.tensor(pictures.labels)
        self._pictures, self._device, self._decode = pictures, device, decode

    def batches(self, requests: Sequence[Request]) -> Iterator[Tensor]:
        ahead: deque[Future[tuple[Tensor, torch.cuda.Event | None]]] = deque()
        with ExitStack() as held:
            on_gpu = self._device.type == "cuda"
            streams = [
                held.enter_context(leased_stream(self._device)) if on_gpu else None for _ in range(DECODING_THREADS)
            ]
            files = held.enter_context(ThreadPoolExecutor(READING_THREADS))
            threads = [held.enter_context(ThreadPoolExecutor(1)) for _ in streams]
            for request, stream, thread in zip(requests, cycle(streams), cycle(threads), strict=False):
                contents = [files.submit(read_encoded, self._pictures, int(row)) for row in request.rows]
                ahead.append(thread.submit(self._load, request, contents, stream))
                if len(ahead) > BATCHES_AHEAD:
                    yield self._synchronized(ahead.popleft())
            while ahead:
                yield self._synchronized(ahead.popleft())

    def _synchronized(self, loaded: Future[tuple[Tensor, torch.cuda.Event | None]]) -> Tensor:
        images, ready = loaded.result()
        if ready is not None:
            consumer = torch.cuda.current_stream(self._device)
            consumer.wait_event(ready)
            images.record_stream(consumer)
        return images

    def _load(
        self, request: Request, contents: Sequence[Future[bytes]], stream: torch.cuda.Stream | None
    ) -> tuple[Tensor, torch.cuda.Event | None]:
        with torch.cuda.stream(stream) if stream else nullcontext():
            encoded = [content.result() for content in contents]
            if stream:
                # the decoder writes on a stream of its own, into memory that this thread's last crops may still read
                stream.synchronize()
            decoded = self._decoded(request.rows, encoded)
            images = decoded_views(decoded, request)
            return images, stream.record_event() if stream else None

    def _decoded(self, rows: NDArray[np.int64], contents: Sequence[bytes]) -> list[Tensor]:
        plain = [slot for slot, content in enumerate(contents) if jpeg.is_plain(content, MOST_PIXELS)]
        encoded = [torch.frombuffer(jpeg.without_exif(contents[slot]), dtype=torch.uint8) for slot in plain]
        try:
            decoded = dict(zip(plain, self._decode(encoded) if encoded else [], strict=True))
        except RuntimeError:  # one bad image fails the whole batch, so decode each image alone
            decoded = {slot: image for slot, bytes_ in zip(plain, encoded, strict=True) for image in self._try(bytes_)}
        return [decoded[slot] if slot in decoded else self._by_pil(int(row)) for slot, row in enumerate(rows)]

    def _try(self, encoded: Tensor) -> list[Tensor]:
        try:
            return self._decode([encoded])
        except RuntimeError:
            return []

    def _by_pil(self, row: int) -> Tensor:
        return views.pil_to_tensor(decode_rgb(self._pictures, row)).to(self._device)


def jpeg_decoder(device: torch.device) -> JpegDecoder:
    """A batched JPEG decoder for a device: TorchCodec's if installed, else torchvision's.

    On a GPU it decodes a first image here, so that no stage is given the stream that the decoder takes for itself.
    """
    try:
        from torchcodec.decoders import decode_jpeg

        decode: JpegDecoder = partial(decode_jpeg, mode="RGB", device=device)
    except (ImportError, OSError, RuntimeError):  # the latter two: its libraries are missing
        from torchvision.io import ImageReadMode, decode_jpeg

        decode = partial(decode_jpeg, mode=ImageReadMode.RGB, device=device)
    if device.type == "cuda":
        grey = encode_jpeg(torch.full((3, 16, 16), 128, dtype=torch.uint8))
        set_aside(device, lambda: decode([grey]))
    return decode
