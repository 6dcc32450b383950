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
from decision.cli.publish import as_row, who

if TYPE_CHECKING:
    from decision.core.ports import Store
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
@click.option("--by", metavar="NAME", help="Who rolls back. Default: the login name.")
@click.option("--message", "-m", default="", metavar="TEXT", help="Why.")
@settings_options("redis_url", "key_prefix")
@json_option
def rollback(
    version: str | None,
    show_list: bool,
    models: str | None,
    by: str | None,
    message: str,
    as_json: bool,
    **given: str | None,
) -> None:
    """Return to an earlier policy, or with --models to an earlier model.

    Without VERSION to the one that was in force before; twice is two steps back. Every server
    that follows what is published, or that has this models folder, takes it within seconds.
    """
    if models is not None:
        _of_models(Path(models), version, show_list, as_json)
        return
    settings = settings_from(**given)

    async def run() -> None:
        from decision.releases.publishing import history
        from decision.server.opening import open_store

        async with open_store(settings) as store:
            entries = await history(store)
            if show_list:
                _show(entries, as_json)
                return
            entry = await _roll_back(store, entries, version, by or who(), message)
        if as_json:
            print_json(as_row(entry))
        else:
            click.echo(f"Policy {entry.version} is published again.")

    asyncio.run(run())


async def _roll_back(
    store: Store, entries: Sequence[Publication], version: str | None, by: str, message: str
) -> Publication:
    from decision.releases.publishing import roll_back, versions_standing

    stands = versions_standing(entries)
    if not stands:
        raise Fail("nothing is published yet; nextbest publish RULES does so")
    if version is None:
        if len(stands) < 2:
            raise Fail(f"policy {stands[-1]} is the first that was published; name a VERSION")
        version = stands[-2]
    else:
        version = _chosen(version, [entry.version for entry in entries], "published policy")
    if version == entries[-1].version:
        raise Fail(f"policy {version} is the one in force; rollback --list shows the others")
    entry = await roll_back(store, version, by, message, datetime.now(UTC))
    if entry is None:
        raise Fail(f"the files of policy {version} are no longer in the store; publish them again")
    return entry


def _of_models(models: Path, version: str | None, show_list: bool, as_json: bool) -> None:
    from decision.scoring.manifest import ModelError
    from decision.scoring.versions import (
        current_version,
        earlier_versions,
        history,
        point_to,
        versions,
    )

    if not models.is_dir():
        raise Fail(f"{models} is no folder of models")
    if show_list:
        rows: list[dict[str, Any]] = [change._asdict() for change in history(models)]
        if as_json:
            print_json(rows)
        for row in [] if as_json else rows:
            click.echo(f"{row['at']}  {row['version']}{'  rollback' if row['rollback'] else ''}")
        return
    names = [place.relative_to(models).as_posix() for place in versions(models)]
    if version is None:
        there = [name for name in earlier_versions(models) if name in names]
        if not there:
            raise Fail(f"{models} has no earlier model that was in force; name a VERSION")
        version = there[0]
    else:
        version = _chosen(version, names, "model version")
    try:
        place = current_version(models)
        if place is not None and place.resolve() == (models / version).resolve():
            raise Fail(f"model {version} is the one in force")
    except ModelError:
        pass  # what is in force cannot be read: all the more reason to leave it
    point_to(models, models / version, rollback=True)
    if as_json:
        print_json({"version": version})
    else:
        click.echo(f"Model {version} is in force again.")


def _chosen(wanted: str, names: Sequence[str], noun: str) -> str:
    """The name that is meant: whole, its last part, or the beginning of just one.

    Raises:
        Fail: there is none, or there are several; the nearest are named.
    """
    from difflib import get_close_matches

    known = list(dict.fromkeys(reversed(names)))
    for fits in (str.__eq__, _is_last_part, str.startswith, _last_part_begins):
        found = [name for name in known if fits(name, wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            raise Fail(f"{wanted} may be {', '.join(found[:5])}; write more of it")
    near = get_close_matches(wanted, known, n=3, cutoff=0) or known[:3]
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    raise Fail(f"there is no {noun} {wanted}{hint}; rollback --list shows all")


def _is_last_part(name: str, wanted: str) -> bool:
    return name.rpartition("/")[2] == wanted


def _last_part_begins(name: str, wanted: str) -> bool:
    return name.rpartition("/")[2].startswith(wanted)


def _show(entries: Sequence[Publication], as_json: bool) -> None:
    if as_json:
        print_json([as_row(entry) for entry in entries])
        return
    if not entries:
        click.echo("Nothing is published yet.")
    for entry in entries:
        at = entry.at.strftime("%Y-%m-%d %H:%M:%SZ")
        mark = "*" if entry is entries[-1] else " "
        click.echo(
            f"{mark} {at}  {entry.version}  {entry.kind:8}  {entry.by}  {entry.message}".rstrip()
        )
