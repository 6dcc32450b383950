"""`nextbest explain`."""

from __future__ import annotations

import asyncio
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import rich_click as click

from decision.cli.options import decision_id, json_option, settings_from, settings_options
from decision.cli.output import Fail, console, print_json
from decision.core import calendar
from decision.core.clock import time_in_zone, to_micros
from decision.core.reasons import Reason
from decision.core.schema import AskedBy, Decision, ExplanationRow
from decision.progress import count_of
from decision.redaction import redacted

Sourced = TypeVar("Sourced", ExplanationRow, AskedBy)

WIDE: Final = 120
"""Columns of a terminal from which on the source has a column of its own."""

if TYPE_CHECKING:
    from decision.engine.replay import Replay
    from decision.server.settings import ServerSettings


@click.command(epilog="Example: nextbest explain 01KAJS4VQ5H0Z3NCP9A0GX2M7R")
@click.argument("decision_id", callback=decision_id)
@click.option("--url", metavar="URL", help="Ask this server, as http://127.0.0.1:8000.")
@click.option(
    "--key",
    envvar="NEXTBEST_API_KEY",
    show_envvar=True,
    metavar="KEY",
    help="API key of the scope decide, for --url.",
)
@click.option("--all", "show_all", is_flag=True, help="Also show candidates of other placements.")
@settings_options("redis_url", "key_prefix", "archive", "rules")
@json_option
def explain(
    decision_id: str,
    url: str | None,
    key: str | None,
    show_all: bool,
    as_json: bool,
    **given: str | None,
) -> None:
    """Show why a decision came about.

    The decision is decided again from what was logged of it, with the policy of that time: one
    row per candidate, with the reason, the compared values, and the rule that decided. It is looked
    for in the log of the store (--redis-url, or the embedded one), then in the archive (--archive),
    which needs no store; or a server is asked (--url). Times are those of settings.timezone of that
    policy; a server answers in UTC. Sources are files of the rules folder (--rules).
    """
    zone: str | None = None
    if url is not None:
        decision = ask_server(url, decision_id, key)
    else:
        settings = settings_from(**given)
        decision, zone = _look_up(decision_id, settings)
        decision = _with_sources_in(settings.rules, decision)
    if as_json:
        print_json(decision)
    else:
        show(decision, show_all, zone)


def _with_sources_in(rules: str, decision: Decision) -> Decision:
    """The decision with the paths of its sources in the rules folder; without a folder where that
    is not there. What is kept of a policy does not say how its folder was called."""
    start = f"{rules.rstrip('/')}/" if Path(rules).is_dir() else ""

    def placed(one: Sourced) -> Sourced:
        source = one.source and start + one.source.removeprefix("rules/")
        return msgspec.structs.replace(one, source=source)

    by, rows = decision.asked_by, decision.explanation
    return msgspec.structs.replace(
        decision,
        explanation=None if rows is None else [placed(row) for row in rows],
        asked_by=by if by is msgspec.UNSET else placed(by),
    )


def _look_up(decision_id: str, settings: ServerSettings) -> tuple[Decision, str | None]:
    """The decision from the store's log, else from the archive, of which only one need be there;
    and the time zone of its policy, where that is kept."""
    from decision.core.errors import StoreUnavailable

    archive = settings.archive
    missing = f"decision {decision_id} is not in the log of this store"
    found = None
    try:
        found = asyncio.run(_in_log(decision_id, settings))
    except (Fail, StoreUnavailable) as error:
        if archive is None:
            raise
        missing = str(error)
    if found is None and archive is not None:
        found = _in_archive(decision_id, archive)
        missing = f"decision {decision_id} is not in the archive {archive}; {missing}"
    elif found is None:
        missing += "; it may have moved to the archive: say where that is with --archive"
    if found is None:
        raise Fail(missing)
    return found


_Found = tuple[Decision, str | None] | None


async def _in_log(decision_id: str, settings: ServerSettings) -> _Found:
    from decision.cli.policies import open_existing
    from decision.engine import Engine

    otherwise = "where the archive is with --archive, or ask a server with --url"
    async with open_existing(settings, otherwise) as store:
        replay = Engine(store).replay
        return await _with_zone(replay, await replay.find(decision_id))


async def _with_zone(replay: Replay, found: Decision | None) -> _Found:
    if found is None:
        return None
    return found, await replay.timezone_of(found.policy_version)


