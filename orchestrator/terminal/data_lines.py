"""Say what is read of each data set: images by split, classes, and files that are left out."""

from __future__ import annotations

from collections.abc import Mapping

from workers.data import SplitSummary


def data_line(
    name: str, splits: Mapping[str, SplitSummary], left_out: Mapping[str, int], side: int | None = None
) -> str:
    """One line about a data set; without ``splits`` only the preparation tells its images.

    Args:
        side: side in pixels to which its images are averaged; None if they keep their size.
    """
    counts = ", ".join(
        f"{split} {summary.images:,} images of classes {summary.lowest} to {summary.highest}"
        + (f" ({summary.classes} of these occur)" if summary.classes <= summary.highest - summary.lowest else "")
        for split, summary in splits.items()
    )
    ignored = ", ".join(f"{extension} {count:,}" for extension, count in sorted(left_out.items()))
    others = sum(left_out.values())
    without = f"; {others:,} other {'file is' if others == 1 else 'files are'} left out ({ignored})" if others else ""
    averaged = f"; images averaged to {side}x{side} pixels" if side else ""
    return f"{name}: {counts or 'counted when it is prepared'}{without}{averaged}"
