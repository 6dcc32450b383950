"""`nextbest outbox list|retry|drop|resume`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import rich_click as click

from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import Fail, console, print_json, say
from decision.core.clock import SECOND, rough_duration
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.core.delivery import DeliveryCounts, DeliveryState, ListedDelivery
    from decision.core.ports import Store
    from decision.core.sending import GatewayPause
    from decision.engine import Engine
    from decision.engine.left_alone import LeftAlone
    from decision.outbound.resuming import Resumed
    from decision.server.settings import ServerSettings

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

STATES: Final = ("queued", "sending", "failed", "unknown")
_PAGE: Final = 500

_SORTED: Final = 1000
"""Deliveries that are read, and put in order, even where fewer are shown."""

_chosen = (
    click.argument("ids", nargs=-1, metavar="[ID]…"),
    click.option("--state", type=click.Choice(STATES), help="All in this state."),
    click.option("--channel", help="Of these, those of this channel."),
)


def _choosing(command: F) -> F:
    for each in reversed(_chosen):
        command = each(command)
    return command


@click.group(epilog="Example: nextbest outbox list --state failed")
def outbox() -> None:
    """Look at deliveries, send some again, or drop them.

    queued: it waits until it is due. sending: an attempt is under way. failed: it was refused, or
    tried too often. unknown: the answer to an attempt was lost, so that it may have arrived.
    """


@outbox.command("list", epilog="Example: nextbest outbox list --state unknown --channel sms")
@click.option("--state", type=click.Choice(STATES), help="Those in this state.")
@click.option("--channel", help="Those of this channel.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="How many at most."
)
@settings_options("redis_url", "key_prefix")
@json_option
def list_(
    state: DeliveryState | None,
    channel: str | None,
    limit: int,
    as_json: bool,
    **given: str | None,
) -> None:
    """List deliveries, with what came of the latest attempt, the oldest decisions first.

    Of more than --limit, and than 1,000, some are looked at. --json has the times, in UTC.
    """

    from decision.engine.left_alone import in_words, left_alone

    async def work(
        store: Store,
    ) -> tuple[
        list[ListedDelivery],
        DeliveryCounts,
        Mapping[str, GatewayPause],
        Mapping[str, LeftAlone],
    ]:
        found = []
        async for row in _listed(store, state, channel):
            found.append(row)
            if len(found) == max(limit, _SORTED):
                break
        found.sort(key=lambda row: (row.delivery.at, row.delivery.id))
        counts = await store.count_deliveries()
        alone = await left_alone(store, counts.waiting, int(time() * SECOND))
        return found[:limit], counts, await store.paused_gateways(), alone

    rows, counts, paused, alone = _run(work, settings_from(**given))
    if as_json:
        print_json(
            {
                "deliveries": [_plain(row) for row in rows],
                "waiting": counts.waiting,
                "behind_seconds": {name: one / 1000 for name, one in counts.behind.items()},
                "oldest_seconds": {name: one / 1000 for name, one in counts.oldest.items()},
                "held": counts.held,
                "paused": {
                    name: {"why": one.why, "at": _time(one.at // 1000)}
                    for name, one in paused.items()
                },
                "left_alone": {
                    channel: {"gateway": one.gateway, "until": _time(one.until // 1000)}
                    for channel, one in alone.items()
                },
            }
        )
        return
    _print(rows)
    if len(rows) == limit:
        click.echo(f"({limit:,} are shown; --limit shows more)")
    waiting = ", ".join(
        f"{number:,} on {name}{_since(counts, name)}"
        for name, number in sorted(counts.waiting.items())
    )
    click.echo(f"waiting: {waiting or 'none'}; failed or unknown: {counts.held:,}")
    for name, one in paused.items():
        click.echo(f"gateway {name} is paused since {_shown(one.at // 1000)}: {one.why}")
    for channel, failing in alone.items():
        if failing.gateway not in paused:
            said = in_words(failing, int(time() * SECOND))
            click.echo(f"channel {channel}: gateway {failing.gateway} {said}")


@outbox.command(epilog="Example: nextbest outbox retry --state failed --channel email")
@_choosing
@settings_options("redis_url", "key_prefix", "rules")
@json_option
def retry(
    ids: tuple[str, ...],
    state: DeliveryState | None,
    channel: str | None,
    as_json: bool,
    **given: str | None,
) -> int:
    """Send deliveries again, or now: those named, or all in a state.

    One that is queued is tried now, instead of when its next attempt is due: for when the provider
    works again. One that failed has released its contact: it is sent again only if caps and budgets
    still have room. One that is unknown may arrive twice. Exit code 1: some cannot be sent again.
    """
    if state == "sending":
        raise click.UsageError("--state queued, failed or unknown: the others are being sent")
    return _change(ids, state, channel, as_json, "to be sent again", _send_again, given)


@outbox.command(epilog="Example: nextbest outbox drop 01J8ZQ6T5B3V9K2M4N7P0R1S2T.welcome")
@_choosing
@settings_options("redis_url", "key_prefix", "rules")
@json_option
def drop(
    ids: tuple[str, ...],
    state: DeliveryState | None,
    channel: str | None,
    as_json: bool,
    **given: str | None,
) -> int:
    """Drop deliveries: those named, or all in a state.

    One that still waits is not sent, and its contact is released. One that failed, or is unknown,
    leaves the list; what is recorded of it stays. Exit code 1: some cannot be dropped.
    """
    return _change(ids, state, channel, as_json, "dropped", _give_up, given)


@outbox.command(epilog="Example: nextbest outbox resume mail")
@click.argument("gateway")
@settings_options("redis_url", "key_prefix", "gateways")
@json_option
def resume(gateway: str, as_json: bool, **given: str | None) -> int:
    """Let a gateway send again that was paused; complaints and bounces are counted anew.

    What waits on its channels for another attempt is tried now, also where it was not paused, or
    was left alone because it failed. Of the gateways file only names are read: no secrets needed.
    Exit code 1: it was not paused, and nothing waits.
    """
    from decision.gateways.names import load_names
    from decision.outbound.resuming import resume_gateway
    from decision.rulebook.diagnostics import hint_for

    settings = settings_from(**given)
    names = None if settings.gateways is None else load_names(settings.gateways)
    known = ["file"] if names is None else names.gateways

    async def work(store: Store) -> tuple[list[str], Resumed]:
        return sorted(await store.paused_gateways()), await resume_gateway(store, gateway, names)

    paused, (done, made) = _run(work, settings)
    if not done and not made:
        if gateway in known:
            raise Fail(f"gateway {gateway} is not paused, and nothing waits for another attempt")
        if names is None:
            which = ", ".join(paused)
            raise Fail(
                f"gateway {gateway} is not paused ({f'paused: {which}' if paused else 'none is'}), "
                "and no gateways file is named that says its channels; add --gateways FILE"
            )
        hint = hint_for(gateway, sorted({*paused, *known}))
        raise Fail(
            f"gateway {gateway} is not paused, nor in the gateways file; {hint}".rstrip("; ")
        )
    if as_json:
        print_json({"gateway": gateway, "resumed": done, "made_due": made})
        return 0
    click.echo(f"gateway {gateway} {'sends again' if done else 'was not paused'}")
    if names is None and gateway != "file":
        say("no gateways file is named: what waits is tried at its next attempt; see --gateways")
    if made:
        click.echo(
            f"{count_of(made, 'delivery that waited is', 'deliveries that waited are')} due now"
        )
    return 0


async def _send_again(engine: Engine, row: ListedDelivery) -> str | None:
    """Why it is not sent again, None where it is."""
    return await engine.delivering.send_again(row)


async def _give_up(engine: Engine, row: ListedDelivery) -> str | None:
    """Why it is not dropped, None where it is."""
    return None if await engine.delivering.give_up(row) else "somebody is sending it, or it is gone"


def _change(
    ids: tuple[str, ...],
    state: DeliveryState | None,
    channel: str | None,
    as_json: bool,
    done: str,
    act: Callable[[Engine, ListedDelivery], Awaitable[str | None]],
    given: dict[str, str | None],
) -> int:
    from decision.cli.policies import need_store, read_rules
    from decision.server.opening import open_engine

    if not ids and state is None:
        raise click.UsageError("name deliveries, or choose them with --state")
    if ids and (state is not None or channel is not None):
        raise click.UsageError("name deliveries, or choose them with --state and --channel")
    settings = settings_from(**given)
    need_store(settings)
    definition = read_rules(settings.rules)

    async def work() -> tuple[int, dict[str, str]]:
        changed, left = 0, dict.fromkeys(ids, "there is none")
        async with open_engine(settings, definition) as engine:
            # Listed first: what is sent again would be met again.
            rows = [row async for row in _listed(engine.runtime.store, state, channel)]
            for row in rows:
                name = row.delivery.id
                if ids and name not in left:
                    continue
                why = await act(engine, row)
                if why is None:
                    changed += 1
                    left.pop(name, None)
                else:
                    left[name] = why
        return changed, left

    changed, left = asyncio.run(work())
    if as_json:
        print_json({"changed": changed, "left": left})
    else:
        click.echo(f"{count_of(changed, 'delivery', 'deliveries')} {done}")
        for name, why in left.items():
            click.echo(f"{name}: {why}", err=True)
    return 1 if left else 0


async def _listed(
    store: Store, state: DeliveryState | None, channel: str | None
) -> AsyncIterator[ListedDelivery]:
    cursor = ""
    while True:
        page = await store.deliveries(state, channel, cursor, _PAGE)
        for row in page.rows:
            yield row
        cursor = page.cursor
        if not cursor:
            return


def _run(work: Callable[[Store], Awaitable[T]], settings: ServerSettings) -> T:
    from decision.cli.policies import open_existing

    async def run() -> T:
        async with open_existing(settings) as store:
            return await work(store)

    return asyncio.run(run())


def _since(counts: DeliveryCounts, channel: str) -> str:
    """How long the oldest of a channel waits, where it was not decided just now."""
    waits = max(counts.oldest.get(channel, 0), counts.behind.get(channel, 0))
    return f" (the oldest for {rough_duration(waits * 1000)})" if waits >= 10_000 else ""


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def _shown(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _until(micros: int) -> str:
    return f"in {rough_duration(micros)}" if micros >= SECOND else "now"


def _plain(row: ListedDelivery) -> dict[str, Any]:
    one, status = row.delivery, row.status
    return {
        "id": one.id,
        "state": status.state,
        "channel": one.channel,
        "customer_id": one.customer_id,
        "decision_id": one.decision_id,
        "message": one.message,
        "placement": one.placement,
        "attempts": status.attempts,
        "reason": status.reason,
        "decided_at": _time(one.at // 1000),
        "since": _time(status.since),
        "due": None if row.due is None else _time(row.due),
    }


def _print(rows: list[ListedDelivery]) -> None:
    from rich.table import Table

    if not rows:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("id", "age", "state", "channel", "customer", "attempts", "due", "reason"):
        right = name in ("age", "attempts")
        table.add_column(name, overflow="fold", justify="right" if right else "left")
    now = int(time() * 1_000_000)
    for row in rows:
        plain = _plain(row)
        table.add_row(
            plain["id"],
            rough_duration(max(0, now - row.delivery.at)),
            *(str(plain[name]) for name in ("state", "channel", "customer_id", "attempts")),
            "–" if row.due is None else _until(row.due * 1000 - now),
            plain["reason"],
        )
    console().print(table)
