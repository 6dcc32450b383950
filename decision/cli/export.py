"""`nextbest export`."""

from __future__ import annotations

import asyncio
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import IO

import rich_click as click

from decision.cli.looking import alias_option, customer_named
from decision.cli.options import settings_from, settings_options
from decision.cli.output import Fail
from decision.files import replacing


@click.command(epilog="Example: nextbest export c-1024 --archive archive --out c-1024.ndjson")
@click.argument("customer_id", required=False)
@alias_option
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file, which appears when it is complete.",
)
@settings_options("redis_url", "key_prefix", "archive", "lowercase_emails")
def export(
    customer_id: str | None,
    alias: tuple[str, str] | None,
    out: Path | None,
    **given: str | None,
) -> int:
    """Write all that is known of a customer, as lines of JSON.

    That is everything stored, logged and archived, merged customers and aliases that were customers
    of their own included. The last line says that it is complete. Exit code 1: no customer has this
    id, or something could not be read, which the last line then says. The audit log has an
    entry of it.
    """
    settings = settings_from(**given)

    async def write(file: IO[bytes]) -> bytes:
        from decision.cli.looking import engine_to_look
        from decision.server.audit import audit_command
        from decision.server.exporting import Exports

        last = b""
        async with engine_to_look(settings) as engine:
            named = await customer_named(engine, customer_id, alias)
            await audit_command(engine.runtime.store, "customer.export", customer=named)
            async for last in Exports(engine, settings.archive).lines(named):
                file.write(last)
        return last

    with nullcontext(sys.stdout.buffer) if out is None else replacing(out) as file:
        last = asyncio.run(write(file))
        file.flush()
        if b'"kind":"end"' not in last:
            raise Fail("the export is not complete; its last line says why")
    return 0
