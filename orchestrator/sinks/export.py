"""Writes the stages of a store to a sink that does not have them yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from filelock import FileLock

from orchestrator.sinks.destination import Destination
from orchestrator.sinks.run import read_run, run_files
from orchestrator.store import Store
from orchestrator.store.record import Record
from tickets.files import digest
from tickets.files.home import user_cache
from tickets.files.reading import UnreadableFileError


@dataclass
class Exported:
    """What an export did.

    Attributes:
        logged: stages written now.
        earlier: stages that the sink had.
        left_out: a sentence for each damaged or missing file, by its path.
    """

    logged: int = 0
    earlier: int = 0
    left_out: dict[str, str] = field(default_factory=dict)


def export(store: Store, records: Iterable[Record], destination: Destination) -> Exported:
    """Write every stage that has metrics or results and is not in the sink yet, in the order in which they finished.

    One process of this user at a time writes to a destination, so that no stage is written twice. Raises whatever the
    tool raises.
    """
    locks = user_cache() / "sinks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / f"{digest.of_text(str(destination))}.lock"):
        sink, done = destination.open(), Exported()
        logged = sink.logged()
        telling = sorted(filter(_tells_something, records), key=lambda record: record.finished_unix_s)
        new = [record for record in telling if record.key not in logged]
        done.earlier = len(telling) - len(new)
        names = {record.key: run_files(record) for record in new}
        paths = store.local([(key, name) for key in names for name in names[key]], unreadable=done.left_out)
        for record in new:
            files = {name: paths[record.key, name] for name in names[record.key] if (record.key, name) in paths}
            link = f"{store.root}/{store.folder(record.key)}"
            try:
                run = read_run(record, files, link)
            except (UnreadableFileError, OSError) as error:
                done.left_out[link] = str(error)
                continue
            if len(files) == len(names[record.key]):
                sink.write(run)
                done.logged += 1
    return done


def _tells_something(record: Record) -> bool:
    return bool(run_files(record)) or any(isinstance(value, int | float) for value in record.results.values())
