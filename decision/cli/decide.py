"""`nextbest decide`."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import rich_click as click

from decision.cli.options import json_option, settings_from
from decision.cli.output import TERMINAL, Fail, print_json, say
from decision.progress import count_of


@click.command(
    epilog="Example: nextbest decide --rules rules --requests requests.ndjson --out answers.ndjson"
)
@click.option("--rules", required=True, metavar="DIR", help="Folder of the rule files.")
@click.option("--models", metavar="DIR", help="Folder of model versions; else a prior stands in.")
@click.option(
    "--customers", metavar="FILE", help="Customers to start with: CSV, NDJSON or Parquet."
)
@click.option(
    "--coupons",
    multiple=True,
    metavar="POOL=FILE",
    help="The codes of a coupon pool, a file as of coupons load; else they are made up.",
)
@click.option("--requests", required=True, metavar="FILE", help="NDJSON; - is standard input.")
@click.option("--out", required=True, metavar="FILE", help="NDJSON; - is standard output.")
@click.option("--seed", metavar="TEXT", help="Makes exploration repeatable.")
@click.option("--explain", is_flag=True, help="Explain every decision, candidate by candidate.")
@json_option
def decide(
    rules: str,
    models: str | None,
    customers: str | None,
    coupons: tuple[str, ...],
    requests: str,
    out: str,
    seed: str | None,
    explain: bool,
    as_json: bool,
) -> int:
    """Decide a file of requests, without a server.

    The code is the server's, the store its own and empty at first, and time is that of the
    file: a request's `at`, else its event's, is the present. A line without either happens when
    the line before did. Lines are taken in order:

    \b
    {"placement": "outbound", "customer_id": "c-1", "at": "2026-11-21T10:00:00+08:00"}
    {"type": "purchase", "customer_id": "c-1", "at": "2026-11-21T10:05:00+08:00"}

    A line with `placement` is a request as POST /v1/decisions takes it, and gives one line; a
    line with `type` is an event, which is recorded. A bad line gives a line with `error`, and
    the rest goes on.
    """
    from decision.api.errors import problem_details
    from decision.cli.policies import read_rules
    from decision.engine.snapshot import PolicyRefused
    from decision.scoring.loading import load_scoped_models
    from decision.server.models import read_model
    from decision.simulation.offline import Offline
    from decision.simulation.world import World

    if out == "-" and as_json:
        raise click.UsageError("--json prints to standard output; let --out name a file")
    if out == requests != "-":
        raise Fail(f"{out}: --out would write over the requests; name another file")
    pools = {}
    for given in coupons:
        pool, equals, file = given.partition("=")
        if not equals or not pool or not file:
            raise click.UsageError(f"--coupons is {given!r}; write POOL=FILE")
        pools[pool] = file
    world = World(
        read_rules(rules),
        read_model(models),
        seed,
        scoped=load_scoped_models(models),
        explain=explain,
        lowercase_emails=settings_from().lowercase_emails,
    )
    offline = Offline(world, problem_details, TERMINAL)
    try:
        counts, bad_rows = asyncio.run(offline.run(customers, requests, out, pools))
    except PolicyRefused as error:
        raise Fail(f"{rules}: {error}") from None
    if as_json:
        print_json({**_plain(counts), "bad_rows": bad_rows})
    else:
        say(_summary(counts))
    return 1 if counts["errors"] or bad_rows else 0


def _plain(counts: Counter[str]) -> dict[str, Any]:
    names = ("requests", "selected", "fallback", "none", "events", "duplicates", "errors")
    return {name: counts[name] for name in names}


def _summary(counts: Counter[str]) -> str:
    text = (
        f"{count_of(counts['requests'], 'request')}: {counts['selected']:,} selected, "
        f"{counts['fallback']:,} fallback, {counts['none']:,} none"
    )
    if counts["events"]:
        text += f"; {count_of(counts['events'], 'event')} recorded"
    if counts["errors"]:
        text += f"; {count_of(counts['errors'], 'bad line')}"
    return text
