"""What the commands share that look at one customer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

if TYPE_CHECKING:
    from decision.engine import Engine
    from decision.server.settings import ServerSettings

F = TypeVar("F", bound=Callable[..., Any])


def alias_option(command: F) -> F:
    """`--alias TYPE VALUE`, in place of the id."""
    return click.option(
        "--alias",
        nargs=2,
        metavar="TYPE VALUE",
        help="Name the customer by an alias: --alias email li@example.com.",
    )(command)


@asynccontextmanager
async def engine_to_look(settings: ServerSettings) -> AsyncIterator[Engine]:
    """An engine on the store, without rules.

    Raises:
        Fail: there is no store.
    """
    from decision.cli.policies import open_existing
    from decision.engine import Engine, EngineSettings

    async with open_existing(settings) as store:
        own = EngineSettings(lowercase_emails=settings.lowercase_emails)
        yield Engine(store, own)


async def customer_named(
    engine: Engine, customer_id: str | None, alias: tuple[str, str] | None
) -> str:
    """The id that was given, or the customer whom the alias leads to.

    Raises:
        UsageError: neither or both were given.
        NotFound: the alias leads to nobody.
    """
    from decision.core.schema import Alias

    if (customer_id is None) == (alias is None):
        raise click.UsageError("give a customer id, or --alias TYPE VALUE")
    if customer_id is not None:
        return customer_id
    assert alias is not None
    return await engine.customers.find(Alias(*alias))
