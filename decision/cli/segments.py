"""`nextbest segments`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import Fail, busy, print_json, progress, say
from decision.files import replacing
from decision.installation import install_hint
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.analytics.segments import Segments
    from decision.server.settings import ServerSettings

_IN_FLIGHT = 128
_UNITS = {"recency": "  (days since the last, negative)", "frequency": "  (days with one)"}
_ROUNDING = 1e-9


@click.command(
    epilog="Example: nextbest segments --log archive --event purchase --amount amount --dry-run"
)
@click.option(
    "--log",
    "archive",
    required=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What `nextbest archive --out` wrote.",
)
@click.option("--event", default="purchase", show_default=True, metavar="TYPE", help="For RFM.")
@click.option(
    "--amount",
    default="amount",
    show_default=True,
    metavar="PROPERTY",
    help="Its property that is the money.",
)
@click.option(
    "--activity", default="app_open", show_default=True, metavar="TYPE", help="For active days."
)
@click.option(
    "--days",
    default=28,
    show_default=True,
    type=click.IntRange(1, 3650),
    help="Of which active days are counted.",
)
@click.option(
    "--level",
    "levels",
    multiple=True,
    metavar="NAME=SHARE",
    help="A level and the share of customers in it, the most active first. "
    "Default: power=5% core=15% casual=30%.",
)
@click.option("--until", metavar="TIME", help="As of then. Default: the last event of the type.")
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write NDJSON for `nextbest load` instead of storing.",
)
@click.option("--dry-run", is_flag=True, help="Only compute and print; store nothing.")
@settings_options("redis_url", "key_prefix", "rules", "models")
@json_option
def segments(
    archive: Path,
    event: str,
    amount: str,
    activity: str,
    days: int,
    levels: tuple[str, ...],
    until: str | None,
    out: Path | None,
    dry_run: bool,
    as_json: bool,
    **given: str | None,
) -> None:
    """Compute RFM and user states from the archive, as attributes.

    Every customer with such an event gets the attribute `rfm`: `recency`, `frequency` and
    `monetary` from 1 to 5 (5 is best), `score` such as "543", and what they are made of
    (`days_since`, `days`, `total`, `repeat`, `recency_days`, `age_days`); and `activity`, with
    `active_days` and a `level`. Rules read them as customer.rfm.score or customer.activity.level.
    Customers who are not in the store are left out. Running it again changes nothing.
    """
    shares = _shares(levels)
    settings = settings_from(**given)
    moment = _moment(until)
    zone = _timezone(settings, needed=not (dry_run or out))
    found = _compute(archive, event, amount, activity, days, shares, moment, zone)
    if not found.behaviour.priced:
        say(f"no {event!r} has a number {amount!r}: every monetary value is 0 (see --amount)")
    stored = unknown = 0
    if out is not None:
        _write(out, found)
    elif not dry_run:
        stored, unknown = asyncio.run(_store(found, settings))
    if as_json:
        print_json({**_summary(found), "stored": stored, "not_in_the_store": unknown})
        return
    _show(found, activity, days)
    if out is not None:
        say(f"wrote {out}; load it with: nextbest load {out}")
    elif not dry_run:
        say(f"stored for {count_of(stored, 'customer')}; {unknown:,} are not in the store")


def _shares(levels: tuple[str, ...]) -> dict[str, float]:
    from decision.analytics.segments import LEVELS, LOWEST

    found: dict[str, float] = {}
    for level in levels:
        name, _, share = level.partition("=")
        try:
            number = float(share.removesuffix("%")) / (100 if share.endswith("%") else 1)
        except ValueError:
            number = 0.0
        if not name or not 0 < number <= 1 or name in found or name == LOWEST:
            raise click.BadParameter(
                f"{level!r} is not a new name and a share, such as power=5%", param_hint="--level"
            )
        found[name] = number
    if sum(found.values()) > 1 + _ROUNDING:
        raise click.BadParameter("the shares add up to more than 100%", param_hint="--level")
    return found or dict(LEVELS)


def _moment(until: str | None) -> int | None:
    from datetime import datetime

    from decision.core.clock import to_micros

    if until is None:
        return None
    try:
        moment = datetime.fromisoformat(until)
    except ValueError:
        raise click.BadParameter(
            f"{until!r} is no time, such as 2026-11-21T10:00:00+08:00", param_hint="--until"
        ) from None
    if moment.tzinfo is None:
        raise click.BadParameter(
            f"{until!r} has no offset, such as +08:00 or Z", param_hint="--until"
        )
    return to_micros(moment)


def _timezone(settings: ServerSettings, *, needed: bool) -> str:
    """That of the rules; UTC where there are none and nothing is to be stored."""
    from decision.cli.policies import read_rules

    if not needed and not Path(settings.rules).is_dir():
        return "UTC"
    return read_rules(settings.rules).settings.timezone


def _compute(
    archive: Path,
    event: str,
    amount: str,
    activity: str,
    days: int,
    levels: dict[str, float],
    until: int | None,
    timezone: str,
) -> Segments:
    from decision.analytics.segments import segments as compute
    from decision.archive.journal import ArchiveError

    try:
        with busy("Reading the archive"):
            return compute(
                archive,
                event=event,
                amount=amount,
                activity=activity,
                activity_days=days,
                levels=levels,
                until=until,
                timezone=timezone,
            )
    except ModuleNotFoundError as error:
        raise Fail(install_hint(f"this needs {error.name}")) from None
    except (ArchiveError, ValueError) as error:
        raise Fail(str(error)) from None


def _write(out: Path, found: Segments) -> None:
    with replacing(out) as file:
        for customer_id, attributes in found.attributes():
            row = {"customer_id": customer_id, "attributes": attributes}
            file.write(msgspec.json.encode(row) + b"\n")


async def _store(found: Segments, settings: ServerSettings) -> tuple[int, int]:
    """Writes the attributes of those who are in the store; how many are, and are not."""
    from decision.cli.policies import engine_of
    from decision.core.schema import CustomerUpdate
    from decision.engine import NotFound

    stored = unknown = done = 0
    rows = found.attributes()

    async with engine_of(settings) as engine:
        with progress("Customers") as move:

            async def work(rest: Iterator[tuple[str, dict[str, Any]]]) -> None:
                nonlocal stored, unknown, done
                for customer_id, attributes in rest:
                    try:
                        await engine.customers.get(customer_id)
                        await engine.customers.update(
                            customer_id, CustomerUpdate(attributes=attributes)
                        )
                        stored += 1
                    except NotFound:
                        unknown += 1
                    done += 1
                    if done % 256 == 0:
                        move(done)

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(_IN_FLIGHT):
                        group.create_task(work(rows))
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None
    return stored, unknown


def _summary(found: Segments) -> dict[str, Any]:
    from collections import Counter

    from decision.core.clock import from_micros

    one = found.behaviour
    return {
        "until": from_micros(found.until),
        "customers": len(one.customer_id),
        "events_with_an_amount": one.priced,
        "thresholds": found.thresholds,
        "scores": {
            name: dict(sorted(Counter(scores.tolist()).items()))
            for name, scores in found.scores.items()
        },
        "active_customers": sum(days > 0 for days in found.active.values()),
        "levels": found.levels,
    }


def _show(found: Segments, activity: str, days: int) -> None:
    from decision.analytics.segments import states_in_yaml
    from decision.core.clock import DAY, from_micros
    from decision.core.events import LONGEST_WINDOW

    one = found.behaviour
    click.echo(
        f"{count_of(len(one.customer_id), 'customer')} until {from_micros(found.until).isoformat()}"
    )
    summary = _summary(found)["scores"]
    click.echo("\nscore      " + "".join(f"{score:>10}" for score in range(1, 6)))
    for name, counts in summary.items():
        click.echo(f"{name:<11}" + "".join(f"{counts.get(score, 0):>10,}" for score in range(1, 6)))
    click.echo("\nleast value of scores 2 to 5 is above:")
    for name, thresholds in found.thresholds.items():
        shown = ", ".join(f"{value:.12g}" for value in thresholds)
        click.echo(f"{name:<11}{shown}{_UNITS.get(name, '')}")
    if found.levels and days * DAY > LONGEST_WINDOW:
        levels = ", ".join(f"{name} from {least}" for name, least in found.levels.items())
        click.echo(f"\nactive days of {activity} in {days} days: {levels}")
    elif found.levels:
        click.echo(f"\nfor the rule files, from active days of {activity}:\n")
        click.echo(states_in_yaml(found, activity, days))
    else:
        click.echo(f"\nno {activity!r} in the last {days} days: no levels of activity")
