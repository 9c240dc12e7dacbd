"""Who publishes a crate, and under which licence: as options of the command say."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ORCID = re.compile(r"https://orcid\.org/(\d{4}-\d{4}-\d{4}-\d{3}[\dX])")
_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,60}")


class CrateError(ValueError):
    """A crate that cannot be written as asked; the message says what to do."""


@dataclass(frozen=True)
class Author:
    """Who ran the sweeps and publishes their results.

    Attributes:
        orcid: a URL of orcid.org; empty if unknown.
    """

    name: str
    orcid: str = ""

    @classmethod
    def parse(cls, text: str) -> Author:
        """Parse ``NAME`` or ``NAME, https://orcid.org/…``; CrateError if it is neither."""
        name, _, orcid = (part.strip() for part in text.partition(", http"))
        orcid = f"http{orcid}" if orcid else ""
        if not name or (orcid and not _is_orcid(orcid)):
            raise CrateError(
                f"--author {text!r}: give NAME, or NAME, https://orcid.org/0000-0002-1825-0097 with the whole number"
            )
        return cls(name, orcid)


def licence_url(text: str) -> str:
    """Return a licence's URL: the text itself, or SPDX's page; CrateError if the text is neither URL nor identifier."""
    if re.fullmatch(r"https?://\S+", text):
        return text
    if not _SPDX.fullmatch(text):
        raise CrateError(f"--license {text!r}: give an identifier of SPDX, such as CC-BY-4.0, or the licence's URL")
    return f"https://spdx.org/licenses/{text}"


def _is_orcid(url: str) -> bool:
    """Whether a URL is of ORCID and its last digit is right (ISO 7064, mod 11-2)."""
    match = _ORCID.fullmatch(url)
    if match is None:
        return False
    digits = match[1].replace("-", "")
    total = 0
    for digit in digits[:-1]:
        total = (total + int(digit)) * 2
    return digits[-1] == "0123456789X"[(12 - total % 11) % 11]
