"""The small real store, tickets and files that trials mutate: every kind of file that the program reads."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.judge import Reference
from benchmarks.faults.small_sweep import Place
from benchmarks.fuzz.warm import Done, import_commands, import_listed, run
from orchestrator.store import Store
from orchestrator.store.layout import QUARANTINE, RECORD
from tickets import formats

SECRET = "canary-5e1f3a-of-the-fuzzer"
"""Content of the file outside the store; a command that prints it has read outside."""
OTHER = "other"
"""Store of an undisturbed sweep, beside the one that trials mutate; no command may write there."""
REPORT, COMPARED = "out/report.html", "out/compared.html"
RAISE_AT, KILL_AT = 200, 8
"""Batches: in the dense training, the last one; and after its second start."""
WHERE = ("--plugin", "work/plugin.py", "--data-cache", "cache", "--device", "cpu")
PUBLISHED = "dataset,architecture,series,density,accuracy_percent\npatterns,resnet1d,theirs,0.5,90\n"
KINDS = {
    "record": r"store/stages/.*/record\.json",
    "plan": r"store/plans/.*",
    "event": r"store/events/.*",
    "index": r"store/index\.jsonl",
    "lease": r"store/drivers/.*",
    "claim": r"store/.*/claim\.json",
    "failure": r"store/.*/failure\.json",
    "progress": r"store/.*/progress\.json",
    "stage file": r"store/.*/stage\.json",
    "log": r"store/.*/log\.txt",
    "checkpoint": r"store/.*/checkpoint/.*",
    "ticket": r"store/.*/ticket\.parquet",
    "weights": r"store/.*/out/(weights|init)\.safetensors",
    "metrics": r"store/.*/(metrics|timing)\.parquet",
    "probe": r"store/.*/(probe|barrier)\.parquet",
    "landscape": r"store/.*/landscape\.parquet",
    "set aside": r"store/.*set-aside/.*",
    "ticket elsewhere": r"tickets/.*",
    "data cache": r"cache/.*",
    "recipe": r"work/recipe\.yaml",
    "published": r"work/published\.csv",
}
"""Kinds of files, by the path in a trial's folder."""


class WorldError(Exception):
    """The store or the tickets could not be made."""


@dataclass(frozen=True)
class World:
    """A folder that each trial copies, and what an undisturbed sweep of its store gives.

    Attributes:
        names: names of the stages.
    """

    folder: Path
    reference: Reference
    names: tuple[str, ...]

    @classmethod
    def make(cls, folder: Path) -> World:
        """Run small sweeps: one to its end; one with a failure, then a landscape, and then the power goes off.

        Raises:
            WorldError: a command ended in another way.
        """
        import_commands()
        whole, place = (Place.make(folder / name / "work", str(folder / name / "store")) for name in ("whole", "world"))
        world = place.folder.parent
        modules = folder / "modules.txt"
        for words in (sweep_words(), ["report", "store", "--export", "out"]):
            _expect(0, run(words[0], words, whole.folder.parent, learn=modules))
            import_listed(modules)
        reference = Reference.of(whole)
        place.inject("raise", [RAISE_AT])
        _expect(1, run("sweep", sweep_words(), world))
        trained = sorted(record.name for record in Store(place.store).records().values() if record.kind == "train")
        _expect(0, run("landscape", landscape_words(trained[:3]), world))
        (place.folder / "fired-0").unlink()
        place.inject("kill", [place.batches() + KILL_AT])
        _expect(-signal.SIGKILL, run("sweep", sweep_words(), world))
        _make_tickets(world)
        shutil.copytree(whole.store, world / OTHER)
        _finish(place)
        names = sorted({stage.name for plan in Store(place.store).plans() for stage in plan.stages})
        return cls(world, reference, tuple(names))

    def copy(self, folder: Path) -> None:
        """Copy the world to a trial's folder, with the times of all files, which the index compares."""
        shutil.copytree(self.folder, folder, symlinks=True)


def sweep_words() -> list[str]:
    """Return the words of the sweep, for the current folder of a trial."""
    what = [
        "sweep",
        "--datasets",
        "patterns",
        "--archs",
        "resnet1d",
        "--methods",
        "aws",
        "--seeds",
        "1",
        "--backend",
        "inline",
    ]
    return [*what, "--store", "store", "--recipe", "work/recipe.yaml", "--checkpoint-interval", "0.04", *WHERE]


def landscape_words(names: Sequence[str]) -> list[str]:
    """Return the words of a landscape through three trainings."""
    return ["landscape", "store", *names, "--points", "3", *WHERE]


def files_by_kind(folder: Path) -> dict[str, list[Path]]:
    """List the files of a trial's folder by their kind, sorted."""
    by_kind: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            for kind, pattern in KINDS.items():
                if re.fullmatch(pattern, name):
                    by_kind[kind].append(path)
                    break
    return by_kind


def tickets_of(folder: Path) -> Iterator[Path]:
    """Yield the tickets of a trial's folder: files, and folders of those formats that have folders."""
    yield from sorted(folder.glob("tickets/*"))  # a mutation may have renamed the folder
    yield from sorted(folder.glob("store/stages/round/*/attempts/*/out/ticket.parquet"))


def _make_tickets(world: Path) -> None:
    """Write the store's sparsest ticket in every format."""
    (world / "tickets").mkdir()
    ticket = str(list(tickets_of(world))[-1])
    for name, each in formats.FORMATS.items():
        target = f"tickets/{name}{each.extensions[0]}"
        _expect(0, run(f"convert to {name}", ["tickets", "convert", ticket, target, "--to", name], world))


def _finish(place: Place) -> None:
    """Add the files that no command of these wrote, and leave out what only tells how the store was made."""
    world, store = place.folder.parent, Path(place.store)
    for name in ("home", "tmp", "out", "outside"):
        (world / name).mkdir(exist_ok=True)
    (world / "outside" / "secret.txt").write_text(SECRET)
    (place.folder / "published.csv").write_text(PUBLISHED)
    for name in ("fault.json", "fired-0", "batches"):
        (place.folder / name).unlink()
    for log in store.rglob("log.txt"):  # a traceback in a command's output is then the command's own
        log.write_text(re.sub(r"Traceback|File (?=\")", "where it was raised", log.read_text()))
    (store / "report.html").unlink(missing_ok=True)
    record = next(iter(sorted(store.glob(f"stages/*/*/{RECORD}"))))
    aside = record.parent / QUARANTINE / "1-damaged.json"
    aside.parent.mkdir()
    shutil.copy(record, aside)


def _expect(code: int, done: Done) -> None:
    if done.code != code:
        raise WorldError(f"{done.label} ended with {done.code}, not {code}:\n{done.text[-3000:]}")
