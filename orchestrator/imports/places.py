"""Where tickets from elsewhere lie: files, folders of files, zoos, and other stores."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.recipes.experiments import Found
from orchestrator.recipes.layers import RecipeError
from orchestrator.store import Store
from orchestrator.store.plans import wanted
from tickets import TicketError
from tickets.files.home import expanded
from tickets.files.stages import is_selected
from tickets.files.zoo.places import Kept, in_zoo, is_reachable, is_zoo, kept, zoo_name
from tickets.formats import FORMATS
from tickets.formats.source import Source
from workers.data import data_set_names
from workers.storage import NoBucketError, schemas

MOST_TICKETS = 1_000
"""Of a source: each is read before any work starts."""
ENDINGS = (".tar", ".pth", ".pt", ".safetensors", ".parquet")
KINDS = ("pretrain", "round", "imported")
"""The kinds of stages that have tickets."""
_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,40})=(.+)")


@dataclass(frozen=True)
class TicketSource:
    """A source of ``--tickets``: ``[NAME=]PLACE``, in which a store's place may end in ``:STAGE``.

    Attributes:
        text: as the user gave it.
        name: what its tickets are called after, as in "aws@NAME".
    """

    text: str
    name: str
    place: str

    @classmethod
    def parse(cls, text: str) -> TicketSource:
        """Parse a source.

        Raises:
            RecipeError: a part is empty, or its name is a data set's, of which a sweep has tickets of its own.
        """
        match = _NAMED.fullmatch(text)
        name, place = (match[1], match[2]) if match and not expanded(text).exists() else ("", text)
        if len(place) > 1 and place.endswith(":") and not in_zoo(place) and not expanded(place).exists():
            store = place.rstrip(":")
            raise RecipeError(
                f"--tickets {text!r}: nothing follows the colon; give {store} for the rounds that are compared, or one "
                f"of its stages, such as {store}:aws/chain1/round10"
            )
        if not name and in_zoo(place):
            with _one_error(text):
                name = slug(zoo_name(place))
        elif not name:
            name = slug(re.split(r"[/\\]", _split(place)[0].rstrip("/\\"))[-1])
            for ending in ENDINGS:
                name = name.removesuffix(ending)
        if not name:
            raise RecipeError(f"--tickets {text!r}: give the place of tickets, such as ticket.parquet or NAME=FOLDER")
        if name in data_set_names():
            raise RecipeError(f"--tickets {text}: {name} is a data set's name; name the source, such as theirs={place}")
        return cls(text, name, place)

    @property
    def exists(self) -> bool:
        """Whether there is something at its place; StorageError if a bucket does not answer."""
        if in_zoo(self.place):
            return is_reachable(self.place)
        place, _ = _split(self.place)
        if "://" not in place:
            return expanded(place).exists()
        try:
            return Store(place).storage.exists()
        except NoBucketError:
            return False

    def find(self) -> list[Found]:
        """List the tickets at its place.

        Raises:
            RecipeError: there is none, or there are too many.
            StoreError: the place is a store that cannot be read, or lacks the stage.
        """
        if in_zoo(self.place):
            with _one_error(self.text):
                return [_in_zoo(each) for each in kept(self.place, MOST_TICKETS)]
        place, stage = _split(self.place)
        path = expanded(place)
        if "://" in place or (path / "stages").is_dir():
            tickets = list(_of_store(Store(place if "://" in place else path), stage, self.text))
            if not tickets:
                named = f"stage {stage!r} with a ticket" if stage else "ticket that its last sweeps want"
                raise RecipeError(f"--tickets {self.text}: the store has no {named}")
        elif stage and path.exists():
            raise RecipeError(f"--tickets {self.text}: {place} is no store with stages, and only a store's are named")
        else:
            tickets = list(_of_files(path, self.text))
        if len(tickets) > MOST_TICKETS:
            raise RecipeError(
                f"--tickets {self.text}: {len(tickets):,} tickets, and at most {MOST_TICKETS:,} are read; name fewer"
            )
        return tickets


@contextmanager
def _one_error(text: str) -> Iterator[None]:
    try:
        yield
    except TicketError as error:
        raise RecipeError(f"--tickets {text}: {error}") from error


def _split(text: str) -> tuple[str, str]:
    """Split a store's stage off a place; a place that exists as it stands has none."""
    if expanded(text).exists():
        return text, ""
    place, colon, stage = text.rpartition(":")
    return (text, "") if not colon or stage.startswith("//") else (place, stage)


