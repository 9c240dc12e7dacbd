"""Copy tickets from elsewhere into a store, as stages that are done: a moved store needs no source any more."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from orchestrator.imports.contents import read_ticket
from orchestrator.planning.plan import Node, Plan
from orchestrator.recipes.experiments import Experiment, ForeignTicket
from orchestrator.store import Store, StoreError
from orchestrator.store.provenance import STATED, code_provenance
from orchestrator.store.record import Record
from tickets import save
from tickets.parquet import content_blake2b
from workers.attempts.workspace import artifact
from workers.stages import Imported, to_science
from workers.stages.job import Job
from workers.storage import artifacts, schemas


def import_tickets(plan: Plan, experiments: Iterable[Experiment], store: Store, driver: str) -> list[str]:
    """Copy the plan's tickets from elsewhere that the store lacks, or holds damaged; return the names of the copies.

    Args:
        driver: of the lease that the caller holds.

    Raises:
        StoreError: a ticket changed since it was read, or the store cannot be written.
    """
    tickets = {ticket.stage: ticket for experiment in experiments for ticket in experiment.tickets}
    wanted = {node.key: (node, node.stage) for node in plan if isinstance(node.stage, Imported)}
    if not wanted:
        return []
    damaged: dict[str, str] = {}
    records = store.records(damaged)
    copied = []
    for key, (node, stage) in wanted.items():
        if key in records and store.damage(key):
            store.quarantine(key, "damaged")
        elif key in records and not any(key.startswith(short) for short in damaged):
            continue
        _copy(node, tickets[stage], store, driver)
        copied.append(node.name)
    return copied


def _copy(node: Node, ticket: ForeignTicket, store: Store, driver: str) -> None:
    """Write one ticket's artifacts and record."""
    began = time.monotonic()
    content, state = read_ticket(ticket.found)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save(content, folder / schemas.TICKET)
        if state is not None:
            artifacts.save_weights(folder / schemas.WEIGHTS, state, content.masks)
        weights_blake2b = None if state is None else artifacts.state_digest(state)
        if ticket.stage != Imported(content_blake2b(content), weights_blake2b):
            raise StoreError(f"{ticket.found.place} has changed since the sweep read it; repeat the command")
        store.locate(node.stage.kind, node.name, node.key)
        attempt = None
        while attempt is None:  # another driver that copies the same ticket takes another attempt
            store.list_files(node.key)
            attempt = store.claim(node.key, driver)
        store.write_stage_file(node.key, Job(node.key, node.name, node.stage, {}).to_json())
        for path in folder.iterdir():
            store.storage.upload(path, f"{attempt}/out/{path.name}")
        number = int(attempt.rpartition("/")[2])
        files = {path.name: artifact(path) for path in sorted(folder.iterdir())}
    stated = ticket.provenance
    store.commit(
        Record(
            key=node.key,
            kind=node.stage.kind,
            name=node.name,
            labels=node.labels,
            science=to_science(node.stage),
            inputs={},
            attempt=number,
            out=f"attempts/{number}/out",
            files=files,
            results={"density": content.density},
            seconds=time.monotonic() - began,
            finished_unix_s=time.time(),
            provenance={
                **code_provenance(),
                STATED: {
                    "source": ticket.source,
                    "place": ticket.found.place,
                    "chosen": ticket.found.chosen,
                    "fingerprint": ticket.found.fingerprint,
                    **vars(stated),
                },
            },
        )
    )
