"""A store as a Workflow Run RO-Crate: what its profiles require, what it publishes, and that it is whole or absent."""

from __future__ import annotations

import json
import os
import shlex
import tomllib
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import yaml
from rocrate.rocrate import ROCrate
from typer.testing import CliRunner

from analysis import load, report
from analysis.page.publishing.crate import metadata
from analysis.page.publishing.crate.contents import recipe_file
from analysis.page.publishing.crate.public import public, without_folders_in_words
from analysis.page.results import citation
from orchestrator.recipes.resolution import resolve
from orchestrator.recipes.resolved import as_fields, differences, flat_fields
from orchestrator.store import Store
from orchestrator.store.plans import PlannedRecipe, StoredPlan
from tickets.files import digest
from tickets.files.home import without_folders

if TYPE_CHECKING:
    from tests.analysis.conftest import SyntheticStore

ROOT = Path(__file__).parents[3]
ORCID = "https://orcid.org/0000-0002-1825-0097"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.6",
    "https://w3id.org/ro/wfrun/workflow/0.6",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.1",
}

pytestmark = pytest.mark.usefixtures("one_figure")


def written(store: Path, folder: Path, *more: str) -> dict[str, Any]:
    """Write a crate; return its entities by identifier."""
    done = CliRunner().invoke(report.app, [str(store), "--crate", str(folder), *more])
    assert (done.exit_code, done.stdout.split()) == (0, [str(folder)]), done.output
    document = json.loads((folder / "ro-crate-metadata.json").read_text())
    assert document["@context"][0] == "https://w3id.org/ro/crate/1.3/context"
    entities = {entity["@id"]: entity for entity in document["@graph"]}
    assert len(entities) == len(document["@graph"])
    return entities


def ids(value: Any) -> list[str]:
    """The identifiers that a property refers to."""
    values = value if isinstance(value, list) else [value]
    return [each["@id"] for each in values if isinstance(each, dict)]


def refused(store: Path, folder: Path, *more: str) -> str:
    """A refusal's sentence."""
    done = CliRunner().invoke(report.app, [str(store), "--crate", str(folder), *more])
    assert (done.exit_code, done.stdout) == (2, "")
    assert not folder.exists()
    return done.stderr


def test_it_has_what_the_profiles_require(sweep: SyntheticStore, tmp_path: Path) -> None:
    entities = written(sweep.root, tmp_path / "crate", "--author", f"Ada Lovelace, {ORCID}", "--license", "CC-BY-4.0")
    root, descriptor = entities["./"], entities["ro-crate-metadata.json"]
    # RO-Crate 1.3, root data entity
    assert (ids(descriptor["about"]), ids(descriptor["conformsTo"])) == (["./"], ["https://w3id.org/ro/crate/1.3"])
    assert all(root[field] for field in ("name", "description", "datePublished"))
    assert ids(root["license"]) == ["https://spdx.org/licenses/CC-BY-4.0"]
    assert {*ids(root["conformsTo"])} == PROFILES
    assert all("CreativeWork" in entities[profile]["@type"] for profile in PROFILES)
    # Workflow RO-Crate 1.1: the main workflow
    [main] = ids(root["mainEntity"])
    workflow = entities[main]
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow"} <= set(workflow["@type"])
    [language] = ids(workflow["programmingLanguage"])
    assert (entities[language]["@type"], entities[language]["version"]) == ("ComputerLanguage", "3.11")
    # Process and Workflow Run Crate 0.6: the action
    [action] = ids(root["mentions"])
    run = entities[action]
    assert (run["@type"], ids(run["instrument"])) == ("CreateAction", [main])
    assert (ids(run["agent"]), entities[ORCID]["name"]) == ([ORCID], "Ada Lovelace")
    assert pd.Timestamp(run["startTime"]) < pd.Timestamp(run["endTime"])
    assert {"report.html", "tables/results.json", "tables/stages.parquet"} <= {*ids(run["result"])}
    [software] = ids(workflow["isPartOf"])
    assert "abc123" in entities[software]["description"]
    assert entities[software]["softwareRequirements"] == "torch 2.11"
    for entity in entities.values():
        for value in entity.values():
            assert {*ids(value)} - entities.keys() - {"https://w3id.org/ro/crate/1.3"} == set()


