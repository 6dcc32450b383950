"""`nextbest restore`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from decision.cli.options import ArchivePath, json_option, settings_from, settings_options
from decision.cli.output import TERMINAL, print_json, say
from decision.core.clock import from_micros
from decision.installation import require
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.maintenance.backups.restoring import Restored, RestoreOptions
    from decision.maintenance.backups.survey import Survey
    from decision.server.settings import ServerSettings


@click.command(epilog="Example: nextbest restore /backups/nextbest-20261127-020000.backup")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Remove first what is in the store.")
@click.option(
    "--from-prefix",
    metavar="PREFIX",
    help="The key prefix that FILE is of, where it is not that of --key-prefix.",
)
@click.option(
    "--deliveries",
    type=click.Choice(["hold", "send"]),
    default="hold",
    show_default=True,
    help="What becomes of deliveries that waited: hold them, since they may have been sent after "
    "the backup; or send them, where nothing has run since.",
)
@click.option(
    "--archive",
    metavar="DIR",
    type=ArchivePath(),
    help="Erase again who was erased after the backup, by this archive.",
)
@settings_options("redis_url", "key_prefix")
@json_option
def restore(
    file: Path,
    replace: bool,
    from_prefix: str | None,
    deliveries: str,
    archive: Path | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Put back a backup into an empty store.

    The store may be on one server or on several, whichever FILE came from. Stop servers,
    archivers and outbound workers first. FILE is read to its end before anything is
    written. What happened after the backup is not in it: see docs/operating.md for what to do. A
    restore that is interrupted is given again, with --replace; no server starts until then.

    Exit code 1: FILE cannot be used, the store is not empty, or did not answer.
    """
    from decision.maintenance.backups.restoring import RestoreOptions, survey_backup

    settings, erased = settings_from(**given), {}
    if archive is not None:
        require("nextbest restore --archive")
        from decision.archive.erasure_notes import erasures_in

        erased = erasures_in(archive)
    options = RestoreOptions(
        prefix=settings.key_prefix,
        from_prefix=from_prefix,
        replace=replace,
        send=deliveries == "send",
        erased=erased,
    )
    survey = survey_backup(file, options, TERMINAL)
    done = asyncio.run(_restore(file, survey, options, settings))
    if as_json:
        print_json({**done._asdict(), "taken": from_micros(done.taken)})
        return 0
    click.echo(
        f"{count_of(done.customers, 'customer')} and {count_of(sum(done.keys.values()), 'key')} as "
        f"of {from_micros(done.taken):%Y-%m-%d %H:%M:%S} UTC"
    )
    if done.erased:
        click.echo(f"{count_of(done.erased, 'customer')} erased again")
    if done.waiting and not options.send:
        say(
            f"{count_of(done.waiting, 'delivery', 'deliveries')} waited, and are held: nextbest "
            "outbox list shows them, nextbest outbox retry sends them"
        )
    return 0


async def _restore(
    file: Path, survey: Survey, options: RestoreOptions, settings: ServerSettings
) -> Restored:
    from decision.cli.policies import tell_of_new_store
    from decision.maintenance.backups.restoring import restore_backup
    from decision.server.audit import audit_command
    from decision.server.opening import open_store
    from decision.store.redis_store import RedisStore

    tell_of_new_store(settings)
    async with open_store(settings, start=False) as store:
        assert isinstance(store, RedisStore), "what settings name is one"
        await store.start(incomplete=options.replace)
        done = await restore_backup(store, file, survey, options, TERMINAL)
        await audit_command(store, "store.restore", target=file.name)
        return done
