"""`nextbest timeline`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from decision.cli.looking import alias_option, customer_named
from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import console, print_json

if TYPE_CHECKING:
    from decision.engine.timeline import TimelineRow
    from decision.server.timelines import Timeline


@click.command(epilog="Example: nextbest timeline c-1024 --kinds decision,event")
@click.argument("customer_id", required=False)
@alias_option
@click.option(
    "--kinds", metavar="KIND,…", help="decision, contact, event, consent, delivery, journey."
)
@click.option("--before", metavar="CURSOR", help="The page after this one: `next` of that page.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 100), help="Rows.")
@settings_options("redis_url", "key_prefix", "archive", "lowercase_emails")
@json_option
def timeline(
    customer_id: str | None,
    alias: tuple[str, str] | None,
    kinds: str | None,
    before: str | None,
    limit: int,
    as_json: bool,
    **given: str | None,
) -> None:
    """Show what happened to a customer, the latest first.

    Decisions with what was said, contacts, events, changes of consents, deliveries that wait or
    failed: from the store and, with --archive, from the archive. The audit log has an entry of it.
    """
    from decision.server.timelines import kinds_of

    wanted = kinds_of(kinds)
    settings = settings_from(**given)

    async def look() -> Timeline:
        from decision.cli.looking import engine_to_look
        from decision.server.audit import audit_command
        from decision.server.timelines import Timelines

        async with engine_to_look(settings) as engine:
            named = await customer_named(engine, customer_id, alias)
            page = await Timelines(engine, settings.archive).page(named, wanted, before, limit)
            await audit_command(engine.runtime.store, "customer.timeline", customer=named)
            return page

    page = asyncio.run(look())
    if as_json:
        print_json(page)
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("at", "kind", "what"):
        table.add_column(column, no_wrap=column != "what")
    for row in page.rows:
        table.add_row(row.at.strftime("%Y-%m-%d %H:%M:%SZ"), row.kind, escape(_said(row)))
    console().print(table)
    if page.next is not None:
        click.echo(f"earlier: --before {page.next}")


def _said(row: TimelineRow) -> str:
    """A row in one line."""
    shown = {
        name: value
        for name, value in msgspec.to_builtins(row).items()
        if name not in ("kind", "at", "id") and value is not None
    }
    return ", ".join(f"{name} {_text(value)}" for name, value in shown.items())


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