def test_every_file_is_described_with_its_digest_and_rocrate_reads_it_back(
    sweep: SyntheticStore, tmp_path: Path
) -> None:
    folder = tmp_path / "crate"
    entities = written(sweep.root, folder)
    parts = {*ids(entities["./"]["hasPart"])}
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert parts == files - {"ro-crate-metadata.json"}
    for path in parts:
        assert entities[path]["sha256"] == digest.sha256_of_file(folder / path)
        assert entities[path]["contentSize"] == str((folder / path).stat().st_size)
        assert entities[path]["description"]
        assert entities[path]["encodingFormat"]
    number = len(Store(sweep.root).records())
    assert len(pd.read_parquet(folder / "tables" / "stages.parquet")) == number
    assert json.loads((folder / "environment.json").read_text())["packages"] == [
        {"package": "torch", "version": "2.11", "stages": number}
    ]
    assert (folder / "workflow" / "algorithm.py").read_text() == (
        ROOT / "orchestrator" / "planning" / "algorithm.py"
    ).read_text()
    crate = ROCrate(folder)
    assert crate.mainEntity.id == "workflow/algorithm.py"
    assert [action.id for action in crate.get_by_type("CreateAction")] == ["#sweeps"]
    assert crate.license == metadata.NO_LICENCE
    assert not (sweep.root / "report.html").exists()
    mode = folder.stat().st_mode & 0o777
    (tmp_path / "other").mkdir()
    assert mode == (tmp_path / "other").stat().st_mode & 0o777  # others may read it as any folder


def test_a_data_set_is_an_input_by_its_fingerprint(store: SyntheticStore, tmp_path: Path) -> None:
    held = {"splits": {"train": {"images": 200, "classes": 3}}, "fingerprint_covers": "every byte"}
    science = {"setting": {"data": {"name": "digits", "fingerprint": "f1-4000"}}}
    store.stage("train", {"transfer": "dense", "seed": 1}, {}, science=science, provenance={"data": held})
    entities = written(store.root, tmp_path / "crate")
    [data] = [entities[name] for name in ids(entities["#sweeps"]["object"])]
    assert (data["name"], data["identifier"]) == ("Data set digits", "f1-4000")
    assert "train: 200 images" in data["description"]
    assert "every byte" in data["description"]


def test_missing_stages_are_no_completed_run(sweep: SyntheticStore, tmp_path: Path) -> None:
    assert written(sweep.root, tmp_path / "whole")["#sweeps"]["actionStatus"].endswith("/CompletedActionStatus")
    sweep.plan(("digits/first", "a" * 32))
    run = written(sweep.root, tmp_path / "part")["#sweeps"]
    assert run["actionStatus"].endswith("/FailedActionStatus")
    assert run["error"] == "1 planned stages are not done."


def test_a_reruns_badge_is_in_it(sweep: SyntheticStore, tmp_path: Path) -> None:
    (sweep.root / "rerun.json").write_text('{"outcome": "same bits"}')
    (sweep.root / "same-bits.svg").write_text("<svg/>")
    entities = written(sweep.root, tmp_path / "crate")
    for name in ("rerun.json", "same-bits.svg"):
        assert (tmp_path / "crate" / name).read_bytes() == (sweep.root / name).read_bytes()
        assert ids(entities[name]["about"]) == ["#sweeps"]


def test_no_host_and_no_folder_outside_of_the_store_is_published(store: SyntheticStore, tmp_path: Path) -> None:
    facts = {"git_commit": "abc", "device": "cpu", "host": "zoltans-laptop", "packages": {"torch": "2.11"}}
    key = store.stage("train", {"transfer": "dense", "seed": 1}, {"test_accuracy_percent": 1.0}, provenance=facts)
    store.failure("digits/second", "b" * 32, "no such file: /home/zoltan/data/train.bin")
    store.event("draining", key, 1.0, machine="zoltans-laptop")
    store.event("failed", "b" * 32, 2.0, error="in '/home/zoltan/plugin.py'")
    store.plan(("digits/second", "b" * 32))
    [path] = (store.root / "plans").iterdir()
    argv = ["winning-sign-sweep", "--data-root", "/home/zoltan/my data/images", "--store", "s3://bucket/sweeps"]
    plan = StoredPlan.model_validate_json(path.read_text()).model_copy(update={"argv": argv})
    path.write_text(plan.model_dump_json())
    folder = tmp_path / "crate"
    run = written(store.root, folder)["#sweeps"]
    assert "--data-root '…/images' --store s3://bucket/sweeps" in run["description"]
    for path in folder.rglob("*"):
        if path.is_file():
            text = pd.read_parquet(path).to_csv() if path.suffix == ".parquet" else path.read_text()
            assert "zoltan" not in text, path
            assert str(tmp_path) not in text, path
    assert pd.read_csv(folder / "tables" / "stages.csv")["host"].tolist() == ["machine 1"]


def test_a_stores_bucket_is_its_own_place(store: SyntheticStore) -> None:
    store.stage("train", {"transfer": "dense", "seed": 1}, {})
    written = pd.DataFrame({"command": ["winning-sign sweep --store 's3://lab/sweeps?…' --tickets s3://other/sweeps"]})
    frames = replace(load(store.root), stores=("s3://lab/sweeps",), commands=written)
    [command] = public(frames, "sweeps").commands["command"]
    assert command == "winning-sign sweep --store 'sweeps?…' --tickets s3://other/sweeps"


