"""The page of a store that changes: made anew, while somebody asks, when there is something new to show."""

from __future__ import annotations

import gzip
import json
import re
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.comparisons.statistics import KEY_DIGITS
from analysis.frames.load import Frames, load, load_events
from analysis.frames.published import PublishedError
from analysis.live.snapshot import Snapshot
from analysis.page.progress import progress
from analysis.page.rendering import notice, render
from analysis.rules.checklist import REPORT_DEADLINE_S, checks
from orchestrator.store import Store, StoreError
from orchestrator.store.store import Entry
from tickets.files import digest

EVENTS = 20
REST = 3.0
"""A page that took t seconds to make stands for at least this many times t: the machine's cores are the sweep's."""
PACKING = 5
_RECORD = re.compile(r"stages/[^/]+/[^/]+/record\.json")
_SHOWN = re.compile(r"plans/.+|stages/[^/]+/[^/]+/(record\.json|attempts/[0-9]+/failure\.json|.+\.parquet)")
"""What a page is made of. Beats are not, and events are told by the state."""
_EVENTS = re.compile(r"events/.+")
_TOLD = ("event", "name", "error")


@dataclass(frozen=True)
class Page:
    """A page, as it is sent.

    Attributes:
        version: changes with what it shows; empty for a notice.
        packed: by gzip: four fifths of a page are plotly.js.
    """

    version: str
    content: bytes
    packed: bytes


class LivePage:
    """The last page of a store, and its state. All reading is done by one thread of its own, from ``start`` on.

    Args:
        store: a folder or the URL of one in a bucket; it may not exist yet.
        link: from a path in the store to what the page links to.
        every_s: pause between two looks at the store; there are none while nobody asks.
        published: a CSV file with published results to draw beside: see ``analysis.frames.published``.

    Raises:
        StoreError: no store can be there.
    """

    def __init__(self, store: str, link: Callable[[str], str], every_s: float, published: Path | None = None) -> None:
        self._snapshot = Snapshot(Store(store).storage)
        self.root = self._snapshot.root
        self._link, self._every_s, self._published = link, every_s, published
        self._asked = threading.Event()
        self._frames: Frames | None = None
        self._made_of = ""
        self._told_of = ""
        self._rests_until_s = 0.0
        self._page: Page | None = None
        self._news: dict[str, Any] = {"progress": {}, "events": []}
        self._problem = "The store is being read; the page comes by itself."

    def start(self) -> None:
        """Begin to look; it ends with the process."""
        threading.Thread(target=self._watch, name="live page", daemon=True).start()

    @property
    def page(self) -> Page | None:
        """The last page that could be made; None before the first."""
        self._asked.set()
        return self._page

    @property
    def notice(self) -> bytes:
        """A small page that says why there is none, and asks again."""
        return notice(self.root, self._problem).encode()

    def state(self) -> dict[str, Any]:
        """``version`` of the last page, ``progress`` and the last ``events``, and ``problem``: why no page is newer."""
        self._asked.set()
        page = self._page
        return {"version": page.version if page else "", **self._news, "problem": self._problem}

    def _watch(self) -> None:
        self._asked.set()
        while True:
            self._asked.wait()
            self._asked.clear()
            self._look()
            time.sleep(self._every_s)

    def _look(self) -> None:
        """One look; whatever is wrong with the store is a sentence, and the next look tries again."""
        try:
            listing = self._snapshot.take()
            made_of = _digest(listing, _SHOWN)
            told_of = made_of + _digest(listing, _EVENTS)
            if told_of != self._told_of:
                self._tell(self._frames, listing)
                self._told_of = told_of
            if (made_of != self._made_of or self._problem) and time.monotonic() >= self._rests_until_s:
                self._make(made_of, listing)
        except (StoreError, PublishedError, OSError) as error:
            self._problem = f"The store cannot be shown: {error}"
        except Exception as error:  # a fault of ours: the thread must outlive it, and the terminal tells of it
            problem = f"The page cannot be made: {type(error).__name__}: {error}"
            if problem != self._problem:
                traceback.print_exc()
            self._problem = problem

    def _make(self, made_of: str, listing: Mapping[str, Entry]) -> None:
        """The first page comes without tickets and rules: a first look at those of large networks takes minutes."""
        began_s, tickets = time.monotonic(), self._page is not None
        try:
            if not self._snapshot.exists():
                raise StoreError(f"{self.root} does not exist. If a sweep is to begin there, the page comes by itself.")
            frames = load(self._snapshot.store(), tickets=tickets, published=self._published)
            if frames.stages.empty and frames.planned == 0:
                raise StoreError(f"{self.root} has no stages. If a sweep is to begin there, the page comes by itself.")
            version = digest.of_text(f"{made_of} {tickets}")
            rules = (
                checks(self._snapshot.store(), frames, deadline_s=REPORT_DEADLINE_S).to_dict("records")
                if tickets
                else []
            )
            content = render(frames, self.root, self._link, live=True, version=version, checks=rules).encode()
            page = Page(version, content, gzip.compress(content, PACKING))
            self._tell(frames, listing)
            self._frames, self._page = frames, page
            self._made_of, self._problem = made_of if tickets else "", ""
        finally:
            now_s = time.monotonic()
            first = self._page is not None and not tickets
            self._rests_until_s = now_s if first else now_s + REST * (now_s - began_s)

    def _tell(self, frames: Frames | None, listing: Mapping[str, Entry]) -> None:
        events = load_events(self._snapshot.store())
        self._news = {
            "progress": progress(_brought_up_to_date(frames, events, listing)) if frames else {},
            "events": [_event(row) for row in events.tail(EVENTS).to_dict("records")],
        }


def _brought_up_to_date(frames: Frames, events: pd.DataFrame, listing: Mapping[str, Entry]) -> Frames:
    """Frames with what a listing and the events tell at once, for counting: a page takes longer."""
    done = {path.split("/")[2][-KEY_DIGITS:] for path in listing if _RECORD.fullmatch(path)}
    missing = frames.missing[~frames.missing["key"].str[:KEY_DIGITS].isin(done)]
    return replace(frames, events=events, missing=missing)


def _event(row: Mapping[Any, Any]) -> dict[str, str]:
    """What there is of an event's time, kind, stage and error."""
    told = {"time": row["time"].strftime("%Y-%m-%dT%H:%M:%SZ"), **{name: row[name] for name in _TOLD}}
    return {name: value for name, value in told.items() if isinstance(value, str)}


def _digest(listing: Mapping[str, Entry], which: re.Pattern[str]) -> str:
    found = sorted((path, entry.version) for path, entry in listing.items() if which.fullmatch(path))
    return digest.of_text(json.dumps(found))
