"""``winning-sign unlock``: removes the leases of dead drivers."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from orchestrator.store import StoreError
from orchestrator.store.leases import STALE_AFTER_S, Lease, LeaseWatch, process_gone
from orchestrator.terminal.command import STORE_ERRORS, open_existing
from workers.terminal.command import AsJson, add_command, console, new_app, one_sentence, print_json
from workers.terminal.options import StorePath

EXAMPLES = """
winning-sign unlock sweeps --stale
winning-sign unlock /mnt/shared/sweeps --driver node7-4711-0a1b2c3d --yes
"""
POLL_S = 2.0
BY = "orchestrator.unlock"
app = new_app()


@add_command(app, EXAMPLES)
def unlock(
    store: StorePath,
    stale: Annotated[bool, typer.Option("--stale", help="Remove the leases of all dead drivers.")] = False,
    driver: Annotated[str | None, typer.Option(metavar="NAME", help="Remove this driver's lease.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="With --driver: even if the driver looks alive.")] = False,
    json_: AsJson = False,
) -> None:
    """Remove the leases of dead drivers.

    Other drivers then take over the stages at once; without unlock they wait until the lease is stale. A driver on
    this machine is dead when its process is gone. A driver on another machine is dead when its lease does not change
    for half a minute; --stale watches for that time.
    """
    with one_sentence(*STORE_ERRORS):
        if stale == (driver is not None):
            raise StoreError("give either --stale or --driver NAME")
        opened = open_existing(store)
        out = console()
        tell = (lambda line: None) if json_ else out.print
        watch = LeaseWatch(opened.storage)
        leases = watch.leases()
        if driver is not None:
            if driver not in leases:
                holders = ", ".join(sorted(leases)) or "nobody"
                raise StoreError(f"{driver} holds no lease; leases are held by: {holders}")
            removed = [_revoke_named(watch, leases[driver], yes=yes, tell=tell)]
        else:
            removed = _revoke_stale(watch, tell)
        left = sorted(leases.keys() - set(removed))
    if json_:
        print_json({"removed": removed, "left": left})
        return
    for name in removed:
        out.print(f"Removed the lease of {name}; the next sweep continues its stages from their checkpoints.")
    for name in left if stale else []:
        out.print(f"Kept the lease of {name}: this driver is alive.")
    if not leases:
        out.print("No driver holds a lease on this store; there is nothing to unlock.")


def _revoke_named(watch: LeaseWatch, lease: Lease, *, yes: bool, tell: Any) -> str:
    gone = process_gone(lease)
    if not gone and not yes:
        looks = "is alive" if gone is False else "may be alive, on another machine"
        raise StoreError(
            f"{lease.driver} (pid {lease.pid} on {lease.host}) {looks}: without its lease it stops, and other "
            f"drivers take over its stages; give --yes to remove the lease all the same, or --stale to watch whether "
            f"the driver is dead"
        )
    tell(f"Revoking the lease of {lease.driver}: if this driver lives, it stops, and others take over its stages.")
    watch.revoke(lease.driver, by=BY)
    return lease.driver


def _revoke_stale(watch: LeaseWatch, tell: Any) -> list[str]:
    """Remove the leases of dead drivers, after watching the leases of other machines until they are stale."""
    leases = watch.leases()
    living = watch.living()
    elsewhere = [name for name in living if process_gone(leases[name]) is None]
    if elsewhere:
        tell(
            f"Watching the leases of {', '.join(sorted(elsewhere))} on other machines for up to {STALE_AFTER_S:.0f} s …"
        )
        renewals = {name: leases[name].renewals for name in elsewhere}
        end_s = time.monotonic() + STALE_AFTER_S + POLL_S
        while time.monotonic() < end_s and any(
            name in living and living[name].renewals == renewals[name] for name in elsewhere
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
