"""`nextbest rollback`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import Fail, print_json
from decision.environment import login_name

if TYPE_CHECKING:
    from decision.releases.publishing import Publication


@click.command(epilog="Example: nextbest rollback --list")
@click.argument("version", required=False)
@click.option(
    "--list", "show_list", is_flag=True, help="Show what was in force, and change nothing."
)
@click.option(
    "--models",
    metavar="DIR",
    help="Roll back the model of this folder, and not the policy.",
)
@click.option(
    "--placement", metavar="NAME", help="With --models: the model that decides at this placement."
)
@click.option("--by", metavar="NAME", help="Who rolls back. Default: the login name.")
@click.option("--message", "-m", default="", metavar="TEXT", help="Why.")
@settings_options("redis_url", "key_prefix")
@json_option
def rollback(
    version: str | None,
    show_list: bool,
    models: str | None,
    placement: str | None,
    by: str | None,
    message: str,
    as_json: bool,
    **given: str | None,
) -> None:
    """Return to an earlier policy, or with --models to an earlier model.

    Without VERSION to the one that was in force before; twice is two steps back. Every server
    that follows what is published, or that has this models folder, takes it within seconds. A
    model with a scope is rolled back by itself, with --placement.
    """
    if placement is not None and models is None:
        raise click.UsageError("--placement is about models: give --models too")
    if models is not None:
        _of_models(Path(models), version, placement, show_list, as_json)
        return
    settings = settings_from(**given)

    async def run() -> None:
        from decision.cli.policies import open_existing
        from decision.releases.publishing import history
        from decision.releases.rollback import roll_back_policy
        from decision.server.audit import audit_command

        async with open_existing(settings) as store:
            if show_list:
                _show(await history(store), as_json)
                return
            now = datetime.now(UTC)
            entry = await roll_back_policy(store, version, by or login_name(), message, now)
            await audit_command(store, "policy.rollback", target=entry.version)
        if as_json:
            print_json(entry)
        else:
            click.echo(f"Policy {entry.version} is published again.")

    asyncio.run(run())


def _of_models(
    models: Path, version: str | None, placement: str | None, show_list: bool, as_json: bool
) -> None:
    from decision.releases.rollback import roll_back_model
    from decision.scoring.versions import history

    if not models.is_dir():
        raise Fail(f"{models} is not a folder of models")
    if show_list:
        rows: list[dict[str, Any]] = [change._asdict() for change in history(models)]
        if as_json:
            print_json(rows)
        for row in [] if as_json else rows:
            mark = "rollback" if row["rollback"] else "ended" if row["ended"] else ""
            at = "" if row["placement"] is None else f"at {row['placement']}"
            click.echo("  ".join(filter(None, (row["at"], row["version"], mark, at))))
        return
    version = roll_back_model(models, version, placement)
    if as_json:
        print_json({"version": version})
    elif version is None:
        click.echo(f"{placement} has no model of its own any more: the one for all others decides.")
    else:
        click.echo(f"Model {version} is in force again.")


def _show(entries: Sequence[Publication], as_json: bool) -> None:
    if as_json:
        print_json(entries)
        return
    if not entries:
        click.echo("Nothing is published yet.")
    for entry in entries:
        at = entry.at.strftime("%Y-%m-%d %H:%M:%SZ")
        mark = "*" if entry is entries[-1] else " "
        click.echo(
            f"{mark} {at}  {entry.version}  {entry.kind:8}  {entry.by}  {entry.message}".rstrip()
        )
