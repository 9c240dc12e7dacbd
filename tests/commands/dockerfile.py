"""Carry out a Dockerfile's steps in a folder: no engine, no root and no base image is needed.

The folder stands for ``/``. Absolute paths that the steps name are led into it, and a path outside of ``OWN`` is
refused, so that no step touches this machine. `RUN` has this machine's programs, behind those of a folder of stand-ins.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

OWN = ("opt", "runs", "var")
PROGRAMS = ("bin",)  # of this machine
ABSOLUTE = re.compile(r"(?<![\w./$}-])/(?!/)(\w+)")
STRANGER = 54321
# A user who has no right beyond those of the file modes, and no entry in the list of users.
AS_A_STRANGER = ("unshare", "--user", f"--map-user={STRANGER}", f"--map-group={STRANGER}")

Step = tuple[str, str]
"""A keyword, and the rest of its line."""


def steps(dockerfile: Path) -> list[Step]:
    """Read the steps, without comments and with continued lines in one."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(keyword, rest) for keyword, _, rest in (line.strip().partition(" ") for line in joined) if keyword]


def stages(dockerfile: Path) -> dict[str, list[Step]]:
    """Return the steps of each stage, those of the stages that it begins with included; the last is named ``""``."""
    before: list[Step] = []
    found: dict[str, list[Step]] = {}
    name: str | None = None
    for keyword, rest in steps(dockerfile):
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = [*found[base]] if base in found else [*before, (keyword, rest)]
        else:
            (before if name is None else found[name]).append((keyword, rest))
    return found


@dataclass(frozen=True)
class Context:
    """The files that ``docker build`` sends: those of a folder that its .dockerignore lets through."""

    folder: Path

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], bool]]:
        """The patterns of .dockerignore, and whether what fits is sent."""
        lines = (self.folder / ".dockerignore").read_text().splitlines()
        kept = [line for line in lines if line and not line.startswith("#")]
        return [(_pattern(line.removeprefix("!")), line.startswith("!")) for line in kept]

    def sends(self, path: str) -> bool:
        """Whether a file is sent: the last pattern that fits it or a folder above it decides."""
        parts = (path, *map(str, PurePosixPath(path).parents[:-1]))
        fitting = [sent for pattern, sent in self._patterns if any(map(pattern.fullmatch, parts))]
        return fitting[-1] if fitting else True

    def files(self, source: str) -> list[str]:
        """List the files that are sent of a file or a folder."""
        path = self.folder / source
        every = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        names = [file.relative_to(self.folder).as_posix() for file in every]
        return [name for name in names if self.sends(name)]


def _pattern(text: str) -> re.Pattern[str]:
    parts = [".*" if part == "**" else re.escape(part).replace(r"\*", "[^/]*") for part in text.split("/")]
    return re.compile("/".join(parts).replace(".*/", "(.*/)?"))


@dataclass
class Image:
    """A stage's files, and how its programs run."""

    root: Path
    stand_ins: Path
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "root"
    entry_point: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)

    def inside(self, text: str) -> str:
        """Lead the absolute paths of a text into the folder that stands for ``/``."""
        outside = set(ABSOLUTE.findall(text)) - {*OWN, *PROGRAMS}
        assert not outside, f"these folders are not the image's own: {outside}"
        return ABSOLUTE.sub(lambda path: path[0] if path[1] in PROGRAMS else f"{self.root}{path[0]}", text)

    def variables(self) -> dict[str, str]:
        """Return the environment of its programs: that of the image, and none of this machine's."""
        path = self.inside(self.environment.get("PATH", "")).replace("$PATH", "")
        inside = {name: self.inside(value) for name, value in self.environment.items()}
        return {**inside, "PATH": f"{path}:{self.stand_ins}:/usr/bin:/bin".lstrip(":")}

    def run(self, *words: str, prefix: Sequence[str] = (), **more: str) -> subprocess.CompletedProcess[str]:
        """Run its entry point, or with ``prefix`` any program, in its folder as a stranger."""
        return subprocess.run(
            [*as_a_stranger(), *(prefix or self.entry_point), *words],
            cwd=self.inside(self.folder),
            env={**self.variables(), **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def close(self, writable: Sequence[str]) -> None:
        """Take away the right to write from all of its folders, except from some."""
        kept = [Path(self.inside(path)) for path in writable]
        for path in [self.root, *self.root.rglob("*")]:
            if path.is_dir() and not path.is_symlink() and not any(path.is_relative_to(folder) for folder in kept):
                path.chmod(0o555)


def as_a_stranger() -> tuple[str, ...]:
    """Return the program that makes a process a stranger's; none where the kernel allows no namespace of users."""
    possible = shutil.which("unshare") and subprocess.run([*AS_A_STRANGER, "true"], capture_output=True).returncode == 0
    return AS_A_STRANGER if possible else ()


def build(steps: Sequence[Step], context: Context, image: Image, arguments: Mapping[str, str] | None = None) -> None:
    """Carry out steps into an image.

    Raises:
        AssertionError: a step failed, or it is of a kind that is not known here.
    """
    given: dict[str, str] = {}
    for keyword, rest in steps:
        match keyword:
            case "FROM":
                pass
            case "ARG":
                name, _, default = rest.partition("=")
                given[name] = (arguments or {}).get(name, default.strip('"'))
            case "ENV":
                image.environment |= dict(word.split("=", 1) for word in shlex.split(rest))
            case "LABEL":
                image.labels |= dict(word.split("=", 1) for word in shlex.split(rest))
            case "WORKDIR":
                image.folder = rest
                Path(image.inside(rest)).mkdir(parents=True, exist_ok=True)
            case "USER":
                image.user = rest
            case "ENTRYPOINT":
                image.entry_point = json.loads(rest)
            case "CMD":
                image.command = json.loads(rest)
            case "COPY":
                _copy(rest.split(), context, Path(image.inside(image.folder)))
            case "RUN":
                _run(rest, image, given)
            case _:
                raise AssertionError(f"{keyword}: how is it carried out?")


def _copy(words: Sequence[str], context: Context, folder: Path) -> None:
    *sources, target = words
    for source in sources:
        files = context.files(source)
        assert files, f"COPY {source}: there is no such file in the context"
        place = folder / target
        if (context.folder / source).is_file():
            assert target.endswith("/"), f"COPY {source}: a target without a slash would be the file's new name"
            place /= Path(source).name
        for name in files:
            to = place / Path(name).relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(context.folder / name, to)


def _run(text: str, image: Image, given: Mapping[str, str]) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", image.inside(text)],
        cwd=image.inside(image.folder),
        env={**image.variables(), **given},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"RUN {text}\n{done.stdout}{done.stderr}"
