"""`nextbest erase`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from decision.cli.options import ArchivePath, json_option, settings_from, settings_options
from decision.cli.output import TERMINAL, print_json, say
from decision.installation import require
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.archive.erasing import Erased
    from decision.server.settings import ServerSettings
    from decision.store.erasures import ErasureCertificate


@click.command(epilog="Example: nextbest erase c-1024 --archive archive")
@click.argument("customer_id")
@click.option(
    "--archive",
    metavar="DIR",
    type=ArchivePath(),
    help="Also rewrite the Parquet files of this archive.",
)
@settings_options("redis_url", "key_prefix")
@json_option
def erase(customer_id: str, archive: Path | None, as_json: bool, **given: str | None) -> int:
    """Erase a customer: from the store, and from an archive on disk.

    The store loses the document, aliases, earlier ids that were merged into it, answers kept for
    request ids, deliveries and what providers call them, and the decisions and events in the log.
    With --archive, Parquet files with rows of the customer are rewritten without these rows;
    without it, the next run of `nextbest archive` does this. Erasing again changes nothing. What is
    printed is a certificate: what was removed where, what is pending, and what an erasure does not
    reach.

    Exit code 1: nothing was known of the customer, in the store and, with --archive, there. The
    erasure is logged all the same, so that an archive erases what it may have.
    """
    import msgspec

    if archive is not None:
        require("nextbest erase --archive")  # before the store has lost the customer
    ids, found, proof = asyncio.run(_erase(customer_id, archive, settings_from(**given)))
    if as_json:
        counts = found._asdict() if found is not None else None
        said = {"customer_id": customer_id, "erased": ids, "archive": counts}
        print_json({**said, "certificate": msgspec.to_builtins(proof)})
        return _code(customer_id, ids, found)
    click.echo(f"store: {'erased ' + ', '.join(ids) if ids else 'nothing was there'}")
    if found is not None:
        click.echo(
            f"archive: {count_of(found.rows, 'row')} removed, {count_of(found.rewritten, 'file')} "
            f"of {found.files} rewritten"
        )
    for line in _lines(proof):
        click.echo(line)
    return _code(customer_id, ids, found)


def _code(customer_id: str, ids: list[str], found: Erased | None) -> int:
    """0 where anything was known of the customer; else it is said: the id may be mistyped."""
    if ids or (found is not None and found.rows):
        return 0
    where = "in the store" if found is None else "in the store or the archive"
    say(f"{customer_id!r} is not known {where}; is the id right, and the store the right one?")
    return 1


async def _erase(
    customer_id: str, archive: Path | None, settings: ServerSettings
) -> tuple[list[str], Erased | None, ErasureCertificate]:
    from decision.archive.erasing import erase_from_archive
    from decision.archive.erasure_notes import ArchiveNote, note_archive
    from decision.archive.progress import read_state
    from decision.cli.policies import open_existing
    from decision.engine import Engine
    from decision.engine.identity import clean_id
    from decision.engine.runtime import wall_clock
    from decision.server.audit import audit_command

    async with open_existing(settings) as store:
        customers = Engine(store).customers
        erasure = await customers.erase_with_id(customer_id)
        await audit_command(store, "customer.erase", customer=customer_id)
        found = None
        if archive is not None:
            named = {customer_id, clean_id("customer_id", customer_id, stored=True)}
            found = erase_from_archive(archive, named | set(erasure.every_id), TERMINAL)
            state = read_state(archive)
            group = state.group if state is not None else ""
            every = len(erasure.every_id)
            about = ArchiveNote(archive, group, every, found.rows, found.rewritten)
            await note_archive(store, erasure.erasure_id, about, wall_clock())
        return erasure.ids, found, await customers.certificate(erasure.erasure_id)


def _lines(proof: ErasureCertificate) -> list[str]:
    """The certificate for people, without the customer's ids."""
    store = proof.store
    records = sum(store.log_records.values())
    counts = {
        "document": store.documents,
        "alias": store.aliases,
        "answer": store.answers,
        "event id": store.event_ids,
        "coupon code": store.coupon_codes,
        "delivery": store.deliveries,
        "provider id": store.provider_ids,
        "log record": records,
    }
    removed = ", ".join(f"{name} {count}" for name, count in counts.items())
    lines = [
        f"erasure {proof.erasure_id} of {proof.erased_at:%Y-%m-%d %H:%M:%S} UTC",
        f"  removed from Redis: {removed}",
    ]
    if store.log_records:
        lines.append(f"  partitions of the log: {', '.join(store.log_records)}")
    lines += [
        f"  removed from {one.folder}: rows {one.rows}, files rewritten {one.files}"
        for one in proof.archives
    ]
    file = proof.append_only_file
    problem = f", {file.problem}" if file.problem else ""
    lines.append(f"  append-only file: {file.state}{problem}")
    lines += [f"  pending: {one}" for one in proof.pending]
    lines += [f"  not reached: {one}" for one in proof.not_reached]
    return lines
