"""Live page: render stores again when they have changed, while a reader asks."""

from __future__ import annotations

import gzip
import json
import re
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.comparisons.statistics import KEY_DIGITS
from analysis.frames.load import Frames, load, load_events
from analysis.frames.published.reading import PublishedError
from analysis.frames.several import Reader, open_reader
from analysis.live.snapshot import Snapshot
from analysis.page.rendering import notice, render
from analysis.page.stages import BLOCKED, FAILED, RUNNING, WAITING, progress
from analysis.rules.checklist import REPORT_DEADLINE_S, checks
from orchestrator.store import Store, StoreError
from orchestrator.store.events import outlook
from orchestrator.store.leases import LeaseWatch
from orchestrator.store.store import Entry
from tickets.files import digest

EVENTS = 20
REST = 3.0
"""A page that takes t seconds is rendered again at most every REST times t, leaving the cores to the sweep."""
PACKING = 5
_RECORD = re.compile(r"stages/[^/]+/[^/]+/record\.json")
_SHOWN = re.compile(r"plans/.+|stages/[^/]+/[^/]+/(record\.json|attempts/[0-9]+/failure\.json|.+\.parquet)")
"""Files that a page is rendered from, beside whether a driver is at work; the state reports events."""
_EVENTS = re.compile(r"events/.+")
Listing = Mapping[str, Entry]
_EVENT_FIELDS = ("event", "name", "error")


@dataclass(frozen=True)
class Page:
    """A rendered page.

    Attributes:
        version: changes with the content; empty for a notice.
        packed: the content, compressed by gzip; four fifths of a page are plotly.js.
    """

    version: str
    content: bytes
    packed: bytes


