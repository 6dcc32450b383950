"""`nextbest segments`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from decision.cli.options import json_option, log_option, moment, settings_from, settings_options
from decision.cli.output import TERMINAL, busy, print_json, say
from decision.installation import require
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.analytics.segments import Segments
    from decision.analytics.storing import Stored
    from decision.server.settings import ServerSettings

_UNITS = {
    "recency": "  (days since the last event, negative)",
    "frequency": "  (days with an event)",
}
_ROUNDING = 1e-9


@click.command(
    epilog="Example: nextbest segments --log archive --event purchase --amount amount --dry-run"
)
@log_option()
@click.option(
    "--event", default="purchase", show_default=True, metavar="TYPE", help="The events for RFM."
)
@click.option(
    "--amount",
    default="amount",
    show_default=True,
    metavar="PROPERTY",
    help='The property of these events with the money: a number; a text such as "80" is none.',
)
@click.option(
    "--activity",
    default="app_open",
    show_default=True,
    metavar="TYPE",
    help="The events for active days.",
)
@click.option(
    "--days",
    default=28,
    show_default=True,
    type=click.IntRange(1, 3650),
    help="The number of days within which active days are counted.",
)
@click.option(
    "--level",
    "levels",
    multiple=True,
    metavar="NAME=SHARE",
    help="A level and the share of customers in it, the most active first. "
    "Default: power=5% core=15% casual=30%.",
)
@click.option(
    "--until",
    callback=moment,
    metavar="TIME",
    help="The moment to compute them for. Default: the last event of the type.",
)
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
    until: int | None,
    out: Path | None,
    dry_run: bool,
    as_json: bool,
    **given: str | None,
) -> None:
    """Compute RFM and user states from the archive, as attributes.

    Every customer with such an event gets the attribute `rfm` with `recency`, `frequency` and
    `monetary` from 1 to 5 (5 is best), a `score` such as "543", and the values behind them
    (`days_since`, `days`, `total`, `repeat`, `recency_days`, `age_days`), and the attribute
    `activity` with `active_days` and a `level`. Rules read them as customer.rfm.score or
    customer.activity.level. Customers who are not in the store are left out. Running it again
    changes nothing.
    """
    from decision.analytics.segments import segments as compute
    from decision.analytics.storing import Stored, write_segments

    require("nextbest segments")
    shares = _shares(levels)
    settings = settings_from(**given)
    zone = _timezone(settings, needed=not (dry_run or out))
    with busy("Reading the archive"):
        found = compute(
            archive,
            event=event,
            amount=amount,
            activity=activity,
            activity_days=days,
            levels=shares,
            until=until,
            timezone=zone,
        )
    if not found.behaviour.priced:
        say(f"no {event!r} has a number as {amount!r}: all monetary values are 0 (see --amount)")
    if texts := found.behaviour.texts:
        say(
            f"{texts:,} {event!r} have {amount!r} as text, which is not a number, as in rules: "
            f'send 80, not "80"'
        )
    done = Stored()
    if out is not None:
        write_segments(found, out)
    elif not dry_run:
        done = asyncio.run(_store(found, settings))
    if as_json:
        print_json({**found.summary(), "stored": done.stored, "not_in_the_store": done.unknown})
        return
    _show(found, activity, days)
    if out is not None:
        say(f"wrote {out}; load it with: nextbest load {out}")
    elif not dry_run:
        say(
            f"stored for {count_of(done.stored, 'customer')}; {done.unknown:,} are not in the store"
        )


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


def _timezone(settings: ServerSettings, *, needed: bool) -> str:
    """The time zone of the rules; UTC if there are none and nothing is to be stored."""
    from decision.cli.policies import read_rules

    if not needed and not Path(settings.rules).is_dir():
        return "UTC"
    return read_rules(settings.rules).settings.timezone


async def _store(found: Segments, settings: ServerSettings) -> Stored:
    from decision.analytics.storing import store_segments
    from decision.cli.policies import engine_of

    async with engine_of(settings) as engine:
        return await store_segments(engine, found, TERMINAL)


def _show(found: Segments, activity: str, days: int) -> None:
    from decision.analytics.segments import states_in_yaml
    from decision.core.clock import DAY, from_micros
    from decision.core.events import LONGEST_WINDOW

    one = found.behaviour
    click.echo(
        f"{count_of(len(one.customer_id), 'customer')} until {from_micros(found.until).isoformat()}"
    )
    click.echo("\nscore      " + "".join(f"{score:>10}" for score in range(1, 6)))
    for name, counts in found.summary()["scores"].items():
        click.echo(f"{name:<11}" + "".join(f"{counts.get(score, 0):>10,}" for score in range(1, 6)))
    click.echo("\nscores 2 to 5 start above:")
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
        click.echo(f"\nno {activity!r} in the last {days} days, so there are no activity levels")
