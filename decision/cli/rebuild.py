"""`nextbest rebuild`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from decision.cli.options import ArchivePath, json_option, settings_from, settings_options
from decision.cli.output import print_json, progress
from decision.installation import require
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.maintenance.rebuilding import Rebuilt
    from decision.server.settings import ServerSettings


@click.command(epilog="Example: nextbest rebuild --archive archive --types view,purchase")
@click.option(
    "--archive",
    envvar="NEXTBEST_ARCHIVE",
    show_envvar=True,
    required=True,
    metavar="DIR",
    type=ArchivePath(),
    help="The folder that `nextbest archive` writes.",
)
@click.option(
    "--types", metavar="TYPES", help="Only these event types, separated by commas. Default: all."
)
@settings_options("redis_url", "key_prefix", "rules", "models")
@json_option
def rebuild(archive: Path, types: str | None, as_json: bool, **given: str | None) -> None:
    """Fill measures and scores of a changed policy from the archive.

    If a new policy or model reads events.view.sum_price_30d, all customers get it as if it had
    always been kept: their events, in the archive and still in the log, are counted again for the
    rules and the model named here, with all that is derived from them. Put these in force first, so
    that new events are also counted for them. Decisions go on meanwhile; running it again
    changes nothing.
    """
    require("nextbest rebuild")  # before it becomes a reader of the log
    wanted = None if types is None else {name.strip() for name in types.split(",") if name.strip()}
    found = asyncio.run(_rebuild(archive, wanted, settings_from(**given)))
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    click.echo(
        f"{count_of(found.changed, 'customer')} of {found.customers:,} changed, "
        f"{count_of(found.events, 'event')} counted"
    )
    if found.incomplete:
        click.echo(
            f"for {count_of(found.incomplete, 'customer')} more events were counted than the "
            "archive has; their counts are kept"
        )


async def _rebuild(archive: Path, types: set[str] | None, settings: ServerSettings) -> Rebuilt:
    from decision.cli.policies import engine_of, need_store
    from decision.maintenance.rebuilding import Rebuilding
    from decision.store.redis_store import RedisStore

    need_store(settings)
    async with engine_of(settings) as engine:
        store = engine.runtime.store
        assert isinstance(store, RedisStore)
        snapshot = engine.runtime.snapshot
        counted = {*snapshot.measures, *snapshot.policy.scores.event_types}
        known = counted.union(map(snapshot.policy.derivations.root, counted))
        unknown = sorted((types or set()) - known)
        if unknown:
            raise click.UsageError(
                f"neither rules nor model read events of type {unknown[0]!r}; "
                f"they read {', '.join(sorted(known)) or 'none'}"
            )
        with progress("Customers") as move:
            return await Rebuilding(engine.runtime, store, archive, types).run(move)