def test_paths_lose_their_folders_and_urls_stay() -> None:
    assert without_folders("open('/home/a/b.py'): /x/y/z and ./c/d") == "open('…/b.py'): …/z and ./c/d"
    assert without_folders("see https://host/a/b") == "see https://host/a/b"
    assert without_folders("zoo:/home/ada/zoo, file:///home/ada/x") == "zoo:…/zoo, file://…/x"
    assert without_folders("no '/home/ada/my data/x.bin'") == "no '…/x.bin'"
    assert without_folders("in /home/ada and '/Users/ada', 3 /s") == "in … and '…', 3 /s"
    command = "winning-sign sweep --recipe=/home/a/r.yaml '/home/a b/c' tickets/x n=/q/r/s"
    assert without_folders_in_words(command) == ("winning-sign sweep '--recipe=…/r.yaml' '…/c' tickets/x 'n=…/s'")
    command = "winning-sign sweep --data-root /home/ada --tickets zoo:/home/ada/zoo --store file:///home/ada/s s3://b/c"
    cut = "winning-sign sweep --data-root … --tickets zoo:…/zoo --store file://…/s s3://b/c"
    assert shlex.split(without_folders_in_words(command)) == cut.split()


def test_a_recipe_is_the_file_that_a_sweep_takes_back() -> None:
    recipe = resolve("mnist1d", "resnet1d", "sound")
    named = {"dataset": "mnist1d", "architecture": "resnet1d", "preset": "sound"}
    planned = PlannedRecipe(**named, fields=flat_fields(recipe), builtin=differences(recipe))
    name, text = recipe_file(planned)
    assert name == "mnist1d-resnet1d-sound.yaml"
    assert yaml.safe_load(text) == as_fields(recipe)


@pytest.mark.parametrize("existing", ["folder", "file"])
def test_what_exists_is_refused_and_stays(sweep: SyntheticStore, tmp_path: Path, existing: str) -> None:
    place = tmp_path / "crate"
    if existing == "folder":
        place.mkdir()
    else:
        place.write_text("mine")
    done = CliRunner().invoke(report.app, [str(sweep.root), "--crate", str(place)])
    assert (done.exit_code, done.stderr) == (2, f"Error: --crate {place} exists; give a new folder\n")
    assert place.is_dir() if existing == "folder" else place.read_text() == "mine"


def test_a_full_disk_leaves_no_crate(sweep: SyntheticStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    before = {*tmp_path.iterdir()}
    monkeypatch.setattr(ROCrate, "write", full)
    done = CliRunner().invoke(report.app, [str(sweep.root), "--crate", str(tmp_path / "crate")])
    assert done.exit_code == 1
    assert {path for path in tmp_path.iterdir() if path.name != "user-cache"} == before - {tmp_path / "user-cache"}


def test_bad_options_are_refused(sweep: SyntheticStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "crate"
    wrong = f"Ada, {ORCID[:-1]}8"  # a digit that does not check
    assert f"--author '{wrong}': give NAME" in refused(sweep.root, place, "--author", wrong)
    assert "--author ' ': give NAME" in refused(sweep.root, place, "--author", " ")
    assert "--license 'my own': give an identifier of SPDX" in refused(sweep.root, place, "--license", "my own")
    assert "--crate is of one store alone" in refused(sweep.root, place, "--compare")
    other = tmp_path / "other"
    other.mkdir()
    (other / "stages").mkdir()
    assert "--crate takes one store" in refused(sweep.root, place, str(other))
    assert "no stage is done in this folder" in refused(other, place)
    monkeypatch.setattr(report, "find_spec", lambda name: None if name == "rocrate" else find_spec(name))
    assert "pip install 'winning-sign[crate]'" in refused(sweep.root, place)


def test_the_citation_file_is_in_step_with_the_project(sweep: SyntheticStore) -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["cff-version"], cited["type"]) == ("1.2.0", "software")
    assert (str(cited["version"]), cited["license"]) == (project["version"], project["license"])
    assert cited["repository-code"] == project["urls"]["Source"] == metadata.SOFTWARE
    assert {"message", "title", "authors"} <= cited.keys()
    [paper] = cited["references"]
    bibtex = citation(load(sweep.root))
    assert paper["title"] in bibtex
    names = [f"{author['family-names']}, {author['given-names']}" for author in paper["authors"]]
    assert " and ".join(names) in bibtex
    assert paper["url"] == metadata.PAPER
    assert cited["title"] in bibtex
    assert f"{{{{{cited['authors'][0]['name']}}}}}" in bibtex
