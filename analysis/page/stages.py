"""What the page tells about stages: all of them as JSON, those that are not done, progress, data and provenance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from analysis.comparisons.labels import count
from analysis.comparisons.statistics import KEY_DIGITS
from analysis.frames.data_sets import COUNTS
from analysis.frames.load import Frames
from orchestrator.store.layout import stage_folder
from orchestrator.store.plans import blocked

STATES = RUNNING, WAITING, BLOCKED, FAILED = "running", "waiting", "blocked", "failed"
"""Of planned stages without a record."""
STAGES = "stages"
"""A store's folder of stages."""
DIGITS = 8
"""Significant digits of the page's numbers: all digits of 100,000 stages would be a tenth of the page."""


def in_order(frames: Frames) -> pd.DataFrame:
    """Return the frame ``stages`` in the page's order."""
    return frames.stages.sort_values(["name", "key"])


def stage_data(frames: Frames, link: Callable[[str], str]) -> dict[str, Any]:
    """Return all stages as columns: the page's table, a point's details and the CSV download come from them.

    Args:
        link: turns a path in the store, or of several stores a path that begins with its store's root, into the address
            that the page links to.

    Returns:
        ``base``: the address that ``folder`` is relative to, quoted, or empty for several stores; ``columns``: by name,
        a list with one entry per stage; or, if values repeat often, ``{"values": [...], "codes": [...]}`` with
        positions in ``values``, or -1 for a missing value; or, if all are equal, ``{"every": value}``. Keys are cut to
        their first 16 digits, as in figures; fractions have ``DIGITS``, and ``seconds`` three decimals. A missing
        ``folder`` is the one that follows from kind, name and key. ``name`` is ``{"begins": [...], "ends": [...]}``:
        each begins with as many words of the name before. ``inputs`` is a list per stage, of the inputs' rows, or keys
        that the page lacks.
    """
    stages = in_order(frames)
    if len(frames.stores) > 1:  # also if all stages are one store's: ``link`` takes paths that begin with its root
        base, folders = "", (stages["store"] + "/" + stages["folder"]).map(lambda path: quote(link(path), safe="/:"))
    else:
        rows = stages[["kind", "name", "key"]].to_numpy()
        usual = [stage_folder(*row) if row[1].isascii() and row[1].isprintable() else "" for row in rows]
        base, folders = quote(link(STAGES), safe="/:"), stages["folder"].where(stages["folder"] != usual)
        folders = folders.str.removeprefix(f"{STAGES}/")
        stages = stages.drop(columns="store")  # it may be a path of a machine that no reader has
    columns = stages.assign(
        key=stages["key"].str[:KEY_DIGITS],
        seconds=stages["seconds"].round(3),
        folder=folders,
    )
    row = {key: place for place, key in enumerate(columns["key"])}
    short = ([key[:KEY_DIGITS] for key in keys.split(",") if key] for keys in stages["inputs"])
    inputs = [[row.get(key, key) for key in keys] for keys in short]
    written: dict[str, Any] = {"name": _front_coded(stages["name"]), "inputs": inputs}
    return {
        "base": base,
        "columns": {
            str(name): written[name] if name in written else _column(columns[name]) for name in columns.columns
        },
    }


def _front_coded(names: Iterable[str]) -> dict[str, list[Any]]:
    """Write sorted names as the number of words that each shares with the one before, and the words that follow."""
    begins, ends, before = list[int](), list[str](), list[str]()
    for name in names:
        words = name.split("/")
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, words[:-1], strict=False)))
        begins.append(shared)
        ends.append("/".join(words[shared:]))
        before = words
    return {"begins": begins, "ends": ends}


def _column(values: pd.Series) -> list[Any] | dict[str, Any]:
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    cells = _cells(values)
    try:
        codes, distinct = pd.factorize(pd.Series(cells, dtype=object))
    except TypeError:  # a result that is a list or a mapping
        return cells
    if len(distinct) * 3 > len(cells) or not cells:
        return cells
    if len({*codes}) == 1:
        return {"every": cells[0]}
    return {"values": list(distinct), "codes": codes.tolist()}


def _cells(values: pd.Series) -> list[Any]:
    """Turn values into JSON: missing values and numbers that are not finite become null."""
    if values.dtype == object:  # results of plugins, of any type
        return [_cell(value) for value in values]
    known = values.notna()
    if pd.api.types.is_float_dtype(values.dtype):
        known &= np.isfinite(values.to_numpy("float64", na_value=np.nan))
        return [_short(float(value)) if there else None for value, there in zip(values, known, strict=True)]
    return list(values.astype(object).where(known, None).tolist())


def _short(value: float) -> float:
    """Round a fraction to ``DIGITS``; a whole number, such as a seed, keeps all of its digits."""
    return value if value.is_integer() else float(f"{value:.{DIGITS}g}")


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        return value
    if value is None or pd.isna(value) or value in (float("inf"), float("-inf")):
        return None
    return value.item() if hasattr(value, "item") else value