def _in_archive(decision_id: str, folder: str) -> _Found:
    from decision.archive.location import location
    from decision.engine import Engine
    from decision.server.archived import ArchivedDecisions
    from decision.store import MemoryStore

    if not location(folder).is_dir():
        raise Fail(f"{folder} is not a folder; --archive names what `nextbest archive` wrote")
    replay = Engine(MemoryStore()).replay

    async def find() -> _Found:
        return await _with_zone(replay, await ArchivedDecisions(folder, replay).find(decision_id))

    return asyncio.run(find())


def ask_server(url: str, decision_id: str, key: str | None) -> Decision:
    """The decision as a server tells it.

    Raises:
        Fail: it cannot be reached, or does not tell.
    """
    from decision.cli.http import call

    status, body = call(f"{url.rstrip('/')}/v1/decisions/{decision_id}", key=key)
    if status != 200:
        detail = body.get("detail", "") if isinstance(body, dict) else ""
        raise Fail(f"{redacted(url)} answers {status}: {detail or 'is it a nextbest server?'}")
    try:
        return msgspec.convert(body, Decision)
    except msgspec.ValidationError as error:
        raise Fail(f"{redacted(url)} answers something else than a decision: {error}") from None


def show(decision: Decision, show_all: bool = False, timezone: str | None = None) -> None:
    """Prints a decision as a table, with times of a time zone; without one, in UTC."""
    from rich.table import Table

    out = console()
    for name, text in _facts(decision, calendar.zone(timezone or "UTC")):
        out.print(f"[bold]{name:<9}[/] {text}", soft_wrap=True)
    if decision.explanation is None:
        out.print("\nThe policy of that time is gone, and with it the explanation.")
        return
    rows = [row for row in decision.explanation if show_all or row.reason != "not_in_placement"]
    stages = {reason.value: stage for stage, reason in enumerate(Reason)}
    # The chosen first, then those that came furthest.
    rows.sort(key=lambda row: (-stages.get(row.reason or "", len(stages)), -(row.priority or 0.0)))
    wide = out.width >= WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("message", "channel", "reason"):
        table.add_column(name, no_wrap=True)
    table.add_column("priority", no_wrap=True, justify="right")
    table.add_column("detail")
    if wide:
        table.add_column("source", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, wide), style="green" if row.reason is None else "")
    out.print()
    out.print(table)
    hidden = [] if show_all else [row for row in decision.explanation if row not in rows]
    by, others = decision.asked_by, len(hidden)
    if by is not msgspec.UNSET and by.source is not None:
        others = sum(row.source != by.source for row in hidden)
        if unasked := len(hidden) - others:
            what = f"{count_of(unasked, 'candidate')} that step {by.step} does not ask for"
            out.print(f"\n{what} {_is(unasked)} left out ({by.source}); --all shows them.")
    if others:
        what = f"{count_of(others, 'candidate')} of other placements"
        out.print(f"\n{what} {_is(others)} left out; --all shows them.")


def _is(count: int) -> str:
    return "is" if count == 1 else "are"


def _facts(decision: Decision, zone: tzinfo) -> list[tuple[str, Any]]:
    chosen = ", ".join(f"{row.message} on {row.channel}" for row in decision.selections)
    facts: list[tuple[str, Any]] = [
        ("decision", decision.decision_id),
        ("customer", decision.customer_id),
        ("asked", f"{decision.placement}, {time_in_zone(to_micros(decision.decided_at), zone)}"),
        ("outcome", f"{decision.outcome}: {chosen}" if chosen else decision.outcome),
    ]
    if (by := decision.asked_by) is not msgspec.UNSET:
        where = f"  {by.source}" if by.source else ""
        facts.insert(3, ("by", f"journey {by.journey}, step {by.step}{where}"))
    if decision.reason is not None:
        facts.append(("reason", decision.reason))
    if decision.not_before is not None:
        facts.append(("not before", time_in_zone(to_micros(decision.not_before), zone)))
    if decision.degraded:
        facts.append(("without", ", ".join(decision.degraded)))
    model = decision.model_version or "none"
    facts.append(("versions", f"policy {decision.policy_version}, model {model}"))
    return facts


def _cells(row: ExplanationRow, wide: bool) -> tuple[str, ...]:
    from rich.markup import escape

    detail, source = escape(row.detail or ""), escape(row.source or "")
    return (
        escape(row.message),
        escape(row.channel),
        row.reason or "selected",
        "" if row.priority is None else f"{row.priority:.4g}",
        *((detail, source) if wide else (f"{detail}\n[dim]{source}[/]" if source else detail,)),
    )
