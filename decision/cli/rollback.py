"""`nextbest rollback`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from decision.cli.options import (
    json_option,
    scope_from,
    scope_options,
    settings_from,
    settings_options,
)
from decision.cli.output import Fail, print_json
from decision.environment import login_name

if TYPE_CHECKING:
    from decision.releases.publishing import Publication
    from decision.scoring.scope import Scope
    from decision.scoring.versions import HistoryEntry


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
@scope_options("With --models: the model that decides")
@click.option("--by", metavar="NAME", help="Who rolls back. Default: the login name.")
@click.option("--message", "-m", default="", metavar="TEXT", help="Why.")
@settings_options("redis_url", "key_prefix")
@json_option
def rollback(
    version: str | None,
    show_list: bool,
    models: str | None,
    placement: str | None,
    purpose: str | None,
    by: str | None,
    message: str,
    as_json: bool,
    **given: str | None,
) -> None:
    """Return to an earlier policy, or with --models to an earlier model.

    Without VERSION to the one that was in force before; twice is two steps back. Every server
    that follows what is published, or that has this models folder, takes it within seconds. A
    model with a scope is rolled back by itself, with --placement, --purpose or both.
    """
    if (placement is not None or purpose is not None) and models is None:
        raise click.UsageError("--placement and --purpose are about models: give --models too")
    if models is not None:
        _of_models(Path(models), version, scope_from(placement, purpose), show_list, as_json)
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
    models: Path, version: str | None, scope: Scope, show_list: bool, as_json: bool
) -> None:
    from decision.releases.rollback import roll_back_model
    from decision.scoring.versions import history

    if not models.is_dir():
        raise Fail(f"{models} is not a folder of models")
    if show_list:
        changes = history(models)
        if as_json:
            print_json([_as_json(change) for change in changes])
        for one in [] if as_json else changes:
            mark = "rollback" if one.rollback else "ended" if one.ended else ""
            click.echo("  ".join(filter(None, (one.at, one.version, mark, str(one.scope)))))
        return
    version = roll_back_model(models, version, scope)
    if as_json:
        print_json({"version": version})
    elif version is None:
        click.echo(
            f"{scope} has no model of its own any more: that of the next wider scope decides."
        )
    else:
        click.echo(f"Model {version} is in force again.")


def _as_json(change: HistoryEntry) -> dict[str, Any]:
    scope = {"placement": change.scope.placement, "purpose": change.scope.purpose}
    return {name: one for name, one in change._asdict().items() if name != "scope"} | scope


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
