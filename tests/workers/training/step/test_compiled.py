"""What torch.compile needs of a machine, and where its programs are kept."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest
import torch

from workers.devices import processor
from workers.training import compiled
from workers.training.compiled import CACHE, NoCompilerError, check_compiler, compile_forward, programs_folder

CPU = torch.device("cpu")
PROGRAM = """
import torch
from torch._dynamo.utils import counters
from workers.training.compiled import compile_forward

network = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())
forward = compile_forward(lambda images, alpha: network(images), torch.device("cpu"))
forward(torch.ones(2, 4), torch.zeros(())).sum().backward()
print(counters["inductor"]["fxgraph_cache_miss"], counters["aot_autograd"]["autograd_cache_hit"])
"""


@pytest.mark.parametrize(
    ("device", "variables", "lacks"),
    [
        ("cpu", {}, "the compiler g\\+\\+"),
        ("cpu", {"CXX": "c++-of-mine -m64"}, "the compiler c\\+\\+-of-mine -m64"),
        ("cuda", {}, "the compiler gcc"),
    ],
)
def test_a_machine_without_a_compiler_is_refused_with_the_remedy(
    device: str, variables: dict[str, str], lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"CC": "", "CXX": "", "PATH": "/nowhere", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(NoCompilerError, match=f"torch.compile needs {lacks}, .*--set compile_from_epochs=null"):
        check_compiler(torch.device(device))


def test_a_machine_without_pythons_headers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "g++").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(NoCompilerError, match=r"Python's headers \(.*/Python\.h; .*python3-dev"):
        check_compiler(CPU)
    (tmp_path / "Python.h").touch()
    check_compiler(CPU)


def test_programs_are_kept_in_the_users_cache_unless_the_user_names_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(torch, "compile", lambda forward, **options: forward)
    monkeypatch.setattr(compiled, "check_compiler", lambda device: None)
    monkeypatch.setenv(CACHE, str(tmp_path / "mine"))
    compile_forward(lambda images, alpha: images, CPU)
    assert os.environ[CACHE] == str(tmp_path / "mine")
    for unset in ("", str(Path(tempfile.gettempdir()) / "torchinductor_somebody")):  # the latter by torch itself
        monkeypatch.setenv(CACHE, unset)
        compile_forward(lambda images, alpha: images, CPU)
        assert Path(os.environ[CACHE]).parent == tmp_path / "winning-sign" / "compiled"


def test_machines_that_share_a_home_have_folders_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    here = programs_folder()
    monkeypatch.setattr(compiled, "processor", lambda: "another, AVX2")
    assert programs_folder() != here
    assert programs_folder().parent == here.parent


@pytest.mark.long
def test_an_architecture_is_compiled_once_on_a_machine(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop(CACHE, None)
    done = [
        subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    cold, warm = ([int(word) for word in each.stdout.split()] for each in done)
    assert cold[0] > 0
    assert cold[1] == 0
    assert warm == [0, 1]
    assert any((tmp_path / "winning-sign" / "compiled").glob("*/aotautograd/*"))


def test_bfloat16_is_native_on_cpus_with_instructions_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tests = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    for has in ((True, True), (True, False), (False, True), (False, False)):
        for name, answer in zip(tests, has, strict=True):
            monkeypatch.setattr(torch.cpu, name, lambda answer=answer: answer)
        assert processor.native_bfloat16(CPU) is any(has)
    for name in tests:
        monkeypatch.delattr(torch.cpu, name)
    assert not processor.native_bfloat16(CPU)
