"""The Dockerfile's steps are carried out in a folder; the demo runs there without root, a home or a right to write."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.dockerfile import STRANGER, Context, Image, Step, as_a_stranger, build, stages, steps
from tests.docs.calling import reads
from tests.docs.commands import DOCUMENTS, blocks, commands
from tests.docs.programs import SUB_COMMANDS
from tests.support.command_lines import replacing

pytestmark = [pytest.mark.ray, pytest.mark.slow(seconds=25)]

ROOT = Path(__file__).parents[2]
DOCKERFILES = (ROOT / "Dockerfile", ROOT / "docs" / "clusters" / "Dockerfile")
PACKAGES = ("winning_sign", "orchestrator", "workers", "tickets", "analysis")
CODE = ("winning_sign.py", *PACKAGES[1:])
DEVELOPMENT = ROOT / ".devcontainer" / "devcontainer.json"
PYTHON3 = """#!/bin/bash
create='import sys; from pathlib import Path; from tests.support.environments import create; create(Path(sys.argv[1]))'
if [ "$1 $2" = "-m venv" ]; then exec env PYTHONPATH={root} {python} -c "$create" "$PWD/$3"; fi
exec {python} "$@"
"""
WRITES_DOWN = '#!/bin/bash\necho "${{0##*/}} $*" >> {log}\n'
TINY = (
    *("--seeds", "1", "--rounds", "1", "--chains", "1", "--methods", "aws", "--transfers", "signed"),
    *("--set", "batch_size=512", "--set", "pretrain_epochs=1", "--set", "round_epochs=1", "--set", "final_epochs=1"),
    *("--set", "final_schedule.name=constant", "--set", "probe_points=3", "--set", "bn_images=256"),
)


def stand_in(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def empty_image(folder: Path) -> Image:
    """Nothing but the programs of a base image: Python, and apt-get and useradd that are only written down."""
    (folder / "bin").mkdir()
    (folder / "root").mkdir()
    python = shlex.quote(sys.executable)
    stand_in(folder / "bin", "python3", PYTHON3.format(root=shlex.quote(str(ROOT)), python=python))
    for name in ("apt-get", "useradd"):
        stand_in(folder / "bin", name, WRITES_DOWN.format(log=shlex.quote(str(folder / "asked.txt"))))
    return Image(folder / "root", folder / "bin")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("image")
    made = empty_image(folder)
    build(stages(ROOT / "Dockerfile")[""], Context(ROOT), made)
    assert not (folder / "asked.txt").exists()  # this base has Python
    made.close(writable=["/runs"])
    return made


def test_the_demo_runs_as_a_user_without_root_without_a_home_in_an_image_that_cannot_be_written(image: Image) -> None:
    assert image.user.split(":")[0].isdecimal()
    assert image.user.split(":")[0] != "0"
    demo = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "orchestrator.sweep" in line)
    assert image.command == ["sweep", *demo.split("orchestrator.sweep ")[1].split()]

    who = image.run(prefix=["python", "-c", "import os; print(os.getuid(), os.environ.get('HOME'))"])
    assert who.stdout.split()[1] == "None", who.stderr
    assert not as_a_stranger() or who.stdout.split()[0] == str(STRANGER)
    assert image.run(prefix=["touch", "../opt/written"]).returncode != 0

    done = image.run(*map(str, replacing(image.command, TINY)), OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    runs = Path(image.inside("/runs"))
    assert sorted(path.name for path in runs.iterdir()) == [".cache", "sweeps"]
    assert (runs / "sweeps" / "report.html").stat().st_size > 100_000
    assert any((runs / ".cache" / "winning-sign").iterdir())


def test_the_image_holds_the_project_and_what_a_study_imports(image: Image) -> None:
    where = f"from importlib.util import find_spec; print(*(find_spec(name).origin for name in {PACKAGES}))"
    done = image.run(prefix=["python", "-P", "-c", where])
    installed = image.inside("/opt/winning-sign/venv/")
    assert [path.startswith(installed) for path in done.stdout.split()] == [True] * len(PACKAGES), done.stderr
    asked = Path(image.inside("/opt/winning-sign/venv/pip.txt")).read_text().splitlines()
    assert [line.split()[-1] for line in asked] == ["torchvision", "./source"]  # without extras
    assert all("--constraint constraints.txt" in line and "--no-cache-dir" in line for line in asked)


def test_an_index_without_cuda_is_asked_for_torch_alone_beside_the_usual_one(tmp_path: Path) -> None:
    made = empty_image(tmp_path)
    (torch,) = [step for step in steps(ROOT / "Dockerfile") if step[0] == "RUN" and "torchvision" in step[1]]
    stand_in(tmp_path / "bin", "pip", WRITES_DOWN.format(log=tmp_path / "asked.txt"))
    build([("ARG", 'TORCH_INDEX=""'), torch], Context(ROOT), made, {"TORCH_INDEX": "file:///wheels"})
    assert " --extra-index-url file:///wheels torch torchvision" in (tmp_path / "asked.txt").read_text()
    assert "TORCH_INDEX" not in str([step for step in stages(ROOT / "Dockerfile")[""] if "./source" in step[1]])


def test_python_is_installed_where_the_base_has_none(tmp_path: Path) -> None:
    made = empty_image(tmp_path)
    stand_in(tmp_path / "bin", "python3", "#!/bin/sh\nexit 127\n")
    build(stages(ROOT / "Dockerfile")["system"], Context(ROOT), made, {"PACKAGES": "g++ python3-dev"})
    update, install = (tmp_path / "asked.txt").read_text().splitlines()
    assert update == "apt-get update"
    assert install.endswith(" g++ python3-dev python3 python3-venv")


def test_a_base_is_an_argument_and_the_labels_are_those_of_the_package(image: Image) -> None:
    before_the_first_stage = stages(ROOT / "Dockerfile")["system"][:2]
    assert before_the_first_stage == [("ARG", "BASE=python:3.12-slim"), ("FROM", "${BASE} AS system")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {name.rpartition(".")[2]: value for name, value in image.labels.items()}
    assert (named["title"], named["version"], named["licenses"]) == tuple(
        project[name] for name in ("name", "version", "license")
    )
    assert named["source"] == project["urls"]["Source"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_the_context_holds_what_a_dockerfile_copies_and_nothing_else(dockerfile: Path) -> None:
    context = Context(ROOT)
    sources = [source for source in copied(steps(dockerfile)) if context.files(source)]
    assert sources == copied(steps(dockerfile))
    tracked = subprocess.run(["git", "ls-files", *CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [name for name in tracked.stdout.split() if not context.sends(name)] == []
    stays = (".git/config", ".venv/pyvenv.cfg", "sweeps/index.jsonl", "tests/conftest.py", "docs/index.md", "a.pem")
    assert [name for name in (*stays, "workers/data/__pycache__/cifar.cpython-312.pyc") if context.sends(name)] == []


def copied(steps: list[Step]) -> list[str]:
    words = [word for keyword, rest in steps if keyword == "COPY" for word in rest.split()[:-1]]
    return [word for word in words if not word.startswith("--")]


def test_a_step_that_would_touch_this_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="not the image's own"):
        build([("RUN", "touch /etc/passwd")], Context(ROOT), empty_image(tmp_path))


def documented(folder: Path) -> Iterator[list[str]]:
    for document in (document for document in DOCUMENTS if "docker " in document.read_text()):
        name = document.relative_to(ROOT).as_posix().replace("/", "-")
        for command in commands(blocks(document), folder / name, ["docker", "winning-sign", "python", "git", "make"]):
            if command[0] == "docker":
                yield list(command[1:])


def test_the_docs_commands_build_this_image_and_run_what_it_has(tmp_path: Path) -> None:
    arguments = {rest.partition("=")[0] for keyword, rest in steps(ROOT / "Dockerfile") if keyword == "ARG"}
    asked = [words for words in documented(tmp_path) if "docs/clusters/Dockerfile" not in words]
    builds = [words for words in asked if words[0] == "build"]
    runs = [words for words in asked if words[0] == "run"]
    assert len(builds) >= 2
    assert len(runs) >= 3
    for words in builds:
        given = {words[place + 1].partition("=")[0] for place, word in enumerate(words) if word == "--build-arg"}
        assert given <= arguments, words
        assert words[-1] == "."
    tags = {words[words.index("--tag") + 1] for words in builds}
    for words in runs:
        (place,) = [place for place, word in enumerate(words) if word in tags]
        assert any(word.endswith("runs:/runs") for word in words[:place]), words
        if inside := words[place + 1 :]:
            assert reads(SUB_COMMANDS[inside[0]], inside[1:]), words


def test_the_container_for_development_is_a_stage_and_its_command_a_target_of_make(tmp_path: Path) -> None:
    text = DEVELOPMENT.read_text()
    settings = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))
    told = settings["build"]
    assert (DEVELOPMENT.parent / told["context"]).resolve() == ROOT
    assert (DEVELOPMENT.parent / told["dockerfile"]).resolve() == ROOT / "Dockerfile"
    made = empty_image(tmp_path)
    build(stages(ROOT / "Dockerfile")[told["target"]], Context(ROOT), made, told["args"])
    assert made.user not in ("root", "0")
    asked = (tmp_path / "asked.txt").read_text()
    assert all(name in asked for name in ("chromium", "g++", "git", "make"))
    assert f"useradd --create-home --shell /bin/bash {made.user}" in asked
    program, *targets = settings["postCreateCommand"].split()
    assert program == "make"
    planned = subprocess.run(["make", "--dry-run", "-B", *targets], cwd=ROOT, capture_output=True, text=True)
    assert "--editable '.[test]'" in planned.stdout, planned.stderr