def slug(text: str) -> str:
    """A text as a part of labels: letters, digits, ``_``, ``.`` and ``-``."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")[:40]


def _of_store(store: Store, stage: str, text: str) -> Iterator[Found]:
    """The tickets of a store: those of the stages that a pattern, a name's end or a key's beginning selects, or all."""
    records, plans = store.records({}), store.plans({})
    if store.storage.folder is None and not records and not plans:
        raise RecipeError(
            f"--tickets {text}: there is no store; of a bucket, only the tickets of a store are read, so give the "
            f"store's URL, such as s3://bucket/sweeps:aws/chain1/round10, or download the file"
        )
    last = wanted(plans)
    for key, record in sorted(records.items(), key=lambda item: item[1].name):
        if record.kind not in KINDS or schemas.TICKET not in record.files or record.labels.round is None:
            continue
        if not (is_selected(record.name, record.key, stage) if stage else not last or key in last):
            continue
        if damage := store.damage(key):
            raise RecipeError(f"{damage}; repeat its sweep, or name other stages")
        names = [schemas.TICKET]
        if schemas.WEIGHTS in record.files and not store.is_collected(record):
            names.append(schemas.WEIGHTS)
        files = store.local([(key, name) for name in names])
        yield Found(
            f"{record.name} of {store.root}",
            files[key, schemas.TICKET],
            files.get((key, schemas.WEIGHTS)),
            bool(stage),
            record.labels.architecture,
            record.labels.chain,
            record.labels.round,
            record.science.get("setting", {}).get("data", {}).get("fingerprint"),
        )


def _in_zoo(kept: Kept) -> Found:
    entry = kept.entry
    labels = (entry.architecture, entry.chain, entry.round, entry.data_fingerprint)
    return Found(kept.place, kept.file, None, kept.chosen, *labels)


def _of_files(path: Path, text: str) -> Iterator[Found]:
    """The tickets of a file or a folder: the folder may be one ticket, or hold several."""
    if not path.exists():
        raise RecipeError(f"--tickets {text}: there is no such file, folder or store")
    if is_zoo(path):
        raise RecipeError(f"--tickets {text}: this folder is a zoo; say zoo:{path}")
    if not path.is_dir() or _is_ticket(path):
        yield _at(path)
        return
    several = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    tickets = [each for each in several if _is_ticket(each) if each.name != schemas.WEIGHTS]
    if not tickets:
        raise RecipeError(
            f"--tickets {text}: this folder is no store, and holds no ticket; give files of {', '.join(FORMATS)}"
        )
    yield from map(_at, tickets)


def _is_ticket(path: Path) -> bool:
    """Whether a file may hold a ticket, by its name, or a folder is one, by its files."""
    if not path.is_dir():
        return path.name.endswith(ENDINGS)
    source = Source(path)
    return (path / schemas.TICKET).is_file() or any(FORMATS[name].fits(source) for name in ("hub", "open-lth"))


def _at(path: Path) -> Found:
    """The ticket at a file or folder; ``weights.safetensors`` beside a ``ticket.parquet`` holds its weights."""
    hub = path.is_dir() and FORMATS["hub"].fits(Source(path))
    ticket = path / schemas.TICKET if path.is_dir() and not hub and (path / schemas.TICKET).is_file() else path
    folder = path if path.is_dir() else path.parent
    weights = folder / schemas.WEIGHTS
    belongs = ticket.name == schemas.TICKET or hub
    return Found(str(path), ticket, weights if belongs and weights.is_file() else None)
