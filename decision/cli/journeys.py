"""`nextbest journeys list|show`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from decision.cli.looking import alias_option
from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import Fail, console, print_json, say

if TYPE_CHECKING:
    from decision.core.definition import PolicyDefinition
    from decision.core.journeys.counts import JourneyCounts
    from decision.core.journeys.definition import Journey
    from decision.core.ports import Store
    from decision.outbound.journey_views import RunView
    from decision.server.settings import ServerSettings

_store_options = settings_options("redis_url", "key_prefix", "rules", "follow")


@click.group(epilog="Example: nextbest journeys show welcome")
def journeys() -> None:
    """Look at journeys: who waits where, and how runs ended."""


@journeys.command("list", epilog="Example: nextbest journeys list")
@_store_options
@json_option
def list_(as_json: bool, **given: str | None) -> None:
    """List the journeys in force, with the runs under way and how runs ended.

    Those of the rules folder; with --follow published, of what is published. A journey that is in
    the rules no more is listed while the store has counts of it.
    """
    settings = settings_from(**given)

    async def work() -> tuple[list[str], dict[str, JourneyCounts]]:
        from decision.cli.policies import open_existing
        from decision.core.journeys.counts import counts_by_journey

        async with open_existing(settings) as store:
            definition = await _in_force(store, settings)
            names = [journey.name for journey in definition.journeys]
            return names, counts_by_journey(await store.tallies())

    names, counts = asyncio.run(work())
    rows = [_counted(name, name in names, counts) for name in dict.fromkeys((*names, *counts))]
    if as_json:
        print_json(rows)
        return
    from rich.markup import escape
    from rich.table import Table

    if not rows:
        click.echo("there are no journeys")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("journey", "running", "waiting", "ended", "refused"):
        right = column in ("running", "refused")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in rows:
        gone = "" if row["in_force"] else " (not in the rules)"
        waiting, ended = _listed(row["waiting"]), _listed(row["ended"])
        running, refused = f"{row['running']:,}", f"{row['refused']:,}"
        table.add_row(escape(row["journey"]) + gone, running, waiting, ended, refused)
    console().print(table)


@journeys.command(epilog="Example: nextbest journeys show welcome --customer c-1024")
@click.argument("name")
@click.option("--customer", "customer_id", metavar="ID", help="The runs of this customer.")
@alias_option
@click.option(
    "--next", "most", type=click.IntRange(0), default=5, show_default=True, help="Runs to show."
)
@click.option("--mermaid", "as_mermaid", is_flag=True, help="Print a diagram, as Mermaid text.")
@click.option(
    "--svg",
    "picture",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a diagram to this file.",
)
@click.option("--counts", is_flag=True, help="In a diagram, how many runs wait in each step.")
@_store_options
@settings_options("lowercase_emails")
@json_option
def show(
    name: str,
    customer_id: str | None,
    alias: tuple[str, str] | None,
    most: int,
    as_mermaid: bool,
    picture: Path | None,
    counts: bool,
    as_json: bool,
    **given: str | None,
) -> None:
    """Show the steps of a journey, the runs that wait in each, and those that go on next.

    Those that go on next are looked for among the customers whose time comes within two hours. With
    --customer, the runs of one customer: the audit log has an entry of it.

    A diagram needs no store, but for --counts, and for rules that are published.
    """
    settings = settings_from(**given)
    if as_mermaid or picture is not None:
        _draw(name, picture, counts, settings)
        return
    if counts:
        raise click.UsageError("--counts is for --mermaid and --svg; without them they are shown")
    one = customer_id is not None or alias is not None

    async def work() -> tuple[Journey | None, JourneyCounts, list[RunView]]:
        from decision.cli.looking import customer_named, engine_to_look
        from decision.core.journeys.counts import JourneyCounts, counts_by_journey
        from decision.outbound.journey_views import coming_runs, runs_of_customer
        from decision.server.audit import audit_command

        async with engine_to_look(settings) as engine:
            store = engine.runtime.store
            definition = await _in_force(store, settings)
            counts = counts_by_journey(await store.tallies())
            journey = _journey(definition, name, counts)
            if one:
                customer = await customer_named(engine, customer_id, alias)
                runs = await runs_of_customer(store, name, customer)
                await audit_command(store, "customer.runs", customer=customer)
            else:
                runs = await coming_runs(store, name, most)
            return journey, counts.get(name, JourneyCounts()), runs

    journey, own, runs = asyncio.run(work())
    steps = _steps(journey, own)
    if as_json:
        shown = _counted(name, journey is not None, {name: own})
        print_json({**shown, **_said(journey), "steps": steps, "runs": runs})
        return
    _show(journey, name, steps, own)
    _show_runs(runs, "runs of this customer" if one else "next")


def _draw(name: str, picture: Path | None, counted: bool, settings: ServerSettings) -> None:
    """Draws a journey: to the file, or else as text."""
    from decision.cli.policies import open_existing, read_rules
    from decision.core.journeys.counts import JourneyCounts, counts_by_journey
    from decision.diagrams.chart import chart_of
    from decision.diagrams.mermaid import mermaid
    from decision.diagrams.svg import svg
    from decision.files import replacing

    async def look() -> tuple[PolicyDefinition, dict[str, JourneyCounts]]:
        async with open_existing(settings) as store:
            return await _in_force(store, settings), counts_by_journey(await store.tallies())

    if counted or settings.follow == "published":
        definition, counts = asyncio.run(look())
    else:
        definition, counts = read_rules(settings.rules), {}
    journey = _journey(definition, name, {})
    assert journey is not None
    waiting = counts.get(name, JourneyCounts()).waiting if counted else None
    chart = chart_of(journey, waiting)
    if picture is None:
        click.echo(mermaid(chart), nl=False)
        return
    with replacing(picture) as file:
        file.write(svg(chart).encode())
    say(f"wrote {picture}")


async def _in_force(store: Store, settings: ServerSettings) -> PolicyDefinition:
    """The policy that servers have: what is published, if they follow that, else the folder's."""
    from decision.cli.policies import read_rules
    from decision.releases.publishing import files_of, published
    from decision.rulebook.reader import load_files

    if settings.follow != "published":
        return read_rules(settings.rules)
    entry = await published(store)
    files = None if entry is None else await files_of(store, entry.version)
    definition = None if files is None else load_files(files).definition
    if definition is None:
        raise Fail("no policy is published that can be read: run nextbest publish RULES")
    return definition


