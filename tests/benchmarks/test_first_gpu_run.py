"""The script of a first run on a GPU is true to the code: its commands, its limits, and what must be carried."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_facts
from benchmarks.finished_store import write_finished
from orchestrator.store.record import Record
from tests.docs.calling import call, reads
from tests.docs.commands import END, NEXT, ROOT, STAND_IN, Command
from tests.orchestrator.recipes.small_recipes import plan_of, recipe
from tests.support.command_lines import replacing
from tests.support.images import write_images
from workers.training.capture import CapturedStep

SCRIPT = ROOT / "benchmarks" / "first_gpu_run.sh"
PARTS = ("a", "b", "c")
CPU = torch.device("cpu")


def run_part(folder: Path, *arguments: str) -> tuple[list[Command], str]:
    """Run a part of the script with stand-ins; return the calls of Python, and the text that the part leaves."""
    programs, calls = folder / "programs", folder / "calls"
    programs.mkdir(parents=True)
    for name in ("python3", "nvidia-smi"):
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    folders = {"OUT": folder / "out", "TMPDIR": folder, "CARRIED": folder / "carried", "CALLS": calls}
    done = subprocess.run(
        ["/bin/bash", str(SCRIPT), *arguments],
        cwd=ROOT,
        env={"PATH": f"{programs}:/usr/bin:/bin", **{name: str(path) for name, path in folders.items()}},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == (0 if arguments[0] in (*PARTS, "carry") else 2), done.stderr
    recorded = calls.read_text().split(END)[:-1] if calls.exists() else []
    every = [tuple(call_.split(NEXT)[:-1]) for call_ in recorded]
    left = [path.read_text() for path in (folder / "out").glob("*.txt")]
    return [command[1:] for command in every if command[0] == "python3"], "".join([*left, done.stderr])


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[Command], str]]:
    return {part: run_part(tmp_path_factory.mktemp("run") / part, part) for part in PARTS}


def test_every_command_is_one(parts: dict[str, tuple[list[Command], str]], tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_images(tmp_path / "data" / "cifar10" / f"{split}.parquet", 40)
    places = [
        "--data-root",
        str(tmp_path / "data"),
        "--data-cache",
        str(tmp_path / "cache"),
        "--device",
        "cpu",
        "--plan",
    ]
    for commands, _ in parts.values():
        assert len(commands) >= 3
        for flag, module, *arguments in commands:
            assert flag == "-m"
            if module.startswith("benchmarks."):
                assert reads(module, arguments), (module, arguments)
            elif module == "orchestrator.sweep":
                assert call(module, [str(word) for word in replacing([*arguments], places)]) == 0
            elif module == "pytest":
                assert (ROOT / arguments[-1]).is_file()
            else:
                assert importlib.util.find_spec(module), module


def test_no_part_takes_longer_than_it_says(parts: dict[str, tuple[list[Command], str]]) -> None:
    promised = {
        part: 60 * float(minutes)
        for part, minutes in re.findall(r"first_gpu_run.sh (\w) .*\(at most ([\d.]+) min\)", SCRIPT.read_text())
    }
    assert promised.keys() == set(PARTS)
    for part, (_, left) in parts.items():
        limits = [int(limit) for limit in re.findall(r"^=== .*\(at most (\d+) s, at", left, re.M)]
        assert len(limits) >= 3
        assert sum(limits) <= promised[part] <= 600


def test_what_is_carried_is_data_and_wheels_of_our_versions(tmp_path: Path) -> None:
    (tmp_path / "data" / "cifar10").mkdir(parents=True)
    ((_, pip, *arguments),), _ = run_part(tmp_path / "run", "carry", str(tmp_path / "data"))
    assert (tmp_path / "run" / "carried" / "data" / "cifar10").is_dir()
    assert (pip, arguments[0]) == ("pip", "download")
    constraints = (ROOT / arguments[arguments.index("--constraint") + 1]).read_text()
    packages = arguments[arguments.index("--dest") + 2 :]
    assert packages
    assert all(f"\n{package}==" in constraints for package in packages)
    assert "no part d" in run_part(tmp_path / "wrong", "d")[1]


def test_nothing_that_is_left_behind_is_imported(parts: dict[str, tuple[list[Command], str]]) -> None:
    (needed,) = re.findall(r"except ([\w, ]+)\. Wheels", re.sub(r"\n# *", " ", SCRIPT.read_text()))
    left_behind = set(re.findall(r"\w+", needed)) - {"and"}
    assert left_behind == {"ray", "obstore", "mnist1d"}
    modules = {module for commands, _ in parts.values() for _, module, *_ in commands}
    open_, files = (
        ["tests.workers.devices.test_gpu", *(name for name in modules if (ROOT / name.split(".")[0]).is_dir())],
        set(),
    )
    imported = set[str]()
    while open_:
        name = open_.pop()
        for path in files_of(name):
            if path not in files:
                files.add(path)
                open_ += at_import(path)
        imported.add(name.split(".")[0])
    assert len(files) > 100
    assert imported & left_behind == set()


def files_of(module: str) -> list[Path]:
    """Our files that importing a module runs: its packages' and its own."""
    parts_ = module.split(".")
    above = [ROOT.joinpath(*parts_[: depth + 1]) for depth in range(len(parts_))]
    return [path for base in above for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()]


