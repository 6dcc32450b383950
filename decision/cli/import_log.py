"""`nextbest import-log`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from decision.cli.options import ArchivePath, json_option, moment, settings_from, settings_options
from decision.cli.output import TERMINAL, Fail, print_json, say
from decision.installation import require
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.intake.decision_log.run import Imported
    from decision.learning.balance import Balance, Difference

_DIFFERING_SHOWN = 12


@click.command(
    "import-log",
    epilog="Example: nextbest import-log mailing.csv --rules rules --log archive "
    "--uniform-over spring,autumn,silence",
)
@click.argument("file", type=click.Path())
@click.option(
    "--log",
    "archive",
    required=True,
    metavar="DIR",
    type=ArchivePath(exists=False),
    help="The archive that the decisions are added to; it is made if there is none.",
)
@click.option(
    "--uniform-over",
    metavar="MESSAGE,…",
    help="Claim that each row without a probability was drawn from these messages (silence is "
    "none) with equal chances.",
)
@click.option(
    "--until",
    callback=moment,
    metavar="TIME",
    help="The time up to which FILE's outcomes are known. Default: now, 90 days after its last row "
    "at most.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "parquet"]),
    help="What FILE is, where its ending does not say so.",
)
@click.option("--delimiter", metavar="CHARACTER", help="What parts CSV cells, if not , ; or a tab.")
@click.option(
    "--new-type",
    "new_types",
    multiple=True,
    metavar="TYPE",
    help="Take outcome.TYPE as it is, though rules name an event that is almost alike.",
)
@click.option("--dry-run", is_flag=True, help="Only check; write nothing.")
@settings_options("rules", "models")
@json_option
def import_log(
    file: str,
    archive: Path,
    uniform_over: str | None,
    until: int | None,
    form: str | None,
    delimiter: str | None,
    new_types: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    **given: str | None,
) -> int:
    """Import decisions made elsewhere, with propensities and outcomes.

    FILE is a table, CSV (also .gz) or Parquet, with a row for each decision. Its columns:

    \b
    decided_at          2026-11-21T10:00:00+08:00 (without an offset: settings.timezone)
    customer_id
    message             a message of the rules; empty: nothing was given (silence)
    channel             may be left out where the message has one
    placement           may be left out where the rules have one
    probability         with which this message, or silence, was drawn
    probability.NAME    of each message (or silence) that could be drawn; they add up to 1
    attribute.NAME      what was known of the customer
    context.NAME        what was known of the request
    event.type          the event that asked, and event.NAME its properties
    outcome.TYPE        0, 1 or an amount: whether an event of this type followed
    outcome_at.TYPE     when; left out: an hour after
    timezone            the customer's
    request_id          tells decisions apart that are otherwise alike

    Afterwards train, evaluate, promote and reports read the archive as a log of our own. Importing
    again changes nothing; later outcomes are added. Bad rows are named with their line and left
    out, and the rest is imported (exit code 1). What is known of rows is held against the
    probabilities: where an arm went to other customers than they say, that is printed.
    """
    from decision.cli.policies import read_rules
    from decision.core.clock import from_micros
    from decision.core.policy_builder import compile_policy
    from decision.engine.runtime import wall_clock
    from decision.intake.decision_log.run import ImportOptions, import_log
    from decision.intake.rows import format_of
    from decision.server.models import spec_features

    require("nextbest import-log")
    if delimiter is not None and len(delimiter) != 1:
        raise click.UsageError(f"--delimiter is {delimiter!r}; give one character")
    form = form or format_of(file)
    if form == "ndjson":
        raise Fail(f"{file}: NDJSON is not read here; make it a table: CSV or Parquet")
    settings = settings_from(**given)
    problems: list[dict[str, str]] = []
    definition = read_rules(settings.rules)
    options = ImportOptions(
        form=form,
        delimiter=delimiter,
        uniform=tuple(name.strip() for name in (uniform_over or "").split(","))
        if uniform_over
        else (),
        features=() if settings.models is None else spec_features(Path(settings.models)),
        until=until,
        new_types=frozenset(new_types),
        dry_run=dry_run,
    )
    from decision.cli.load import refusals

    found = import_log(
        file,
        definition,
        archive,
        options,
        now=wall_clock(),
        refuse=refusals(problems, as_json),
        progress=TERMINAL,
    )
    if as_json:
        print_json(_as_json(found, problems, dry_run))
    else:
        zone = compile_policy(definition).zone
        days = [
            f"{from_micros(at).astimezone(zone):%Y-%m-%d}"
            for at in (found.from_time, found.to_time)
        ]
        _tell(file, archive, found, days, dry_run)
    return 1 if found.bad_rows or not found.arms else 0


def _as_json(found: Imported, problems: list[dict[str, str]], dry_run: bool) -> dict[str, Any]:
    import msgspec

    from decision.core.clock import from_micros

    figures: dict[str, Any] = msgspec.to_builtins(found)
    for name in ("from_time", "to_time", "until"):
        at = figures.pop(name)
        figures[name] = from_micros(at).isoformat() if at else None
    return {"checked" if dry_run else "imported": True, **figures, "problems": problems}


def _tell(file: str, archive: Path, found: Imported, days: list[str], dry_run: bool) -> None:
    if found.arms:
        taken = found.rows - found.bad_rows - found.repeated_rows
        if dry_run:
            click.echo(f"{file}: {count_of(taken, 'decision')} could be imported")
        else:
            known = f", {found.known_decisions:,} were known" if found.known_decisions else ""
            click.echo(
                f"{archive}: {count_of(found.decisions, 'decision')} imported{known}, "
                f"{count_of(found.outcomes, 'outcome')}"
            )
        click.echo(f"  decided: {days[0]} to {days[1]}")
        for name, rows in found.arms.items():
            click.echo(
                f"  {name}: {count_of(rows, 'row')}, {rows / (found.rows - found.bad_rows):.1%}"
            )
        if found.claimed:
            click.echo(
                f"  probability: claimed for {count_of(found.claimed, 'row')} (--uniform-over), "
                "not logged"
            )
        for version in found.policy_versions:
            click.echo(f"  policy version: {version}")
    if found.balance is not None:
        _tell_balance(found.balance)
    for note in found.notes:
        say(f"note: {note}")
    if found.bad_rows:
        say(f"{file}: {count_of(found.bad_rows, 'bad row')}, left out")
    if found.repeated_rows:
        say(f"{file}: {count_of(found.repeated_rows, 'repeated row')}, left out")


def _tell_balance(balance: Balance) -> None:
    about = f"{count_of(balance.rows, 'row')}, {count_of(balance.tests, 'test')}"
    if not balance.tests:
        say("assignment: not checked; there are too few rows, or arms, to compare")
        return
    if not balance.differing:
        click.echo(f"  assignment: as the probabilities say ({about})")
        return
    say(
        f"assignment: NOT as the probabilities say ({about}). These differ between arms by more "
        "than chance, so estimates by these probabilities are wrong; find out how rows were "
        "assigned:"
    )
    for one in balance.differing[:_DIFFERING_SHOWN]:
        say(f"  {_shown(one)}")
    if len(balance.differing) > _DIFFERING_SHOWN:
        say(f"  … and {len(balance.differing) - _DIFFERING_SHOWN} more; --json lists them")


def _shown(one: Difference) -> str:
    about = one.covariate if one.value is None else f"{one.covariate} {one.value}"
    from decision.learning.balance import SHARE

    if one.covariate == SHARE:
        shown = f"{one.mean_in_arm:.2%} of rows, should be {one.mean:.2%}"
    elif one.covariate == "decided_at":
        days = (one.mean_in_arm - one.mean) / 86_400e6
        shown = f"{abs(days):.2g} days {'later' if days > 0 else 'earlier'} than all"
    elif one.value is not None:
        shown = f"{one.mean_in_arm:.2%} of them, {one.mean:.2%} of all"
    else:
        shown = f"mean {one.mean_in_arm:.4g}, of all {one.mean:.4g}"
    return f"{about}, {one.arm}: {shown} ({one.difference:+.3f} sd, z {one.z:+.1f})"
