"""`nextbest backup`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import TERMINAL, Fail, print_json
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.maintenance.backups.taking import Taken
    from decision.server.settings import ServerSettings


@click.command(epilog="Example: nextbest backup /backups")
@click.argument("file", metavar="FILE|DIR", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="FILE may be there already.")
@settings_options("redis_url", "key_prefix")
@json_option
def backup(file: Path, overwrite: bool, as_json: bool, **given: Any) -> int:
    """Write all that the store has to one file.

    Servers may go on meanwhile. The file has policies, customers with everything about them,
    journeys, deliveries that wait, budgets, coupon codes, and what is not archived yet of the log.
    In a folder, it gets a name with the time. It appears when it is complete, and only its owner
    can read it. Rules and models in folders, and the archive, are files of their own: copy these as
    well.

    Exit code 1: there is no store, it did not answer, or FILE cannot be written.
    """
    from decision.engine.runtime import wall_clock
    from decision.maintenance.backups.taking import name_in

    path = name_in(file, wall_clock()) if file.is_dir() else file
    if not path.parent.is_dir():  # a volume that is not mounted must not become a folder
        raise Fail(f"there is no folder {path.parent}; make it, or name another")
    if path.exists() and not overwrite:
        raise Fail(f"{path} exists already; name another file, or add --overwrite")
    taken = asyncio.run(_take(path, settings_from(**given)))
    if as_json:
        print_json({**taken._asdict(), "path": str(path)})
        return 0
    customers, keys = taken.customers, sum(taken.keys.values())
    click.echo(
        f"{path}: {count_of(customers, 'customer')}, {count_of(keys, 'key')}, {taken.size:,} bytes"
    )
    return 0


async def _take(path: Path, settings: ServerSettings) -> Taken:
    from decision.cli.policies import open_existing
    from decision.maintenance.backups.taking import take_backup
    from decision.server.audit import audit_command
    from decision.store.redis_store import RedisStore

    async with open_existing(settings) as store:
        assert isinstance(store, RedisStore), "what settings name is one"
        await audit_command(store, "store.backup", target=path.name)
        return await take_backup(store, path, settings.key_prefix, TERMINAL)
