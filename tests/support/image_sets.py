"""Data sets of encoded images in their true layouts, small, with the oddities that the real ones have."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from scipy.io import savemat

REAL_TINY_IMAGENET = Path(__file__).parents[3] / "shared" / "data" / "tiny-imagenet-200-sample"
"""8 classes of the real one, where a machine has them beside the checkout."""

SIZES = ((500, 375), (375, 500), (640, 480), (500, 333), (300, 225))
WNIDS = ("n01440764", "n01443537", "n02094433", "n02410509", "n02841315", "n03255030", "n03838899", "n04259630")


def picture(stream: np.random.Generator, width: int, height: int, label: int = 0) -> Image.Image:
    """A smooth picture whose tint depends on the class."""
    coarse = stream.integers(0, 160, (6, 8, 3), dtype=np.uint8)
    coarse[..., label % 3] += 30 * (label // 3 % 4)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


def encoded(image: Image.Image, format_: str = "jpeg", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format_, **options)
    return buffer.getvalue()


def odd(image: Image.Image, number: int) -> bytes:
    """A JPEG; the first ones are CMYK, a PNG, grey, and a PNG of 16 bits, whatever their names say."""
    match number:
        case 0:
            return encoded(image.convert("CMYK"))
        case 1:
            return encoded(image, "png")
        case 2:
            return encoded(image.convert("L"))
        case 3:
            deep = np.asarray(image.convert("L")).astype(np.uint16) * 257
            return encoded(Image.fromarray(deep), "png")
    return encoded(image)


def write_imagenet(
    root: Path,
    *,
    wnids: Sequence[str] = WNIDS,
    train: int = 24,
    val: int = 8,
    labels_of_val: Literal["folders", "devkit", "kaggle"] = "folders",
    damaged: bool = False,
) -> Path:
    """``root/imagenet`` with ``per_class`` images; the last training image is cut short if ``damaged``."""
    stream = np.random.default_rng(len(wnids))
    folder = root / "imagenet"
    for label, wnid in enumerate(wnids):
        (folder / "train" / wnid).mkdir(parents=True)
        for number in range(train):
            image = picture(stream, *SIZES[(label + number) % len(SIZES)], label)
            content = odd(image, number) if label == 0 else encoded(image)
            if damaged and (label, number) == (len(wnids) - 1, train - 1):
                content = content[: len(content) // 2]
            (folder / "train" / wnid / f"{wnid}_{number:05d}.JPEG").write_bytes(content)
    labels = stream.permutation(np.arange(len(wnids) * val) % len(wnids))
    for number, label in enumerate(labels, start=1):
        within = folder / "val" / (wnids[label] if labels_of_val == "folders" else ".")
        within.mkdir(parents=True, exist_ok=True)
        image = picture(stream, *SIZES[number % len(SIZES)], int(label))
        (within / f"ILSVRC2012_val_{number:08d}.JPEG").write_bytes(encoded(image))
    if labels_of_val == "devkit":
        write_devkit(folder / "ILSVRC2012_devkit_t12" / "data", wnids, labels)
    if labels_of_val == "kaggle":
        rows = [f"ILSVRC2012_val_{n:08d},{wnids[label]} 85 1 499 272 " for n, label in enumerate(labels, start=1)]
        (folder / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *reversed(rows)]) + "\n")
    return folder


def write_devkit(folder: Path, wnids: Sequence[str], labels: np.ndarray) -> None:
    """The development kit's labels: ids that follow no order of the wnids, and synsets that are no classes."""
    folder.mkdir(parents=True)
    ids = np.random.default_rng(1).permutation(len(wnids)) + 1
    fields = [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")]
    leaves = sorted((int(id_), wnid, f"name of {wnid}", "a thing", 0) for id_, wnid in zip(ids, wnids, strict=True))
    groups = [(len(wnids) + 1, "n00001740", "entity", "all there is", len(wnids))]
    savemat(folder / "meta.mat", {"synsets": np.array([*leaves, *groups], dtype=fields)[:, None]})
    truth = "".join(f"{ids[label]}\n" for label in labels)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text(truth)


def write_tiny_imagenet(
    root: Path, *, wnids: Sequence[str] = WNIDS, train: int = 10, val: int = 4, size: int = 64
) -> Path:
    """``root/tiny-imagenet-200`` with so many images per class, some of them grey."""
    stream = np.random.default_rng(len(wnids))
    folder = root / "tiny-imagenet-200"
    lines = []
    for label, wnid in enumerate(wnids):
        images = folder / "train" / wnid / "images"
        images.mkdir(parents=True)
        for number in range(train):
            image = picture(stream, size, size, label)
            content = encoded(image.convert("L") if number == 1 else image)
            (images / f"{wnid}_{number}.JPEG").write_bytes(content)
        boxes = "".join(f"{wnid}_{number}.JPEG\t0\t0\t63\t63\n" for number in range(train))
        (images.parent / f"{wnid}_boxes.txt").write_text(boxes)
    (folder / "val" / "images").mkdir(parents=True)
    for number, label in enumerate(stream.permutation(np.arange(len(wnids) * val) % len(wnids))):
        content = encoded(picture(stream, size, size, int(label)))
        (folder / "val" / "images" / f"val_{number}.JPEG").write_bytes(content)
        lines.append(f"val_{number}.JPEG\t{wnids[label]}\t0\t0\t63\t63\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    (folder / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in reversed(wnids)))
    return folder


def write_image_folder(folder: Path, *, classes: Sequence[str] = ("ants", "bees"), test: str = "val") -> Path:
    """``folder/train/<class>`` and ``folder/<test>/<class>``; some images in folders of their own."""
    stream = np.random.default_rng(0)
    for split, count in (("train", 6), (test, 3)):
        for label, class_ in enumerate(classes):
            for number in range(count):
                within = folder / split / class_ / ("more" if number % 2 else ".")
                within.mkdir(parents=True, exist_ok=True)
                format_ = ("jpeg", "png", "webp")[number % 3]
                extension = {"jpeg": "JPG", "png": "png", "webp": "webp"}[format_]
                content = encoded(picture(stream, *SIZES[number % len(SIZES)], label), format_)
                (within / f"{number}.{extension}").write_bytes(content)
    return folder


def write_shards(
    folder: Path, split: str, contents: Sequence[bytes | None], labels: Sequence[int], shards: int = 2
) -> list[Path]:
    """Parquet in the image layout of Hugging Face data sets, in row groups of 7 images; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for shard, rows in enumerate(np.array_split(np.arange(len(contents)), shards)):
        table = pa.table(
            {
                "image": [{"bytes": contents[row], "path": f"{row}.JPEG"} for row in rows],
                "label": pa.array([labels[row] for row in rows], pa.int64()),
            }
        )
        paths.append(folder / f"{split}-{shard:05d}-of-{shards:05d}.parquet")
        pq.write_table(table, paths[-1], row_group_size=7)
    return paths
