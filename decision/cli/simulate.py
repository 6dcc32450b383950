"""`nextbest simulate`."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from decision.cli.options import ArchivePath, json_option, settings_from
from decision.cli.output import TERMINAL, Fail, print_json, say
from decision.core import calendar
from decision.core.clock import DAY, format_duration, parse_duration
from decision.installation import require

if TYPE_CHECKING:
    from decision.core.definition import PolicyDefinition
    from decision.simulation.run import Simulation

_ALWAYS = ("customer.state", "placement")
_LASTS = 30 * DAY
_LONGEST = 3_660 * DAY


def _duration(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    """A duration in microseconds; 0s is none."""
    if text is None:
        return None
    try:
        lasts = 0 if text == "0s" else parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if lasts > _LONGEST:
        raise click.BadParameter(f"{text} is longer than {format_duration(_LONGEST)}")
    return lasts


@click.command(
    epilog="Example: nextbest simulate --rules new --against rules --requests requests.ndjson "
    "--customers customers.ndjson --html what-if.html"
)
@click.option("--rules", required=True, metavar="NEW", help="Folder of the new rule files.")
@click.option(
    "--against",
    metavar="OLD",
    help="Folder of the rules to compare with. With --log: the ones that decided last there.",
)
@click.option("--requests", metavar="FILE", help="NDJSON, as `nextbest decide` reads; - is stdin.")
@click.option(
    "--log",
    "archive",
    metavar="DIR",
    type=ArchivePath(),
    help="Instead of requests: the decisions that `nextbest archive --out` wrote.",
)
@click.option(
    "--customers", metavar="FILE", help="Customers to start with; with journeys also alone."
)
@click.option(
    "--for",
    "lasts",
    metavar="DURATION",
    callback=_duration,
    help="How much time goes by afterwards, in which journeys go on; 30d if it is left out.",
)
@click.option(
    "--first",
    type=click.IntRange(0, 10_000),
    default=20,
    show_default=True,
    metavar="N",
    help="List the first asks of journeys: who would get what when.",
)
@click.option("--models", metavar="DIR", help="Folder of model versions; else a prior stands in.")
@click.option(
    "--by",
    "fields",
    multiple=True,
    metavar="FIELD",
    help="Also count by this field, such as customer.country.",
)
@click.option("--seed", default="simulate", metavar="TEXT", help="Makes the draws repeatable.")
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page with tables and charts.",
)
@json_option
def simulate(
    rules: str,
    against: str | None,
    requests: str | None,
    archive: Path | None,
    customers: str | None,
    lasts: int | None,
    first: int,
    models: str | None,
    fields: tuple[str, ...],
    seed: str,
    html: Path | None,
    as_json: bool,
) -> int:
    """Show what a change of rules would do, before it is live.

    Every request is decided by the new and the old rules, each in a store of its own: contacts
    evolve as each would have made them, and count as if the customer had seen them. Both draw the
    same random numbers. Printed is what changes by message, channel, outcome, reason, state and
    placement, why, and for whom. Expected value is response probability × value − channel cost.
    What only one policy can decide, such as a new placement, is `refused` by the other. A request
    id that was answered before counts once. Fallback messages are not counted.

    Journeys go on while time goes by, from line to line and for a while after the last (--for).
    Printed is what they ask and give, which steps are entered and why runs end, and the first asks
    with their times; --html has it as well. With --customers alone, time begins now.

    With --log the customers are as logged at each decision, but for their contacts, which are
    taken over where a customer is first met; budgets start unspent; and what the policies would
    have earned is also estimated from the logged probabilities. What journeys asked there is asked
    again; nothing else acts by itself.
    """
    if requests is not None and archive is not None:
        raise click.UsageError("give either --requests FILE or --log DIR")
    if requests is None and archive is None and customers is None:
        raise click.UsageError("give either --requests FILE or --log DIR")
    if archive is not None and customers is not None:
        raise click.UsageError("--customers goes with --requests; the log has its own customers")
    if archive is not None and lasts is not None:
        raise click.UsageError("--for goes with --requests or --customers, not with --log")
    if archive is not None:
        require("nextbest simulate --log")
    new, old = _definitions(rules, against, archive)
    acts = any(one and (one.journeys or one.moments) for one in (new, old))
    if not acts and (lasts is not None or (requests is None and archive is None)):
        what = "--for" if lasts is not None else "--customers alone"
        raise click.UsageError(f"the rules have no journeys for {what}; give --requests FILE")
    span = None if archive is not None or not acts else _LASTS if lasts is None else lasts
    simulation = asyncio.run(
        _run(
            new,
            old,
            rules,
            against,
            requests,
            archive,
            customers,
            models,
            fields,
            seed,
            span,
            first,
        )
    )
    tally, currency = simulation.tally, new.settings.currency
    zone = calendar.zone(new.settings.timezone)
    if as_json:
        versions = {"new": new.version, "old": old and old.version}
        off_policy = simulation.off_policy and simulation.off_policy.as_dict()
        figures = {**tally.as_dict(), "off_policy": off_policy}
        if span is not None:
            figures["journeys"] = simulation.acting.as_dict(tally.compared)
        print_json({"currency": currency, "versions": versions, **figures})
    else:
        from decision.simulation.report import journey_lines, lines_of

        for line in lines_of(tally, currency, simulation.off_policy):
            click.echo(line)
        if span is not None:
            for line in journey_lines(simulation.acting, tally, currency, zone):
                click.echo(line)
    if html is not None:  # last: a full disk does not take the figures with it
        from decision.files import write_whole
        from decision.simulation.page import page

        other = against or (f"policy {old.version}" if old is not None else None)
        title = f"What if: {rules}" + (f" against {other}" if other else "")
        acting = None if span is None else (simulation.acting, zone)
        write_whole(html, page(tally, title, currency, simulation.off_policy, acting).encode())
        say(f"wrote {html}")
    return 1 if tally.errors or tally.bad_customers else 0


def _definitions(
    rules: str, against: str | None, archive: Path | None
) -> tuple[PolicyDefinition, PolicyDefinition | None]:
    from decision.cli.policies import read_rules

    new = read_rules(rules)
    if against is not None:
        return new, read_rules(against)
    return new, _logged_policy(archive) if archive is not None else None


def _logged_policy(archive: Path) -> PolicyDefinition:
    """The policy of the latest decision in an archive."""
    from decision.archive.policies import newest_version, policy_path, read_policy

    version = newest_version(archive)
    definition = read_policy(archive, version) if version is not None else None
    if definition is None:
        where = policy_path(archive, version) if version is not None else archive
        raise Fail(f"{where}: there is no policy to be read; name the old rules with --against")
    return definition


async def _run(
    new: PolicyDefinition,
    old: PolicyDefinition | None,
    rules: str,
    against: str | None,
    requests: str | None,
    archive: Path | None,
    customers: str | None,
    models: str | None,
    fields: tuple[str, ...],
    seed: str,
    span: int | None,
    first: int,
) -> Simulation:
    from decision.archive.policies import newest_version, read_policy
    from decision.core.fields import UnknownField
    from decision.engine.snapshot import PolicyRefused
    from decision.scoring.loading import load_scoped_models
    from decision.server.models import read_model
    from decision.simulation.run import Simulation
    from decision.simulation.side import Simulated

    model, scoped = read_model(models), load_scoped_models(models)
    groups = list(dict.fromkeys((*_ALWAYS, *fields)))
    simulated = partial(
        Simulated,
        model=model,
        scoped=scoped,
        seed=seed,
        groups=groups,
        lowercase_emails=settings_from().lowercase_emails,
    )
    sides = [(rules, simulated(new))]
    if old is not None:
        sides.append((against or old.version, simulated(old)))
    for name, side in sides:
        try:
            await side.prepare()
        except PolicyRefused as error:
            raise Fail(f"{name}: {error}") from None
        except UnknownField as error:
            raise click.BadParameter(str(error), param_hint="--by") from None
    before = sides[1][1] if old is not None else None
    simulation = Simulation(sides[0][1], before, TERMINAL, first=first)
    if span is not None:
        await simulation.act(customers, requests, span)
        return simulation
    if customers is not None:
        await simulation.load(customers)
    try:
        if requests is not None:
            await simulation.requests(requests)
        elif archive is not None:
            version = newest_version(archive)
            simulation.doubt(read_policy(archive, version) if version is not None else None)
            await simulation.log(archive)
            simulation.judge(archive, new, old, model)
    except ValueError as error:  # a record of the archive is damaged
        raise Fail(str(error)) from None
    return simulation
