"""`nextbest audit`."""

from __future__ import annotations

import asyncio

import msgspec
import rich_click as click

from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import console, print_json


@click.command(epilog="Example: nextbest audit --last 20")
@click.option(
    "--last",
    default=100,
    show_default=True,
    metavar="NUMBER",
    type=click.IntRange(min=1),
    help="How many entries to show.",
)
@click.option("--customer", metavar="ID", help="Only what was done to this customer.")
@settings_options("redis_url", "key_prefix")
@json_option
def audit(last: int, customer: str | None, as_json: bool, **given: str | None) -> None:
    """Show who changed what for good, and who looked customers up.

    That is who erased, merged, reloaded, published and rolled back, who gave an audience out, and
    who found a customer by an alias, saw a timeline or exported somebody.

    The store keeps the last 10,000 entries of changes, and as many of looks; the server's log has
    the same as `audit`, and changes of consents. Customers are named by pseudonyms.
    """
    from decision.cli.policies import open_existing
    from decision.server.audit import AuditEntry, entries
    from decision.store.pseudonyms import pseudonyms

    async def read() -> list[AuditEntry]:
        async with open_existing(settings_from(**given)) as store:
            found = await entries(store, None if customer else last)
            if customer is not None:
                name = (await pseudonyms(store)).of(customer)
                found = [entry for entry in found if name in (entry.target, entry.source)]
            return found[-last:]

    found = asyncio.run(read())
    if as_json:
        print_json([msgspec.to_builtins(entry) for entry in found])
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("at", "action", "by", "result", "target", "request_id"):
        table.add_column(column, no_wrap=True)
    for entry in found:
        by = f"{entry.by} (command)" if entry.command else entry.by
        about = " ← ".join(filter(None, (entry.target, entry.source)))
        at = entry.at.strftime("%Y-%m-%d %H:%M:%SZ")
        table.add_row(at, entry.action, by, entry.result, about, entry.request_id or "")
    console().print(table)
