"""`nextbest erase`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import TERMINAL, print_json
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.archive.erasing import Erased
    from decision.server.settings import ServerSettings


@click.command(epilog="Example: nextbest erase c-1024 --archive archive")
@click.argument("customer_id")
@click.option(
    "--archive",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Also rewrite the Parquet files of this archive.",
)
@settings_options("redis_url", "key_prefix")
@json_option
def erase(customer_id: str, archive: Path | None, as_json: bool, **given: str | None) -> None:
    """Erase a customer: from the store, and from an archive on disk.

    The store loses the document, aliases, earlier ids that were merged into it, answers kept for
    request ids, and the decisions and events in the log. With --archive, Parquet files with rows of
    the customer are rewritten without these rows; without it, the next run of `nextbest archive`
    does this. Erasing again changes nothing.
    """
    from decision.engine.identity import clean_id

    ids = asyncio.run(_from_store(customer_id, settings_from(**given)))
    known = {customer_id, clean_id("customer_id", customer_id, stored=True), *ids}
    found = _from_archive(archive, known) if archive is not None else None
    if as_json:
        counts = found._asdict() if found is not None else None
        print_json({"customer_id": customer_id, "erased": ids, "archive": counts})
        return
    click.echo(f"store: {'erased ' + ', '.join(ids) if ids else 'nothing was there'}")
    if found is not None:
        click.echo(
            f"archive: {count_of(found.rows, 'row')} removed, {count_of(found.rewritten, 'file')} "
            f"of {found.files} rewritten"
        )


async def _from_store(customer_id: str, settings: ServerSettings) -> list[str]:
    from decision.engine import Engine
    from decision.server.opening import open_store

    async with open_store(settings) as store:
        return await Engine(store).customers.erase(customer_id)


def _from_archive(archive: Path, ids: set[str]) -> Erased:
    from decision.archive.erasing import erase_from_archive

    return erase_from_archive(archive, ids, TERMINAL)
