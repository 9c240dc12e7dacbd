"""Files of a model hub's repository on this machine, through huggingface_hub: its cache, login and offline mode.

Its environment holds here too: ``HF_ENDPOINT``, ``HF_HOME``, ``HF_TOKEN`` and ``HF_HUB_OFFLINE``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from tickets.errors import TicketError
from tickets.files.zoo.index import SUMS

_PLACE = re.compile(r"([\w.-]{1,96}/[\w.-]{1,96})(?:@([\w.-]{1,100}))?(?:/(.*))?", re.ASCII)


def library() -> Any:
    """Import huggingface_hub, its errors and constants; TicketError that names the extra if it is not installed."""
    try:
        for module in ("errors", "constants"):
            import_module(f"huggingface_hub.{module}")
        return import_module("huggingface_hub")
    except ImportError as error:
        raise TicketError('a hub needs huggingface_hub: pip install "winning-sign[hub]"') from error


class Repository:
    """A zoo in a hub's repository of the type "model", at one commit: the first file decides which.

    Attributes:
        name: OWNER/REPOSITORY.
        revision: a branch, a tag or a commit.
    """

    def __init__(self, name: str, revision: str = "main") -> None:
        self.name = name
        self.revision = revision

    @classmethod
    def parse(cls, text: str) -> tuple[Repository, str]:
        """Parse ``OWNER/REPOSITORY[@REVISION][/NAME]``; return the repository and NAME."""
        match = _PLACE.fullmatch(text)
        if match is None:
            raise TicketError(
                f"hub:{text} names no repository; give hub:OWNER/REPOSITORY, perhaps with @REVISION, and then a "
                f"ticket's name, such as hub:OWNER/REPOSITORY/aws/chain1/round10"
            )
        return cls(match[1], match[2] or "main"), (match[3] or "").strip("/")

    @property
    def title(self) -> str:
        return f"hub:{self.name}" + (f"@{self.revision}" if self.revision != "main" else "")

    def local(self, path: str) -> Path:
        """Return a file, from the cache or downloaded; TicketError if it cannot be had."""
        return Path(self._download(path, self._commit))

    @cached_property
    def _commit(self) -> str:
        """The commit that the revision is now, or was when the cache last had it; all files are taken from there."""
        return Path(self._download(SUMS, self.revision)).parent.name

    def _download(self, path: str, revision: str) -> str:
        hub = library()
        with one_cause(self.title, path):
            return str(hub.hf_hub_download(self.name, path, revision=revision))


@contextmanager
def one_cause(title: str, path: str = "") -> Iterator[None]:
    """Turn what huggingface_hub raises into a TicketError of one sentence."""
    hub = library()
    errors, endpoint = hub.errors, hub.constants.ENDPOINT
    try:
        yield
    except errors.LocalEntryNotFoundError as error:
        if hub.constants.HF_HUB_OFFLINE:
            raise TicketError(
                f"{title}: {path} is not in the cache {hub.constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE is set; load it "
                f"once without HF_HUB_OFFLINE"
            ) from error
        raise TicketError(
            f"{title}: {endpoint} does not answer as a hub does, and {path} is not in the cache; try again"
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise TicketError(f"{title}: HF_HUB_OFFLINE is set; unset it to reach {endpoint}") from error
    except errors.RepositoryNotFoundError as error:
        raise TicketError(
            f"{title}: {endpoint} has no such repository, or this login may not use it; correct the name, or log in "
            f"with hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise TicketError(f"{title}: the repository has no such revision; name one of its branches or tags") from error
    except errors.EntryNotFoundError as error:
        raise TicketError(f"{title}: the repository has no {path}, so it is no whole zoo") from error
    except errors.HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        login = "; log in with hf auth login, as somebody who may write there" if status in (401, 403) else ""
        raise TicketError(f"{title}: {endpoint} refused: {_first_line(error)}{login}") from error
    except (KeyboardInterrupt, TicketError):
        raise
    except Exception as error:  # the libraries below raise what they like
        raise TicketError(f"{title}: {type(error).__name__}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    message = getattr(error, "server_message", None) or str(error)
    return next(iter(filter(None, map(str.strip, message.splitlines()))), "no reason given")
