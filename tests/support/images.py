"""Images in the layout of Hugging Face data sets, for tests that read them from Parquet."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

REAL_CIFAR10 = Path(__file__).parents[3] / "shared" / "data" / "cifar10"
"""The real one, where a machine has it beside the checkout."""


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


def write_images(
    path: Path, count: int, *, image: str = "image", label: str = "label", classes: int = 10
) -> np.ndarray:
    """Parquet in the image layout of Hugging Face data sets; the pixels that went in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    rows = [{"bytes": png(picture), "path": None} for picture in pixels]
    pq.write_table(pa.table({image: rows, label: np.arange(count) % classes}), path)
    return pixels
