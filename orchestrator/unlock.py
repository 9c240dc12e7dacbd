"""``python -m orchestrator.unlock``: removes the leases of drivers that are dead."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from orchestrator.store import StoreError
from orchestrator.store.leases import STALE_AFTER_S, Lease, LeaseWatch, process_gone
from orchestrator.terminal.command import AsJson, StorePath, console, new_app, one_sentence, open_existing, print_json

EXAMPLES = """
Examples:

  python -m orchestrator.unlock sweeps --stale

  python -m orchestrator.unlock /mnt/shared/sweeps --driver node7-4711-0a1b2c3d --yes
"""
POLL_S = 2.0
BY = "orchestrator.unlock"
app = new_app()


@app.command(epilog=EXAMPLES)
def unlock(
    store: StorePath,
    stale: Annotated[bool, typer.Option("--stale", help="Remove the leases of all drivers that are dead.")] = False,
    driver: Annotated[str | None, typer.Option(metavar="NAME", help="Remove this driver's lease.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --driver: also if it looks alive.")] = False,
    json_: AsJson = False,
) -> None:
    """Remove the leases of dead drivers, so that others take their stages over at once. Sweeps do so by themselves.

    A driver of this machine is dead when its process is gone; one of another machine when its lease does not change
    for half a minute, which is watched.
    """
    with one_sentence():
        if stale == (driver is not None):
            raise StoreError("give either --stale or --driver NAME")
        opened = open_existing(store)
        out = console()
        tell = (lambda line: None) if json_ else out.print
        watch = LeaseWatch(opened.storage)
        found = watch.leases()
        if driver is not None:
            if driver not in found:
                held = ", ".join(sorted(found)) or "nobody"
                raise StoreError(f"{driver} holds no lease; held by: {held}")
            removed = [_revoke_named(watch, found[driver], yes=yes, tell=tell)]
        else:
            removed = _revoke_stale(watch, tell)
        left = sorted(found.keys() - set(removed))
    if json_:
        print_json({"removed": removed, "left": left})
        return
    for name in removed:
        out.print(f"Removed the lease of {name}; its stages go on from their checkpoints in the next sweep.")
    for name in left if stale else []:
        out.print(f"Left {name} alone: it is alive.")
    if not found:
        out.print("No driver holds a lease here; there is nothing to unlock.")


def _revoke_named(watch: LeaseWatch, lease: Lease, *, yes: bool, tell: Any) -> str:
    gone = process_gone(lease)
    if not gone and not yes:
        looks = "is alive" if gone is False else "may be alive, on another machine"
        raise StoreError(
            f"{lease.driver} (pid {lease.pid} on {lease.host}) {looks}: without its lease it stops, and what it runs "
            f"is made by others; give --yes to do that, or --stale to watch whether it is dead"
        )
    tell(f"Revoking {lease.driver}: should it live, it stops, and others go on with its stages.")
    watch.revoke(lease.driver, by=BY)
    return lease.driver


def _revoke_stale(watch: LeaseWatch, tell: Any) -> list[str]:
    """Remove the leases of the dead, after watching those of other machines for as long as it takes."""
    leases = watch.leases()
    living = watch.living()
    elsewhere = [name for name in living if process_gone(leases[name]) is None]
    if elsewhere:
        tell(f"Watching {', '.join(sorted(elsewhere))} of other machines for up to {STALE_AFTER_S:.0f} s …")
        first = {name: leases[name].renewals for name in elsewhere}
        until = time.monotonic() + STALE_AFTER_S + POLL_S
        while time.monotonic() < until and any(
            name in living and living[name].renewals == first[name] for name in elsewhere
        ):
            time.sleep(POLL_S)
            living = watch.living()
    present = watch.leases()
    dead = sorted(name for name in leases if name in present and name not in living)
    for name in dead:
        watch.revoke(name, by=BY)
    return dead


if __name__ == "__main__":
    app()
