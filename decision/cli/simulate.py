"""`nextbest simulate`."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from decision.cli.options import json_option, settings_from
from decision.cli.output import TERMINAL, Fail, print_json, say
from decision.installation import require

if TYPE_CHECKING:
    from decision.core.definition import PolicyDefinition
    from decision.simulation.run import Simulation

_ALWAYS = ("customer.state", "placement")


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
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Instead of requests: the decisions that `nextbest archive --out` wrote.",
)
@click.option("--customers", metavar="FILE", help="With --requests: customers to start with.")
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

    With --log the customers are as logged at each decision, but for their contacts, which are
    taken over where a customer is first met; budgets start unspent; and what the policies would
    have earned is also estimated from the logged probabilities.
    """
    if (requests is None) == (archive is None):
        raise click.UsageError("give either --requests FILE or --log DIR")
    if archive is not None and customers is not None:
        raise click.UsageError("--customers goes with --requests; the log has its own customers")
    if archive is not None:
        require("nextbest simulate --log")
    new, old = _definitions(rules, against, archive)
    simulation = asyncio.run(
        _run(new, old, rules, against, requests, archive, customers, models, fields, seed)
    )
    tally, currency = simulation.tally, new.settings.currency
    if as_json:
        versions = {"new": new.version, "old": old and old.version}
        off_policy = simulation.off_policy and simulation.off_policy.as_dict()
        figures = {**tally.as_dict(), "off_policy": off_policy}
        print_json({"currency": currency, "versions": versions, **figures})
    else:
        from decision.simulation.report import lines_of

        for line in lines_of(tally, currency, simulation.off_policy):
            click.echo(line)
    if html is not None:  # last: a full disk does not take the figures with it
        from decision.files import write_whole
        from decision.simulation.page import page

        other = against or (f"policy {old.version}" if old is not None else None)
        title = f"What if: {rules}" + (f" against {other}" if other else "")
        write_whole(html, page(tally, title, currency, simulation.off_policy).encode())
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
    from decision.archive.policies import policy_path, read_policy
    from decision.simulation.run import latest_policy_version

    version = latest_policy_version(archive)
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
) -> Simulation:
    from decision.archive.policies import read_policy
    from decision.core.fields import UnknownField
    from decision.engine.snapshot import PolicyRefused
    from decision.server.models import read_model
    from decision.simulation.run import Simulation, latest_policy_version
    from decision.simulation.side import Simulated

    model = read_model(models)
    groups = list(dict.fromkeys((*_ALWAYS, *fields)))
    simulated = partial(
        Simulated,
        model=model,
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
    simulation = Simulation(sides[0][1], sides[1][1] if old is not None else None, TERMINAL)
    if customers is not None:
        await simulation.load(customers)
    try:
        if requests is not None:
            await simulation.requests(requests)
        elif archive is not None:
            version = latest_policy_version(archive)
            simulation.doubt(read_policy(archive, version) if version is not None else None)
            await simulation.log(archive)
            simulation.judge(archive, new, old, model)
    except ValueError as error:  # a record of the archive is damaged
        raise Fail(str(error)) from None
    return simulation
