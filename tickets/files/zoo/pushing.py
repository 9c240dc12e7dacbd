"""Copy a zoo's folder into a repository of a model hub: what would change, and then one commit."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tickets.errors import TicketError
from tickets.files.zoo.hub import Repository, library, one_cause
from tickets.files.zoo.index import INDEX, SUMS, read_sums
from tickets.files.zoo.places import faults, is_zoo

_OF_THE_HUB = frozenset({".gitattributes", "README.md"})
"""Files that a hub may put into a new repository."""


@dataclass(frozen=True)
class Push:
    """What a push would do.

    Attributes:
        repository: OWNER/REPOSITORY.
        endpoint: the hub's address.
        parent: the commit that the repository has now; None if it does not exist.
        private: whether only its owner will see it.
        files: size in bytes by path.
        removed: files of the zoo that the repository has now, and will have no more.
    """

    folder: Path
    repository: str
    endpoint: str
    parent: str | None
    private: bool
    files: Mapping[str, int]
    removed: tuple[str, ...]


def plan_push(folder: Path, repository: str, *, private: bool) -> Push:
    """Check a zoo and read what its repository holds; change nothing.

    Args:
        repository: OWNER/REPOSITORY, with or without ``hub:``.
        private: make a new repository private.

    Raises:
        TicketError: the folder is no zoo or is damaged, the repository holds something else or is public although
            ``private``, or the hub refuses.
    """
    if not is_zoo(folder):
        raise TicketError(f"{folder} is no zoo; make one with winning-sign tickets publish")
    if damaged := faults(folder):
        raise TicketError(damaged[0])
    parsed, name = Repository.parse(repository.removeprefix("hub:"))
    if name or parsed.revision != "main":
        raise TicketError(f"{repository}: a zoo is pushed as a whole, to main; give OWNER/REPOSITORY alone")
    files = {path: (folder / path).stat().st_size for path in sorted([*read_sums(folder / SUMS), SUMS])}
    hub = library()
    endpoint = hub.constants.ENDPOINT
    with one_cause(parsed.title):
        try:
            info = hub.HfApi().model_info(parsed.name)
        except hub.errors.GatedRepoError:
            raise
        except hub.errors.RepositoryNotFoundError:  # a private one of somebody else looks the same
            return Push(folder, parsed.name, endpoint, None, private, files, ())
    held = {each.rfilename for each in info.siblings or ()}
    if private and not info.private:
        raise TicketError(f"{parsed.title} exists and is public; leave --private out, or name another repository")
    theirs: set[str] = set()
    if {INDEX, SUMS} <= held:
        theirs = {*read_sums(parsed.local(SUMS)), SUMS}
    elif strange := sorted(held - _OF_THE_HUB):
        raise TicketError(f"{parsed.title} holds {strange[0]} and no zoo; name another repository")
    removed = tuple(sorted((theirs & held) - files.keys()))
    return Push(folder, parsed.name, endpoint, info.sha, bool(info.private), files, removed)


def push(planned: Push) -> str:
    """Upload a zoo as one commit, in a new repository if there is none; return the commit's address.

    Raises:
        TicketError: the hub refuses, or the repository has changed since ``plan_push``.
    """
    hub = library()
    api = hub.HfApi()
    added = [hub.CommitOperationAdd(path, str(planned.folder / path)) for path in planned.files]
    removed = [hub.CommitOperationDelete(path) for path in planned.removed]
    with one_cause(f"hub:{planned.repository}"), warnings.catch_warnings():
        # huggingface_hub takes Parquet for a data set's, but a ticket is a part of a model
        warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
        if planned.parent is None:
            api.create_repo(planned.repository, private=planned.private)
        return str(
            api.create_commit(
                planned.repository,
                [*added, *removed],
                commit_message=f"A zoo of tickets: {len(planned.files)} files",
                parent_commit=planned.parent,
            ).commit_url
        )
