"""The metadata of a crate: a Workflow Run Crate 0.6 on RO-Crate 1.3 (https://w3id.org/ro/wfrun/workflow/0.6).

One action stands for all sweeps of the store. An action per stage would be a Provenance Run Crate; of 100,000 stages,
its metadata is a JSON file of 100 MB that no viewer opens. The stages lie in ``tables/stages.parquet`` instead, a row
each, with key, inputs, seconds, machine and commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rocrate.model import ComputerLanguage, ContextEntity
from rocrate.rocrate import ROCrate

from analysis.frames.load import Frames
from analysis.frames.sections import SETTING
from analysis.page.publishing.crate.contents import ENVIRONMENT, README, RECIPES, REPORT, TABLES, WORKFLOW
from analysis.page.publishing.crate.people import Author
from orchestrator.store.layout import BADGE, RERUN
from tickets.files import digest

SOFTWARE = "https://github.com/winning-sign/winning-sign"
PAPER = "https://arxiv.org/abs/2504.05357"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.6": ("Process Run Crate", "0.6"),
    "https://w3id.org/ro/wfrun/workflow/0.6": ("Workflow Run Crate", "0.6"),
}
"""With Workflow RO-Crate 1.1, which the library adds."""
TERMS = "https://w3id.org/ro/terms/workflow-run/context"
NO_LICENCE = "Nobody has stated a licence for these results. The workflow is licensed under Apache-2.0."
FORMATS = {
    ".bib": "application/x-bibtex",
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".py": "text/x-python",
    ".svg": "image/svg+xml",
    ".tex": "application/x-tex",
    ".yaml": "application/yaml",
}
DESCRIPTIONS = {
    README: "What the files of this folder are.",
    REPORT: "The report: results with intervals, comparisons, and what was checked. Works offline.",
    ENVIRONMENT: "Machines, versions and commits that computed the stages, with numbers of stages.",
    RERUN: "What `winning-sign verify --rerun` found: stages that were run again, and whether their bits are the same.",
    BADGE: "Badge: stages that were run again had the same bits.",
    f"{TABLES}/stages.parquet": "Every stage of the sweeps: key, inputs, results, seconds, machine, commit.",
    f"{TABLES}/results.json": "All that the report states, for programs; results.schema.json describes the fields.",
    f"{TABLES}/citation.bib": "What to cite.",
}
OTHERS = {TABLES: "The table `{}` of the report's data.", RECIPES: "Every field of the recipe of {}."}
"""Descriptions of all other files, by their folder."""


def write_metadata(frames: Frames, folder: Path, name: str, authors: Sequence[Author], licence: str | None) -> None:
    """Describe all files of a folder in its ``ro-crate-metadata.json``.

    Args:
        frames: as they may be published.
        name: of the store.
        licence: of the results, as a URL; None if nobody has stated one.

    Raises:
        OSError: the folder cannot be written.
    """
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    crate = ROCrate()
    crate.metadata.extra_contexts.append(TERMS)
    parts = frames.stages[[*SETTING]].drop_duplicates().itertuples(index=False, name=None)
    about = ", ".join(f"{dataset}/{architecture} ({preset})" for dataset, architecture, preset in parts)
    people = [_person(crate, number, author) for number, author in enumerate(authors, start=1)]
    workflow = _workflow(crate, folder, frames)
    files = {path: _file(crate, folder, path) for path in paths if path != WORKFLOW}
    inputs = [file for path, file in files.items() if path.startswith(f"{RECIPES}/")] + _data_sets(crate, frames)
    results = [file for path, file in files.items() if path == REPORT or path.startswith(f"{TABLES}/")]
    action = {**_run(frames), "instrument": workflow, "object": inputs, "result": results, "agent": people}
    sweeps = _entity(crate, "#sweeps", "CreateAction", action)
    for path in (ENVIRONMENT, RERUN, BADGE):
        if path in files:
            files[path]["about"] = sweeps
    files[README]["about"] = crate.root_dataset
    of_root = {
        "name": f"Lottery-ticket study {name}: {about}",
        "description": f"{len(frames.stages):,} stages of sweeps of Winning Sign, with their report and tables.",
        "license": NO_LICENCE if licence is None else _licence(crate, licence),
        "citation": _entity(crate, PAPER, "ScholarlyArticle", {"name": "Find A Winning Sign", "url": PAPER}),
        "author": people,
        "mentions": [sweeps],
    }
    for field, value in of_root.items():
        if value:
            crate.root_dataset[field] = _single(value)
    for url, (title, version) in PROFILES.items():
        facts = {"name": title, "version": version}
        crate.root_dataset.append_to("conformsTo", _entity(crate, url, ["CreativeWork", "Profile"], facts))
    crate.write(folder)


def _workflow(crate: ROCrate, folder: Path, frames: Frames) -> Any:
    """Add the main entity: the function that plans every sweep, as a part of this software."""
    versions = _distinct(frames.packages.loc[frames.packages["package"] == "winning-sign", "version"])
    commits = _distinct(frames.stages["git_commit"])
    changed = "; some with uncommitted changes" if frames.stages["git_dirty_blake2b"].notna().any() else ""
    packages = frames.packages[["package", "version"]].drop_duplicates().sort_values(["package", "version"])
    licence = _licence(crate, "https://spdx.org/licenses/Apache-2.0")
    software = {
        "name": "Winning Sign",
        "description": f"Commits that computed the stages: {', '.join(commits) or 'not recorded'}{changed}.",
        "url": SOFTWARE,
        "version": ", ".join(versions) or "not recorded",
        "license": licence,
        "softwareRequirements": [
            f"{package} {version}" for package, version in packages.itertuples(index=False) if package != "winning-sign"
        ],
    }
    facts = {
        "name": "Plan of a sweep",
        "description": "Plans every sweep: pretrain; in each round prune, rewind and train; then train every start, "
        "and probe pairs of solutions. This copy is of the version that wrote the crate; the recipes and the software "
        "say what computed the stages.",
        "encodingFormat": FORMATS[".py"],
        "url": SOFTWARE,
        "version": ", ".join(versions) or "not recorded",
        "license": licence,
        "isPartOf": _entity(crate, SOFTWARE, "SoftwareApplication", software),
        **_size(folder / WORKFLOW),
    }
    python = {
        "name": "Python",
        "url": "https://www.python.org/",
        "version": ", ".join(_distinct(frames.stages["python"])) or "not recorded",
    }
    language = crate.add(ComputerLanguage(crate, "#python", python))
    return crate.add_workflow(folder / WORKFLOW, WORKFLOW, main=True, lang=language, properties=facts)


def _run(frames: Frames) -> dict[str, Any]:
    """What is known of the sweeps' execution: times in UTC, commands, machines, and whether all planned is done."""
    stages = frames.stages
    begun = stages["finished"] - pd.to_timedelta(stages["seconds"].fillna(0.0), unit="s")
    commands = _distinct(frames.commands["command"])
    on = _distinct(stages["processor"].fillna(stages["device"])) + _distinct(
        stages.loc[~stages["device"].fillna("cpu").str.startswith("cpu"), "device"]
    )
    hours = (stages["seconds"] * stages["ranks"].fillna(1)).sum() / 3600
    run = {
        "name": "Sweeps of this study",
        "description": f"{'; '.join(commands) or 'The commands were not recorded'}. Computed on "
        f"{' and '.join(on) or 'machines that were not recorded'}, in {hours:.3g} device-hours.",
        "startTime": _time(begun.min()),
        "endTime": _time(stages["finished"].max()),
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }
    if len(frames.missing):
        run["actionStatus"] = "http://schema.org/FailedActionStatus"
        run["error"] = f"{len(frames.missing):,} planned stages are not done."
    return run