def _journey(
    definition: PolicyDefinition, name: str, counts: dict[str, JourneyCounts]
) -> Journey | None:
    """The journey of a name; None where the rules have it no more."""
    from decision.rulebook.diagnostics import hint_for

    known = {journey.name: journey for journey in definition.journeys}
    if name not in known and name not in counts:
        hint = hint_for(name, (*known, *counts)) or "the rules have none"
        raise Fail(f"there is no journey {name}; {hint}")
    return known.get(name)


def _counted(name: str, in_force: bool, counts: dict[str, JourneyCounts]) -> dict[str, Any]:
    from decision.core.journeys.counts import JourneyCounts

    own = counts.get(name, JourneyCounts())
    return {
        "journey": name,
        "in_force": in_force,
        "running": own.running,
        **msgspec.to_builtins(own),
    }


def _said(journey: Journey | None) -> dict[str, Any]:
    """What the rules say of a journey beside its steps."""
    from decision.core.journeys.words import conditions_words

    return {} if journey is None else {"source": journey.source, **conditions_words(journey)}


def _steps(journey: Journey | None, counts: JourneyCounts) -> list[dict[str, Any]]:
    """Each step with the runs in it; last, those in steps that the rules have no more."""
    from decision.core.journeys.words import step_words

    does = {step.name: step_words(step) for step in journey.steps} if journey else {}
    names = dict.fromkeys((*does, *counts.waiting))
    return [
        {"step": name, "does": does.get(name), "waiting": counts.waiting.get(name, 0)}
        for name in names
    ]


def _show(
    journey: Journey | None, name: str, steps: list[dict[str, Any]], counts: JourneyCounts
) -> None:
    from rich.markup import escape
    from rich.table import Table

    said = _said(journey)
    source = said.pop("source", "not in the rules")
    click.echo(f"{name} ({source})")
    for word, text in said.items():
        click.echo(f"  {word}: {text}")
    table = Table(box=None, padding=(0, 0, 0, 2))
    for column in ("step", "waiting", "what it does"):
        table.add_column(column, justify="right" if column == "waiting" else "left")
    for row in steps:
        moved = bool(journey) and row["step"] in (journey.moved if journey else ())
        gone = "goes on in " + journey.moved[row["step"]] if journey and moved else "is gone"
        table.add_row(escape(row["step"]), f"{row['waiting']:,}", escape(row["does"] or gone))
    console().print(table)
    ended = _listed(counts.ended) or "none"
    refused = f"; refused: {counts.refused:,}" if counts.refused else ""
    click.echo(f"running: {counts.running:,}; ended: {ended}{refused}")


def _show_runs(runs: list[RunView], what: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    if not runs:
        click.echo(f"{what}: none")
        return
    click.echo(f"{what}:")
    table = Table(box=None, padding=(0, 0, 0, 2))
    for column in ("due", "customer", "step", "since", "key", "asks", "run"):
        table.add_column(column, overflow="fold")
    for run in runs:
        since = "before it" if run.since is None else _time(run.since)
        shown = [run.customer_id, run.step, since, run.key, str(run.asks), run.run]
        table.add_row(_time(run.due), *map(escape, shown))
    console().print(table)


def _listed(counts: dict[str, int]) -> str:
    most = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{name} {count:,}" for name, count in most)


def _time(at: Any) -> str:
    return str(at.strftime("%Y-%m-%d %H:%M:%SZ"))