def pending(frames: Frames) -> pd.DataFrame:
    """Return the planned stages without a record, by state and name.

    Returns:
        The columns of ``frames.missing``, and ``state``: "failed" if the last attempt failed, "running" if the last
        event is its start and a driver is at work, "blocked" if it needs a failed stage, else "waiting" (for its
        inputs, or for a free device). ``since``: the start of a running stage. A killed driver records no end, so while
        another one works, a start long ago may mean a lost attempt.
    """
    last = frames.events.dropna(subset=["key"]).drop_duplicates("key", keep="last").set_index("key")
    started = frames.missing["key"].map(last["time"].to_dict())
    rows = frames.missing.assign(state=WAITING, since=pd.to_datetime(started, utc=True))
    if frames.at_work:
        rows.loc[rows["key"].map(last["event"].to_dict()) == "started", "state"] = RUNNING
    rows.loc[rows["failed"], "state"] = FAILED
    waiting = rows.loc[rows["state"] == WAITING, ["key", "inputs"]].itertuples(index=False, name=None)
    behind = blocked(rows.loc[rows["failed"], "key"], {key: inputs.split(",") for key, inputs in waiting})
    rows.loc[rows["key"].isin(behind), "state"] = BLOCKED
    rows.loc[rows["state"] != RUNNING, "since"] = pd.NaT
    return rows.sort_values(
        ["state", "name"],
        key=lambda column: column.map(STATES.index) if column.name == "state" else column,
        ignore_index=True,
    )


def progress(frames: Frames) -> dict[str, int]:
    """Count the stages that are planned and done, and those in each of ``STATES``."""
    states = pending(frames)["state"].value_counts()
    counts = {state: int(states.get(state, 0)) for state in STATES}
    return {"planned": frames.planned, "done": frames.planned - len(frames.missing), **counts}


def provenance(frames: Frames) -> dict[str, list[str]]:
    """Return lines by heading; "not recorded" stands for a missing value."""
    stages = frames.stages
    dirty = (" with uncommitted changes " + stages["git_dirty_blake2b"]).fillna("")
    packages = frames.packages.groupby("package")["version"].unique()
    several = {"Store": _counted(stages["store"])} if stages["store"].nunique() > 1 else {}
    return {
        **several,
        "Preset": _counted(stages["preset"]),
        "Git commit": _counted(stages["git_commit"].fillna("not recorded") + dirty),
        "Device": _counted(stages["device"].fillna("not recorded")),
        "Processor": _counted(stages["processor"].fillna("not recorded")),
        "Host": _counted(stages["host"].fillna("not recorded")),
        "Python": _counted(stages["python"].fillna("not recorded")),
        "Packages": [f"{package} {' and '.join(sorted(versions))}" for package, versions in packages.items()],
    }


def made_with(frames: Frames) -> dict[str, Any]:
    """Return a section's ``command`` (empty if unknown), and its recipe's ``fields``, those that differ first."""
    fields = frames.recipes.sort_values("built_in", key=lambda built_in: built_in.isna(), kind="stable")
    rows = [{**row, "differs": isinstance(row["built_in"], str)} for row in fields.to_dict("records")]
    return {"command": next(iter(frames.commands["command"]), ""), "fields": rows}


def data_sets(frames: Frames) -> list[dict[str, str]]:
    """Return what stages read: rows of cells by heading, one per split and content of a data set."""
    rows = frames.data.fillna({"fingerprint_covers": "what its function states", "left_out_files": "not counted"})
    of_images = [*COUNTS, "image_size", "validation_images"]
    content = ["dataset", "fingerprint", "split", *of_images, "fingerprint_covers", "left_out_files"]
    grouped = rows.groupby(content, dropna=False, sort=False)["prepared"].agg(["min", "size"]).reset_index()
    return [
        {
            "data set": row["dataset"],
            "split": row["split"],
            "images": f"{row['images']:,}{_size(row)}{_validation(row)}",
            "images per class": _per_class(row),
            "files left out": row["left_out_files"] or "none",
            "fingerprint covers": row["fingerprint_covers"],
            "prepared, UTC": "" if pd.isna(row["min"]) else row["min"].strftime("%Y-%m-%d %H:%M"),
            "stages": f"{row['size']:,}",
        }
        for row in grouped.sort_values(["dataset", "min"], kind="stable").to_dict("records")
    ]


def _size(row: Mapping[Any, Any]) -> str:
    """State the images' size if a recipe changed it."""
    return "" if pd.isna(row["image_size"]) else f" of {row['image_size']}x{row['image_size']} pixels"


def _validation(row: Mapping[Any, Any]) -> str:
    held_out = row["split"] == "train" and row["validation_images"] > 0
    return f" ({row['validation_images']:,} held out)" if held_out else ""


def _per_class(row: Mapping[Any, Any]) -> str:
    fewest, most = row["fewest_per_class"], row["most_per_class"]
    return f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"


def different_data(data: pd.DataFrame) -> str:
    """State that stages read data sets of different counts; empty if all that is recorded is equal.

    Args:
        data: the frame ``data`` of a section.
    """
    parts = []
    for split, rows in data.groupby("split", sort=False):
        counted = rows.groupby(list(COUNTS), sort=False).size().reset_index(name="stages").to_dict("records")
        if len(counted) > 1:
            each = (f"{r['images']:,}, {_per_class(r)} per class ({count(r['stages'], 'stage')})" for r in counted)
            parts.append(f"{split} images: {'; '.join(each)}")
    return f"These stages did not read the same data. {'. '.join(parts)}." if parts else ""


def different_devices(stages: pd.DataFrame) -> str:
    """State that stages were computed on different devices or processors; empty if all that is recorded is equal."""
    cpu = stages["device"].fillna("").str.startswith("cpu")
    kinds = stages["processor"].where(cpu, stages["device"]).dropna().value_counts()
    if len(kinds) < 2:
        return ""
    counted = ", ".join(f"{kind} ({count(int(n), 'stage')})" for kind, n in kinds.items())
    return f"Different devices computed these stages: {counted}. The last digits of a result differ between devices."


def _counted(values: pd.Series) -> list[str]:
    return [f"{value} ({count(int(n), 'stage')})" for value, n in values.value_counts().items()]