def _data_sets(crate: ROCrate, frames: Frames) -> list[Any]:
    """Add each data set that stages read, by its name and fingerprint; the images are not in the crate."""
    known = frames.data[["dataset", "fingerprint"]].drop_duplicates().sort_values(["dataset", "fingerprint"])
    added = []
    for number, (dataset, fingerprint) in enumerate(known.itertuples(index=False, name=None), start=1):
        rows = frames.data[(frames.data["dataset"] == dataset) & (frames.data["fingerprint"] == fingerprint)]
        splits = rows.groupby("split", sort=True)["images"].max()
        covers = _distinct(rows["fingerprint_covers"]) or ["what the data set's function states"]
        facts = {
            "name": f"Data set {dataset}",
            "identifier": fingerprint,
            "description": f"{', '.join(f'{split}: {images:,} images' for split, images in splits.items())}. The "
            f"identifier is the fingerprint, which covers {', '.join(covers)}.",
        }
        added.append(_entity(crate, f"#data-{number}", "CreativeWork", facts))
    return added


def _file(crate: ROCrate, folder: Path, path: str) -> Any:
    place = Path(path)
    facts = {
        "name": place.name,
        "description": DESCRIPTIONS.get(path) or OTHERS[place.parent.name].format(place.stem),
        "encodingFormat": FORMATS[place.suffix],
        **_size(folder / path),
    }
    return crate.add_file(folder / path, path, properties=facts)


def _size(path: Path) -> dict[str, str]:
    return {"contentSize": str(path.stat().st_size), "sha256": digest.sha256_of_file(path)}


def _person(crate: ROCrate, number: int, author: Author) -> Any:
    return _entity(crate, author.orcid or f"#author-{number}", "Person", {"name": author.name})


def _licence(crate: ROCrate, url: str) -> Any:
    name = url.removeprefix("https://spdx.org/licenses/")
    return _entity(crate, url, "CreativeWork", {"name": name, "description": f"See {url}", "url": url})


def _entity(crate: ROCrate, identifier: str, kind: str | list[str], facts: dict[str, Any]) -> Any:
    given = {name: _single(value) for name, value in facts.items() if value}
    return crate.add(ContextEntity(crate, identifier, {"@type": kind, **given}))


def _single(value: Any) -> Any:
    """A list's only item, which readers of JSON-LD take for the same."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _time(when: Any) -> str:
    return "" if pd.isna(when) else when.floor("s").isoformat()


def _distinct(values: pd.Series) -> list[str]:
    return sorted({str(value) for value in values.dropna()})
