"""docs/extending-training.md is true: its files make the sweep that it promises, with their own numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

import tickets
from tests.docs.test_commands import NAMED_FILE
from tests.support.registries import registries_kept
from tests.support.sweep_processes import by_name, in_process

pytestmark = pytest.mark.slow(seconds=10)

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "extending-training.md").read_text()
PLUGINS = ("gradual", "powerprop", "psi_anchor", "lion", "quadratic")
PAIR = "mnist1d/resnet1d"


def write_files(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, content in NAMED_FILE.findall(TEXT):
        (folder / name).write_text(content)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("training") / "files")


def words(folder: Path) -> list[object]:
    """The document's command, on the files of a folder."""
    (command,) = re.findall(r"```bash\n(.*?)```", TEXT, re.S)
    given = command.replace("\\\n", " ").split()
    assert given[:3] == ["python", "-m", "orchestrator.sweep"]
    paths = [str(folder / word) if (folder / word).exists() else word for word in given[3:]]
    return [*paths, "--store", folder / "sweeps", "--backend", "inline", "--device", "cpu"]


def test_the_sweep_has_all_five(folder: Path, data_cache: Path) -> None:
    code, output = in_process(*words(folder), "--data-cache", data_cache)
    assert code == 0, output
    records = by_name(folder / "sweeps")
    rounds = {name: records[f"{PAIR}/{name}/chain1/round01"].science["training"] for name in ("lrr", "gradual")}
    assert rounds["lrr"]["rules"]["regulariser"] == {"name": "psi_anchor", "options": {"strength": 0.001}, "version": 1}
    assert rounds["lrr"]["rules"]["mask_rule"] is None
    assert rounds["gradual"]["rules"]["mask_rule"]["options"] == {"density": 0.4}
    assert rounds["lrr"]["optimizer"]["options"] == {"beta2": 0.99}
    final = records[f"{PAIR}/lrr/chain1/round01/signed/seed1"].science["training"]["rules"]
    assert final["warm_up"]["name"] == "quadratic"
    assert final["regulariser"] is None
    densities = {name: records[f"{PAIR}/{name}/chain1/round01"].results["density"] for name in PLUGINS[:2]}
    assert densities["gradual"] == pytest.approx(0.4, abs=0.05)
    assert densities["powerprop"] == pytest.approx(0.8, abs=0.01)
    (ticket,) = (folder / "sweeps" / "stages" / "round").glob("*gradual-chain1-round01*/**/ticket.parquet")
    assert tickets.load(ticket).density == densities["gradual"]
    # round 0 is dense: a mask rule has no part in it, so LRR and the method with the mask rule share it
    assert f"{PAIR}/gradual/chain1/round00" not in records
    assert f"{PAIR}/powerprop/chain1/round00" in records


def test_the_plan_says_which_trainings_have_which_rules(folder: Path, data_cache: Path) -> None:
    code, output = in_process(*words(folder), "--data-cache", data_cache, "--plan")
    assert code == 0, output
    flat = " ".join(output.split())
    for line in (
        "in all trainings: optimizer lion (beta2=0.99).",
        "in the rounds of gradual: regulariser psi_anchor (strength=0.001); mask rule gradual (density=0.4) every 3",
        "in round 0 and the rounds of powerprop: reparametrisation powerprop (exponent=2.0); regulariser psi_anchor",
        "in final trainings: warm-up quadratic (epochs=1.0).",
    ):
        assert f"{PAIR}: {line}" in flat


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("gradual", r"/gradual/chain1/round01"),
        ("powerprop", r"/powerprop/"),
        ("psi_anchor", r"/chain1/"),
        ("lion", ""),
        ("quadratic", r"/seed1$"),
    ],
)
def test_a_new_version_changes_the_keys_of_what_depends_on_it(
    tmp_path: Path, folder: Path, data_cache: Path, file: str, changed: str
) -> None:
    def keys(files: Path) -> dict[str, str]:
        code, output = in_process(*words(files), "--data-cache", data_cache, "--plan", "--json")
        assert code == 0, output
        return {stage["name"]: stage["key"] for stage in json.loads(output)["stages"]}

    before, other = keys(folder), write_files(tmp_path / "other")
    content = (other / f"{file}.py").read_text()
    (other / f"{file}.py").write_text(content.replace("version=1", "version=2"))
    with registries_kept():
        after = keys(other)
    differing = {name for name in before if before[name] != after[name]}
    assert differing == {name for name in before if re.search(changed, name)}
    assert differing


def test_the_documents_lion_is_the_papers(folder: Path) -> None:
    code: dict[str, object] = {}
    exec((folder / "lion.py").read_text().replace('@optimizer("lion", version=1)', ""), code)
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    one = code["Lion"]([weight], {"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.5})  # type: ignore[operator]
    average, expected = torch.zeros(2), weight.detach().clone()
    for gradient in (torch.tensor([0.3, -0.2]), torch.tensor([-0.1, 0.5])):
        weight.grad = gradient
        one.step()
        expected = expected - 0.1 * ((0.9 * average + 0.1 * gradient).sign() + 0.5 * expected)
        average = 0.99 * average + 0.01 * gradient
        torch.testing.assert_close(weight.detach(), expected)
