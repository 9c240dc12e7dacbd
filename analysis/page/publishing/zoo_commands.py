"""``winning-sign tickets publish`` and ``push``: a zoo from stores, and a hub's repository from a zoo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tickets.errors import TicketError
from tickets.files.home import expanded
from tickets.files.zoo.pushing import Push, plan_push
from tickets.files.zoo.pushing import push as upload
from tickets.formats import zoo
from workers.terminal.command import console, one_sentence, print_error

PUBLISH_EXAMPLES = """
winning-sign tickets publish sweeps zoo --licence cc-by-4.0
winning-sign tickets publish demo s3://bucket/study zoo --licence cc-by-4.0 --force
"""
PUSH_EXAMPLES = """
winning-sign tickets push zoo OWNER/REPOSITORY
winning-sign tickets push zoo OWNER/REPOSITORY --private --yes
"""


def publish(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="STORE… FOLDER",
            help="Folders or URLs of sweeps' stores, read as one; last, the zoo's new folder.",
            show_default=False,
        ),
    ],
    licence: Annotated[
        str,
        typer.Option(
            "--licence",
            "--license",
            metavar="ID",
            help="Under what others may use the tickets: an identifier of spdx.org/licenses, such as cc-by-4.0.",
        ),
    ],
    all_rounds: Annotated[
        bool, typer.Option("--all-rounds", help="Also tickets that no final training started from.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing zoo, as a whole.")] = False,
) -> None:
    """Write a zoo: a folder of tickets that any web server or hub can hold.

    The zoo has index.parquet with a row per ticket (data set, architecture, method, density, accuracies with intervals,
    key, digest), a folder per ticket with its card, and SHA256SUMS. A stage that does not verify is left out and named.
    The exit code is 1 if nothing is left. Nothing is uploaded.
    """
    from analysis.page.publishing.zoo import chosen  # pandas and plotly, which the other commands do without
    from orchestrator.store import StoreError

    with one_sentence(TicketError, StoreError, OSError):
        if len(places) < 2:
            raise TicketError(
                "publish needs a store and the zoo's folder, such as winning-sign tickets publish sweeps zoo"
            )
        *stores, target = places
        if "://" in target:
            raise TicketError(f"{target} is no folder; name a new folder, and copy it to where others find it")
        folder = expanded(target)
        zoo.check_target(folder, licence, force=force)
        choice = chosen(stores, all_rounds=all_rounds)
    for sentence in choice.left_out:
        console(stderr=True).print(f"left out: {sentence}")
    if not choice.exhibits:
        more = f"; --all-rounds adds {choice.without_accuracy} without accuracies" if choice.without_accuracy else ""
        print_error(f"no ticket is left to publish{more}")
        raise typer.Exit(1)
    with one_sentence(TicketError, OSError):
        zoo.write_zoo(folder, choice.exhibits, licence, force=force)
    out = console()
    out.print(f"{folder}: {len(choice.exhibits)} tickets, {_tree_bytes(folder):,} bytes, {licence.lower()}")
    if choice.without_accuracy:
        out.print(f"{choice.without_accuracy} tickets without accuracies are not in it; --all-rounds adds them.")
    first = min(exhibit.facts["name"] for exhibit in choice.exhibits)
    out.print(f'Load one with tickets.load("zoo:{folder}/{first}").')


def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A zoo's folder.", show_default=False)],
    repository: Annotated[
        str, typer.Argument(metavar="OWNER/REPOSITORY", help="Repository of a hub, new or a zoo's.", show_default=False)
    ],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private. Default: public.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Upload a zoo to a model hub, after a question.

    The files are checked, and listed with their sizes, the repository and who will see it. All of them arrive in one
    commit, which also removes the zoo's files that are gone. Needs the extra winning-sign[hub] and a login of hf auth
    login. HF_ENDPOINT names another hub.
    """
    with one_sentence(TicketError, OSError):
        planned = plan_push(folder, repository, private=private)
        _show(planned)
        if not yes and not sys.stdin.isatty():
            raise TicketError("push asks before it uploads, and there is no terminal to ask; add --yes")
    if not yes and not typer.confirm("Upload?"):
        console().print("Nothing was uploaded.")
        raise typer.Exit(1)
    with one_sentence(TicketError, OSError):
        address = upload(planned)
    console().print(f"Uploaded: {address}")


def _show(planned: Push) -> None:
    out = console()
    for path, size_bytes in planned.files.items():
        out.print(f"{size_bytes:>12,} bytes  {path}")
    for path in planned.removed:
        out.print(f"{'removed':>18}  {path}")
    state = "new" if planned.parent is None else "it exists"
    seen = "private: only you and its organization see it" if planned.private else "PUBLIC: everybody can read it"
    total = f"{len(planned.files)} files, {sum(planned.files.values()):,} bytes"
    out.print(f"{total}, to {planned.endpoint}/{planned.repository} ({state})\n{seen}")


def _tree_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
