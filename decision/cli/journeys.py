"""`nextbest journeys list|show|pause|resume|stop`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import rich_click as click

from decision.cli.looking import alias_option
from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import Fail, print_json, say

if TYPE_CHECKING:
    from decision.core.definition import PolicyDefinition
    from decision.core.journeys.definition import Journey
    from decision.core.ports import Store
    from decision.outbound.journey_views import JourneyView, RunView
    from decision.server.settings import ServerSettings

_LONGEST_WHY: Final = 200

_store_options = settings_options("redis_url", "key_prefix", "rules", "follow")
_why_option = click.option(
    "--why", default="by hand", metavar="TEXT", help="Why: whoever lists journeys sees it."
)


@click.group(epilog="Example: nextbest journeys show welcome")
def journeys() -> None:
    """Look at journeys, pause and stop them.

    list and show say how many runs wait where, and how runs ended.
    """


@journeys.command("list", epilog="Example: nextbest journeys list")
@_store_options
@json_option
def list_(as_json: bool, **given: str | None) -> None:
    """List the journeys in force, with the runs under way and how runs ended.

    Those of the rules folder; with --follow published, of what is published. A journey that is in
    the rules no more is listed while the store has counts of it. `held back` are customers whose
    runs are due and do not go on: it is paused or stopped, or its limits allow no more.
    """
    from decision.cli.journeys_shown import print_list

    settings = settings_from(**given)

    async def work() -> list[JourneyView]:
        from decision.cli.policies import open_existing, policy_in_force
        from decision.outbound.journey_views import journey_views

        async with open_existing(settings) as store:
            views = await journey_views(store, await policy_in_force(store, settings))
            return list(views.values())

    views = asyncio.run(work())
    if as_json:
        print_json(views)
    else:
        print_list(views)


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
    from decision.cli.journeys_shown import print_journey, print_runs

    settings = settings_from(**given)
    if as_mermaid or picture is not None:
        _draw(name, picture, counts, settings)
        return
    if counts:
        raise click.UsageError("--counts is for --mermaid and --svg; without them they are shown")
    one = customer_id is not None or alias is not None

    async def work() -> tuple[Journey | None, JourneyView, list[RunView]]:
        from decision.cli.looking import customer_named, engine_to_look
        from decision.cli.policies import policy_in_force
        from decision.outbound.journey_views import coming_runs, journey_views, runs_of_customer
        from decision.server.audit import audit_command

        async with engine_to_look(settings) as engine:
            store = engine.runtime.store
            definition = await policy_in_force(store, settings)
            view = _named(name, await journey_views(store, definition))
            if one:
                customer = await customer_named(engine, customer_id, alias)
                runs = await runs_of_customer(store, name, customer)
                await audit_command(store, "customer.runs", customer=customer)
            else:
                runs = await coming_runs(store, name, most, engine.runtime.clock())
            return _journey(definition, name), view, runs

    from decision.core.journeys.words import conditions_words
    from decision.outbound.journey_views import step_views

    journey, view, runs = asyncio.run(work())
    said = {"source": journey.source, **conditions_words(journey)} if journey else {}
    steps = step_views(journey, view.waiting)
    if as_json:
        print_json({**msgspec.structs.asdict(view), **said, "steps": steps, "runs": runs})
        return
    print_journey(view, said, steps)
    print_runs(runs, "runs of this customer" if one else "next, within two hours")


@journeys.command(epilog='Example: nextbest journeys pause welcome --why "wrong coupon"')
@click.argument("name")
@_why_option
@_store_options
@json_option
def pause(name: str, why: str, as_json: bool, **given: str | None) -> None:
    """Have a journey stand still: no run of it goes on, and nothing is asked.

    Runs still end by its goal and its `stop`; new ones begin, and wait. It lasts until the journey
    is resumed: what is later than `skip_after` then is left out.
    """
    from decision.outbound.holding import pause

    async def work(store: Store, view: JourneyView) -> bool:
        if view.paused is None:
            await pause(store, name, _now(), why[:_LONGEST_WHY])
        return view.paused is None

    _change(name, work, "pause", as_json, given)


@journeys.command(epilog="Example: nextbest journeys resume welcome")
@click.argument("name")
@_store_options
@json_option
def resume(name: str, as_json: bool, **given: str | None) -> None:
    """Let a journey go on that was paused or stopped.

    Runs that were to end, as it was stopped, and that nobody has reached yet, go on as well.
    """
    from decision.outbound.holding import resume

    _change(name, lambda store, view: resume(store, name), "resume", as_json, given)


@journeys.command(epilog='Example: nextbest journeys stop welcome --why "the campaign is over"')
@click.argument("name")
@_why_option
@_store_options
@json_option
def stop(name: str, why: str, as_json: bool, **given: str | None) -> None:
    """End all runs of a journey that are under way, as `cancelled`, one after another.

    Runs that begin later wait until it is resumed. Take it out of the rules, and none begins.
    """
    from decision.outbound.holding import stop

    async def work(store: Store, view: JourneyView) -> bool:
        stopped = view.paused is not None and view.paused.stopped
        if not stopped:
            await stop(store, name, _now(), why[:_LONGEST_WHY])
        return not stopped

    _change(name, work, "stop", as_json, given)


def _change(
    name: str,
    work: Callable[[Store, JourneyView], Awaitable[bool]],
    action: str,
    as_json: bool,
    given: dict[str, str | None],
) -> None:
    """Changes a journey, and says how it stands now. What has changed is in the audit log."""
    from decision.cli.journeys_shown import paused_words

    settings = settings_from(**given)

    async def run() -> tuple[bool, JourneyView]:
        from decision.cli.policies import open_existing, policy_in_force
        from decision.outbound.journey_views import journey_views
        from decision.server.audit import audit_command

        async with open_existing(settings) as store:
            definition = await policy_in_force(store, settings)
            changed = await work(store, _named(name, await journey_views(store, definition)))
            if changed:
                await audit_command(store, f"journey.{action}", target=name)
            return changed, _named(name, await journey_views(store, definition))

    changed, view = asyncio.run(run())
    if as_json:
        print_json({**msgspec.structs.asdict(view), "changed": changed})
        return
    note = "" if changed else "; nothing has changed"
    click.echo(f"journey {name}: {paused_words(view) or 'it goes on'}{note}")


def _draw(name: str, picture: Path | None, counted: bool, settings: ServerSettings) -> None:
    """Draws a journey: to the file, or else as text."""
    from decision.cli.policies import open_existing, policy_in_force, read_rules
    from decision.diagrams.chart import chart_of
    from decision.diagrams.mermaid import mermaid
    from decision.diagrams.svg import svg
    from decision.files import replacing
    from decision.outbound.journey_views import JourneyView, journey_views

    async def look() -> tuple[PolicyDefinition, dict[str, JourneyView]]:
        async with open_existing(settings) as store:
            definition = await policy_in_force(store, settings)
            return definition, await journey_views(store, definition)

    if counted or settings.follow == "published":
        definition, views = asyncio.run(look())
    else:
        definition = read_rules(settings.rules)
        views = {one.name: JourneyView(journey=one.name) for one in definition.journeys}
    view, journey = _named(name, views), _journey(definition, name)
    if journey is None:
        raise Fail(f"journey {name} is not in the rules any more; only its counts are left")
    chart = chart_of(journey, view.waiting if counted else None)
    if picture is None:
        click.echo(mermaid(chart), nl=False)
        return
    with replacing(picture) as file:
        file.write(svg(chart).encode())
    say(f"wrote {picture}")


def _journey(definition: PolicyDefinition, name: str) -> Journey | None:
    """The journey of a name; None where the rules have it no more."""
    return next((one for one in definition.journeys if one.name == name), None)


def _named(name: str, views: dict[str, JourneyView]) -> JourneyView:
    from decision.rulebook.diagnostics import hint_for

    if name not in views:
        hint = hint_for(name, views) or "the rules have none"
        raise Fail(f"there is no journey {name}; {hint}")
    return views[name]


def _now() -> int:
    from decision.engine.runtime import wall_clock

    return wall_clock()
