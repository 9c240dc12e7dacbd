"""Signs over time: which surviving weights change sign within a training, and how far psi drifts.

Recording only reads the network, so that it changes no number. The signs of a record are one bit of an integer per
weight: the whole history takes one to four bytes a weight, and lies in the training's checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workers.storage.schemas import SIGNS_SCHEMA
from workers.training.psi import psi_names

MOST_RECORDS = 32  # bits of the widest history
EARLY_EIGHTHS = (1, 2, 4)  # of the first epoch, in which most signs flip
LOCKED_SHARE = 0.01
_WEIGHTS_AT_ONCE = 1 << 18
_HISTORY = {8: torch.int8, 16: torch.int16, 32: torch.int32}


def record_points(span: range, batches: int) -> list[tuple[int, int]]:
    """When a training records: before which batch of which epoch, from its start to its end; known before it starts.

    The start; after an eighth, a quarter and a half of the first epoch; and the ends of epochs, evenly thinned to at
    most ``MOST_RECORDS`` in all. The end is always among them.

    Args:
        span: the epochs that are trained.
        batches: number of batches of an epoch.
    """
    if not span:
        return []
    early = sorted({batches * eighths // 8 for eighths in EARLY_EIGHTHS} - {0})
    ends = MOST_RECORDS - 1 - len(early)
    epochs = sorted({-(-len(span) * number // ends) for number in range(1, ends + 1)})
    return [(span.start, batch) for batch in (0, *early)] + [(span.start + epoch, 0) for epoch in epochs]


class SignRecorder:
    """Records the signs of the surviving weights and the drift of psi during one training.

    A sign is negative or not, so an exact zero counts as positive. Drift is the distance of psi from the values towards
    which AWS interpolates: a scale of 1 and a shift of 0 (paper, section 4).

    Args:
        masks: boolean masks of the prunable weights; without, psi alone is recorded.
        current_masks: returns the masks at a record, if the training changes them. A weight then counts in a record if
            it is alive there, and as flipped between two if it is alive in both.
    """

    def __init__(
        self,
        model: nn.Module,
        masks: Mapping[str, Tensor],
        span: range,
        batches: int,
        current_masks: Callable[[], Mapping[str, Tensor]] | None = None,
    ) -> None:
        self._points = record_points(span, batches)
        self._number = {point: number for number, point in enumerate(self._points)}
        self._first, self._batches = span.start, batches
        self._masks, self._current_masks = masks, current_masks
        parameters = dict(model.named_parameters())
        self._weights = {name: parameters[name] for name in masks}
        bits = next(bits for bits in _HISTORY if len(self._points) <= bits)
        self._history = {
            name: torch.zeros_like(weight, dtype=_HISTORY[bits], requires_grad=False)
            for name, weight in self._weights.items()
        }
        changing = self._history if current_masks else {}
        self._alive = {name: torch.zeros_like(history) for name, history in changing.items()}
        self._initial = psi_names(model)
        self._psi: list[Tensor] = [parameters[name] for name in self._initial]
        device = next(iter(parameters.values())).device
        # (records, tensors of psi, 2): root of the sum of squares, and the largest
        self._drift = torch.zeros(len(self._points), len(self._psi), 2, device=device)

    @torch.no_grad()
    def record(self, epoch: int, batch: int) -> None:
        """Record the network as it is before a batch, if this is one of the training's points; never waits."""
        number = self._number.get((epoch, batch))
        if number is None:
            return
        for name, weight in self._weights.items():
            history = self._history[name]
            history.bitwise_or_((weight < 0).to(history.dtype) << number)
        masks = self._current_masks() if self._current_masks else {}
        for name, alive in self._alive.items():
            alive.bitwise_or_(masks[name].to(alive.dtype) << number)
        if self._psi:
            drifts = torch._foreach_sub(self._psi, list(self._initial.values()))
            norms = (torch._foreach_norm(drifts, 2), torch._foreach_norm(drifts, math.inf))
            self._drift[number] = torch.stack([torch.stack(list(each)) for each in norms], dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps, by name, not copied."""
        return {
            **{f"signs.{name}": history for name, history in self._history.items()},
            **{f"signs_alive.{name}": alive for name, alive in self._alive.items()},
            "signs_psi_drift": self._drift,
        }

    @torch.no_grad()
    def unpack(self, packed: Mapping[str, Tensor]) -> None:
        """Restore what a checkpoint kept."""
        for name, tensor in self.tensors().items():
            tensor.copy_(packed[name])

    def rows(self) -> list[dict[str, Any]]:
        """Rows of ``SIGNS_SCHEMA``, record by record; none if nothing was trained."""
        if not self._points:
            return []
        columns: dict[str, Sequence[Mapping[str, Any]]] = {
            name: _sign_columns(history, self._alive.get(name), self._masks[name], len(self._points))
            for name, history in self._history.items()
        }
        drifts = self._drift.double().cpu()
        for place, (name, psi) in enumerate(zip(self._initial, self._psi, strict=True)):
            rms, largest = drifts[:, place, 0] / math.sqrt(psi.numel()), drifts[:, place, 1]
            columns[name] = [
                {"elements": psi.numel(), "drift_rms": rms[number].item(), "drift_max": largest[number].item()}
                for number in range(len(self._points))
            ]
        return [row for number in range(len(self._points)) for row in self._rows_of(number, columns)]

    def _rows_of(self, number: int, columns: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[dict[str, Any]]:
        epoch, batch = self._points[number]
        step = (epoch - self._first) * self._batches + batch
        empty = dict.fromkeys(SIGNS_SCHEMA.names)
        for name, rows in columns.items():
            yield {**empty, "step": step, "epoch": epoch + batch / self._batches, "parameter": name, **rows[number]}


def _sign_columns(history: Tensor, alive: Tensor | None, mask: Tensor, records: int) -> list[dict[str, Any]]:
    """Columns of a layer's rows, one per record.

    Args:
        history: integers in the layer's shape; bit r of each is whether the weight was negative at record r.
        alive: whether it was alive then, likewise; None if the mask did not change.
        mask: which weights are alive, unless ``alive`` says so.
    """
    ever = mask.to(history.device) if alive is None else alive != 0
    numbers = torch.arange(records, device=history.device).unsqueeze(1)
    counts = torch.zeros(5, records, dtype=torch.int64, device=history.device)
    lived = history[ever] if alive is None else alive[ever]
    for part, of_part in zip(history[ever].split(_WEIGHTS_AT_ONCE), lived.split(_WEIGHTS_AT_ONCE), strict=True):
        negative = _bits(part, numbers)
        there = torch.ones_like(negative) if alive is None else _bits(of_part, numbers)
        flipped = torch.zeros_like(negative)
        flipped[1:] = (negative[1:] != negative[:-1]) & there[1:] & there[:-1]
        last_flip = (flipped * numbers.to(torch.uint8)).amax(0)
        from_start, to_end = ((negative != negative[end]) & there[end] for end in (0, -1))
        each = (there, flipped, from_start & there, to_end & there, (last_flip > numbers) & there)
        counts += torch.stack([wanted.sum(1) for wanted in each])
    names = ("elements", "flips", "flips_from_start", "flips_to_end", "flip_later")
    return [dict(zip(names, of_record, strict=True)) for of_record in counts.T.tolist()]


def _bits(integers: Tensor, numbers: Tensor) -> Tensor:
    """The bits of integers (weights,) by number, as bool (records, weights)."""
    return ((integers.unsqueeze(0) >> numbers.to(integers.dtype)) & 1).bool()


def signs_summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The few numbers of a training that its record keeps.

    Returns:
        ``sign_flips_percent``: surviving weights whose sign at the end differs from the start. ``sign_lock_in_epochs``:
        epochs until the first record after which at most ``LOCKED_SHARE`` of the surviving weights flip.
        ``psi_drift_rms``: root mean square over all scales and shifts at the end. A network without psi has no drift,
        and one without masks no flips.
    """
    if not rows:
        return {}
    summary: dict[str, float] = {}
    first, last = rows[0]["epoch"], rows[-1]["epoch"]
    weights = [row for row in rows if row["flips"] is not None]
    end = [row for row in rows if row["epoch"] == last]
    survivors = sum(row["elements"] for row in end if row["flips"] is not None)
    if survivors:
        flipped = sum(row["flips_from_start"] for row in end if row["flips"] is not None)
        later: dict[float, int] = {}
        for row in weights:
            later[row["epoch"]] = later.get(row["epoch"], 0) + row["flip_later"]
        locked = next(epoch for epoch, flips in later.items() if flips <= LOCKED_SHARE * survivors)
        summary |= {"sign_flips_percent": 100 * flipped / survivors, "sign_lock_in_epochs": locked - first}
    psi = [row for row in end if row["drift_rms"] is not None]
    if elements := sum(row["elements"] for row in psi):
        squares = sum(row["elements"] * row["drift_rms"] ** 2 for row in psi)
        summary["psi_drift_rms"] = math.sqrt(squares / elements)
    return summary
