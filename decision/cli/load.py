"""`nextbest load`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import print_json, progress, say
from decision.installation import require
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.intake.rows import RowOptions

MOST_SHOWN = 20
"""Bad rows that are shown one by one; `--json` lists a thousand."""

_MOST_LISTED = 1000


@click.command(epilog="Example: nextbest load customers.csv --id-column email_hash --dry-run")
@click.argument("file", type=click.Path())
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "ndjson", "parquet"]),
    help="What FILE is, where its ending does not say so.",
)
@click.option(
    "--id-column",
    default="customer_id",
    show_default=True,
    metavar="NAME",
    help="The column, or key, that identifies customers.",
)
@click.option("--text", "texts", multiple=True, metavar="COLUMN", help="Keep a column as text.")
@click.option("--delimiter", metavar="CHARACTER", help="What parts CSV cells, if not , ; or a tab.")
@click.option("--dry-run", is_flag=True, help="Only check the rows; store nothing.")
@click.option("--force-consent", is_flag=True, help="Take back denials and bounces, as FILE says.")
@settings_options("redis_url", "key_prefix", "rules", "models")
@json_option
def load(
    file: str,
    form: str | None,
    id_column: str,
    texts: tuple[str, ...],
    delimiter: str | None,
    dry_run: bool,
    force_consent: bool,
    as_json: bool,
    **given: str | None,
) -> int:
    """Load customers from CSV, NDJSON or Parquet.

    FILE may be packed (.gz), or - for standard input. Loading merges, as PUT
    /v1/customers/{id} does, and loading a file again changes nothing. Bad rows are named with
    their line, the rest goes on. A file grants nothing that was denied meanwhile, and reaches no
    channel that bounced for good, unless its consent has a later time ({"state": "granted",
    "at": "2026-11-21T10:00:00Z"} in NDJSON) or --force-consent is given; such consents are named
    and left out.

    NDJSON has one customer per line; everything but customer_id may be left out:

    \b
    {"customer_id": "c-1", "attributes": {"country": "CN", "orders": 3},
     "timezone": "Asia/Shanghai", "aliases": {"email": "li@example.com"},
     "reachable": ["push", "email"], "consents": {"marketing": {"email": "granted"}},
     "events": [{"type": "purchase", "at": "2026-11-02T10:00:00Z", "properties": {"amount": 80}}]}

    "contacts" are what the customer was sent before, by whatever tool, so that caps count it:

    \b
    {"customer_id": "c-1", "contacts": [{"message": "autumn-sale", "channel": "email",
     "purpose": "marketing", "category": "promotion", "at": "2026-11-02T10:00:00Z"}]}

    A table with the columns customer_id, at and channel, and no type, has such a contact in each
    row (message, purpose, category, tags and id may be there as well). A table with the columns
    customer_id, type and at has an event in each row (event_id, message, value and property.NAME
    may be there as well; without event_id, rows that are alike are one event). So has a line of
    NDJSON with these keys. In any other table each column is an attribute, but for customer_id,
    timezone, reachable and unreachable ("push email"), alias.TYPE, and consent.PURPOSE.CHANNEL
    (granted or denied). An empty cell is left out. Ids and aliases are text, as they are written.
    In other columns of CSV, what JSON writes as a number (with at most 15 digits) is a number, true
    and false are true and false, everything else, and the columns named with --text, is text.
    """
    from decision.intake.rows import RowOptions, format_of

    if delimiter is not None and len(delimiter) != 1:
        raise click.UsageError(f"--delimiter is {delimiter!r}; give one character")
    form = form or format_of(file)
    if form == "parquet":
        require("reading Parquet", "pyarrow")
    options = RowOptions(id_column, delimiter, frozenset(texts))
    tally, bad = asyncio.run(_load(file, form, options, dry_run, force_consent, as_json, given))
    done = "checked" if dry_run else "loaded"
    if as_json:
        print_json({done: True, **tally, "problems": bad})
    else:
        click.echo(f"{file}: {summary_of(tally, done)}")
        if tally["bad_rows"]:
            say(f"{file}: {count_of(tally['bad_rows'], 'bad row')}, left out")
        if tally["partly"]:
            say(f"{file}: {count_of(tally['partly'], 'customer')} loaded but for what is named")
    return 1 if tally["bad_rows"] or tally["partly"] else 0


def summary_of(tally: Mapping[str, Any], done: str) -> str:
    """What was loaded, by what the rows of the file are.

    >>> summary_of({"rows": {"event": 3}, "events": 2, "known_events": 1}, "loaded")
    '2 events loaded, 1 was known'
    """
    rows, known = tally["rows"], tally["known_events"]
    parts = []
    if rows.keys() <= {"contact"} and rows:
        parts.append(f"{count_of(tally['contacts'], 'contact')} {done}")
    elif rows.keys() <= {"event"} and rows:
        parts.append(f"{count_of(tally['events'], 'event')} {done}")
    else:
        parts.append(f"{count_of(tally['customers'], 'customer')} {done}")
        parts.append(count_of(tally["events"], "event"))
    if known:
        parts.append(f"{known:,} {'was' if known == 1 else 'were'} known")
    return ", ".join(parts)


async def _load(
    path: str,
    form: str,
    options: RowOptions,
    dry_run: bool,
    force: bool,
    quiet: bool,
    given: dict[str, str | None],
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    from decision.cli.policies import engine_of
    from decision.core.derived import naming_customers
    from decision.engine.loading import Loading
    from decision.intake.ingest import ingest
    from decision.intake.rows import read_rows

    name = "stdin" if path == "-" else Path(path).name
    problems: list[dict[str, str]] = []
    settings = settings_from(**given)
    async with engine_of(settings, in_memory=dry_run) as engine:
        events = engine.runtime.snapshot.policy.derivations.definitions.values()
        reads = read_rows(path, form, options._replace(naming=naming_customers(events)))
        with progress("Rows") as move:
            loading = Loading(engine.runtime, force=force, file=name)
            tally = await ingest(
                loading, reads, refusals(problems, quiet), dry_run=dry_run, moved=move
            )
    return msgspec.to_builtins(tally), problems


def refusals(problems: list[dict[str, str]], quiet: bool) -> Callable[[str, str], None]:
    """Lists the first problems, and shows some of them."""
    count = 0

    def refuse(place: str, problem: str) -> None:
        nonlocal count
        count += 1
        if len(problems) < _MOST_LISTED:
            problems.append({"place": place, "problem": problem})
        if not quiet and count <= MOST_SHOWN:
            say(f"{place}: {problem}")
        elif not quiet and count == MOST_SHOWN + 1:
            say("… and more; --json lists them")

    return refuse