def at_import(path: Path) -> Iterator[str]:
    """The modules that a file imports when it is imported, and not only in a function."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_fact_is_found_out_on_a_cpu_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's numbers are 0 there, and steps run eagerly; names, arguments and shapes are the GPU's."""
    small = {name: replace(model, options={"width": 4}) for name, model in gpu_facts.ARCHITECTURES.items()}
    monkeypatch.setattr(gpu_facts, "ARCHITECTURES", {"resnet20": small["resnet20"]})
    for name, value in {"BATCH": 4, "TAIL": 3, "STEPS": 1, "WARM_UP_STEPS": 1, "BATCHES": 3}.items():
        monkeypatch.setattr(gpu_facts, name, value)
    monkeypatch.setattr(CapturedStep, "_captured_or_eager", lambda step, *inputs: step._step)
    for name in ("synchronize", "empty_cache", "_sleep"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    for name in ("memory_reserved", "memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda: 0)
    for name, fact in gpu_facts.FACTS.items():
        told = gpu_facts.told(fact, CPU)
        assert ("RAISED" in told) == (name == "failed_capture"), (name, told)
    assert "intact: True" in gpu_facts.decoder_memory(CPU)


def test_a_fact_that_cannot_be_had_says_why_and_facts_need_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(device: torch.device) -> str:
        raise RuntimeError("an illegal address\nand more")

    assert gpu_facts.told(broken, CPU) == "RAISED RuntimeError: an illegal address"
    for arguments, message in ((["--only", "colour"], "no colour here; choose from captured_steps"), ([], "no GPU")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(SystemExit, match="2"):
            gpu_facts.main(arguments)
        assert message in capsys.readouterr().err


def test_results_of_two_stores_are_compared_by_their_bits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(recipe())
    one, other = tmp_path / "one", tmp_path / "other"
    for store in (one, other):
        write_finished(store, plan)
    path = next(other.glob("stages/*/*/record.json"))
    record = Record.model_validate_json(path.read_text())
    name = next(name for name in record.files if not name.startswith("timing"))
    files = {**record.files, name: replace(record.files[name], blake2b="1" * 32)}
    path.write_text(record.model_copy(update={"files": files}).sealed().model_dump_json())
    gpu_facts.main(["--same-bits", str(one), str(other)])
    counts, *differing = capsys.readouterr().out.splitlines()
    same, every = map(int, re.findall(r"\d+", counts))
    assert same == every - 1 > 5
    assert differing == [f"{record.name} {name}"]
    with pytest.raises(SystemExit, match="2"):
        gpu_facts.main(["--same-bits", str(one), str(tmp_path)])
    assert "holds no finished stage" in capsys.readouterr().err