class LivePage:
    """The last page of one store or several, and its state. One thread reads the stores, from ``start`` on.

    Args:
        stores: folders or buckets' URLs; they need not exist yet.
        link: turns a path in the store, or of several stores a path that begins with its store's root, into the address
            that the page links to.
        every_s: seconds between two listings of the stores; they are not listed while nobody asks.
        published: a CSV file with published results to draw beside: see ``analysis.frames.published.reading``.

    Raises:
        StoreError: an address cannot be a store's.
    """

    def __init__(
        self, stores: Sequence[Store], link: Callable[[str], str], every_s: float, published: Path | None = None
    ) -> None:
        self._snapshots = [Snapshot(store.storage) for store in stores]
        self._leases = [LeaseWatch(snapshot.store().storage) for snapshot in self._snapshots]
        self._at_work = False
        self.root = " and ".join(snapshot.root for snapshot in self._snapshots)
        self._link, self._every_s, self._published = link, every_s, published
        self._asked = threading.Event()
        self._frames: Frames | None = None
        self._rendered_from = ""
        self._news_of = ""
        self._rest_until_s = 0.0
        self._page: Page | None = None
        self._news: dict[str, Any] = {"progress": {}, "left": None, "events": []}
        self._problem = "Reading the store; the page appears by itself."

    def start(self) -> None:
        """Start the thread that reads the store; it ends with the process."""
        threading.Thread(target=self._watch, name="live page", daemon=True).start()

    @property
    def page(self) -> Page | None:
        """The last page; None before the first."""
        self._asked.set()
        return self._page

    @property
    def notice(self) -> bytes:
        """A small page that says why there is no page yet, and reloads."""
        return notice(self.root, self._problem).encode()

    def state(self) -> dict[str, Any]:
        """Return the state of the page and of the sweep.

        Returns:
            ``version`` of the last page; ``progress``; ``left``, the fields of an ``Outlook``, or None before the first
            page; last ``events``; ``problem``: why no page is newer.
        """
        self._asked.set()
        page = self._page
        return {"version": page.version if page else "", **self._news, "problem": self._problem}

    def _watch(self) -> None:
        self._asked.set()
        while True:
            self._asked.wait()
            self._asked.clear()
            self._refresh()
            time.sleep(self._every_s)

    def _refresh(self) -> None:
        """List the store, and render a changed one; an error becomes the page's problem until the next call."""
        try:
            listings = [snapshot.take() for snapshot in self._snapshots]
            living = [watch.living() for watch in self._leases]  # of all, since each must see each renewal
            self._at_work = any(living)
            rendered_from = f"{_digest(listings, _SHOWN)} {self._at_work}"
            news_of = rendered_from + _digest(listings, _EVENTS)
            if news_of != self._news_of:
                self._update_news(self._frames, listings)
                self._news_of = news_of
            if (rendered_from != self._rendered_from or self._problem) and time.monotonic() >= self._rest_until_s:
                self._render(rendered_from, listings)
        except (StoreError, PublishedError, OSError) as error:
            self._problem = f"The store cannot be shown: {error}"
        except Exception as error:  # a bug: the thread must survive it, and the terminal shows it
            problem = f"The page cannot be rendered: {type(error).__name__}: {error}"
            if problem != self._problem:
                traceback.print_exc()
            self._problem = problem

    def _reader(self) -> Reader:
        """Return a new reader of the snapshots; StoreError if a store does not exist."""
        for snapshot in self._snapshots:
            if not snapshot.exists():
                raise StoreError(f"{snapshot.root} does not exist. The page appears by itself once a sweep has begun.")
        return open_reader([snapshot.store() for snapshot in self._snapshots])

    def _render(self, rendered_from: str, listings: Sequence[Listing]) -> None:
        """Render the page; the first one without tickets and rules, which take minutes for large networks."""
        began_s, tickets = time.monotonic(), self._page is not None
        try:
            reader = self._reader()
            frames = load(reader, tickets=tickets, published=self._published, leave_out=True)
            frames = replace(frames, at_work=self._at_work)
            if frames.stages.empty and frames.planned == 0:
                raise StoreError(f"{self.root} has no stages. The page appears by itself once a sweep has begun.")
            version = digest.of_text(f"{rendered_from} {tickets}")
            rules = checks(reader, frames, deadline_s=REPORT_DEADLINE_S).to_dict("records") if tickets else []
            content = render(frames, self.root, self._link, live=True, version=version, checks=rules).encode()
            page = Page(version, content, gzip.compress(content, PACKING))
            self._update_news(frames, listings)
            self._frames, self._page = frames, page
            self._rendered_from, self._problem = rendered_from if tickets else "", ""
        finally:
            now_s = time.monotonic()
            first = self._page is not None and not tickets
            self._rest_until_s = now_s if first else now_s + REST * (now_s - began_s)

    def _update_news(self, frames: Frames | None, listings: Sequence[Listing]) -> None:
        events = load_events([snapshot.store() for snapshot in self._snapshots])
        counts = progress(_updated(frames, events, listings, self._at_work)) if frames else {}
        ends = (entry.modified_unix_s for each in listings for path, entry in each.items() if _RECORD.fullmatch(path))
        left = counts and outlook(
            [end for end in ends if end is not None],
            unfinished=counts[RUNNING] + counts[WAITING],
            given_up=counts[FAILED] + counts[BLOCKED],
            at_work=self._at_work,
        )
        self._news = {
            "progress": counts,
            "left": asdict(left) if left else None,
            "events": [_event(row) for row in events.tail(EVENTS).to_dict("records")],
        }


def _updated(frames: Frames, events: pd.DataFrame, listings: Sequence[Listing], at_work: bool) -> Frames:
    """Update the frames by the stores' listings, events and leases, to count progress between two pages."""
    done = {path.split("/")[2][-KEY_DIGITS:] for listing in listings for path in listing if _RECORD.fullmatch(path)}
    missing = frames.missing[~frames.missing["key"].str[:KEY_DIGITS].isin(done)]
    return replace(frames, events=events, missing=missing, at_work=at_work)


def _event(row: Mapping[Any, Any]) -> dict[str, str]:
    """Return an event's time, kind, stage and error, as far as present."""
    fields = {"time": row["time"].strftime("%Y-%m-%dT%H:%M:%SZ"), **{name: row[name] for name in _EVENT_FIELDS}}
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def _digest(listings: Sequence[Listing], which: re.Pattern[str]) -> str:
    versions = [
        sorted((path, entry.version) for path, entry in listing.items() if which.fullmatch(path))
        for listing in listings
    ]
    return digest.of_text(json.dumps(versions))
