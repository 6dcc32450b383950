"""`nextbest audience`."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from decision.cli.audience_lock import alone, lock_of
from decision.cli.audience_report import report
from decision.cli.audience_runs import (
    ASKED,
    LATEST,
    LATEST_ALIKE,
    RUNS,
    absolute,
    earlier_run,
    finished_run,
    like,
    names_in,
    path_of,
    target_of,
    text_of,
    told,
)
from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import TERMINAL, Fail, say
from decision.installation import require

if TYPE_CHECKING:
    from decision.audiences.job import Prepared
    from decision.audiences.state import RunSettings, RunState
    from decision.gateways.settings import GatewaySettings
    from decision.server.settings import ServerSettings


@click.command(
    epilog="Example: nextbest audience --segment vip --purpose marketing --channel email "
    "--fields first_name,alias.email --out vip.csv"
)
@click.option("--when", metavar="FILE", help="Who matches the condition in this YAML file.")
@click.option("--segment", metavar="NAME", help="Who has customer.segment.NAME.")
@click.option("--purpose", metavar="NAME", help="Who agrees to this purpose, and only those.")
@click.option("--channel", metavar="NAME", help="… on this channel, on which they are reached.")
@click.option("--ignore-consent", is_flag=True, help="Ask nobody for consent. Think twice.")
@click.option(
    "--without-holdouts",
    is_flag=True,
    help="Leave out who is in a control group that does not keep the purpose.",
)
@click.option(
    "--fields",
    default="",
    metavar="NAMES",
    help="Columns besides customer_id, with commas: attributes, alias.TYPE, timezone, fields of "
    "conditions such as customer.state.",
)
@click.option(
    "--hash", "hashes", default="", metavar="NAMES", help="email, phone, or both: SHA-256."
)
@click.option(
    "--hash-for",
    type=click.Choice(["google", "meta"]),
    help="Whose normal form is hashed; they differ in phone numbers. Default: google.",
)
@click.option("--calling-code", metavar="DIGITS", help="For phone numbers without one, such as 86.")
@click.option("--out", metavar="FILE", help="Write .csv, .ndjson or .parquet.")
@click.option("--overwrite", is_flag=True, help="FILE may be there already.")
@click.option("--gateway", metavar="NAME", help="Hand it to a gateway of the gateways file.")
@click.option(
    "--portion",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="Customers in one call of the gateway. Default: 1000.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Read at most so many customers a second. Default: as fast as this process can.",
)
@click.option(
    "--since", metavar="RUN", help="Only who joined or left since a run, or since the latest."
)
@click.option(
    "--resume",
    is_flag=False,
    flag_value=LATEST,
    metavar="[RUN]",
    help="Continue a run, or the latest one.",
)
@click.option(
    "--runs",
    default=RUNS,
    show_default=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where runs keep how far they are, and who belonged to them.",
)
@settings_options("redis_url", "key_prefix", "rules", "models", "gateways")
@json_option
def audience(
    ignore_consent: bool,
    overwrite: bool,
    rate: float | None,
    resume: str | None,
    runs: Path,
    as_json: bool,
    **given: Any,
) -> int:
    """Who matches a condition: as a file, or to a gateway.

    Choose by --when or --segment, and say for which purpose. Consent, pauses and reach are looked
    at just before a customer is told. Without --channel somebody must agree to the purpose in
    general. Without --out and --gateway customers are only counted.

    FILE of --when has a condition as under `when` of a message:

    \b
    customer.state: power
    events.purchase.days_since: {gte: 30}

    A run that ends early goes on with --resume; then each customer is in the file once, and a
    portion is handed over again only under its id. --since tells what has changed since an earlier
    run, in the column `change`: joined or left.

    Exit code 1: the audience is empty, or it could not be given out.
    """
    asked = {name: given.pop(name) for name in ASKED}
    settings = settings_from(**given)
    with told(runs):
        state = None if resume is None else earlier_run(asked, runs, resume)
    if state is None:
        wanted = _settings_of(asked, ignore_consent, overwrite)
    else:
        wanted = state.settings
        if state.progress.finished:
            state.close()
            say(f"run {wanted.run} is finished already")
            return report(state, as_json)
    return report(_perform(wanted, state, runs, rate, settings), as_json)


def _perform(
    asked: RunSettings,
    state: RunState | None,
    runs: Path,
    rate: float | None,
    settings: ServerSettings,
) -> RunState:
    """Takes a run to its end: the one that was begun, or a new one."""
    from decision.audiences.job import prepare
    from decision.audiences.sending import check_gateway
    from decision.audiences.state import RunState
    from decision.cli.policies import open_existing, read_rules_with_places
    from decision.gateways.settings import load_gateways
    from decision.rulebook.diagnostics import render_all

    definition, rules = read_rules_with_places(settings.rules)
    prepared = prepare(asked, rules, settings.models)
    if prepared.warnings:
        say(render_all(prepared.warnings))
    gateways = None
    if asked.gateway is not None:
        gateways = load_gateways(settings.gateways)
        asyncio.run(check_gateway(gateways, asked.gateway))
    opened = open_existing(settings, "load customers first, with nextbest load")
    with told(runs):
        if asked.since == LATEST_ALIKE:
            asked = msgspec.structs.replace(asked, since=like(asked, runs))
        since = None if asked.since is None else finished_run(runs, asked.since)
    target = target_of(asked.out, asked.gateway)
    with told(runs), alone(lock_of(runs, target, asked.segment, asked.condition), target):
        if state is None:
            asked = msgspec.structs.replace(asked, policy=definition.version)
            state = RunState.create(path_of(runs, asked.run), asked)
        elif asked.policy != definition.version:
            say(
                f"the rules have changed since run {asked.run} began; the rest goes by those of now"
            )
        _carry_out(state, prepared, opened, runs, gateways, rate, since)
    return state


def _carry_out(
    state: RunState,
    prepared: Prepared,
    opened: AbstractAsyncContextManager[Any],
    runs: Path,
    gateways: GatewaySettings | None,
    rate: float | None,
    since: RunState | None,
) -> None:
    """Takes a run to its end, or says how it is continued."""
    from decision.audiences.job import perform
    from decision.audiences.sending import PortionRefused
    from decision.core.errors import NotFound, StoreUnavailable
    from decision.engine.runtime import wall_clock
    from decision.server.audit import audit_command

    run = state.settings.run
    again = f"nextbest audience --resume {run}"
    if str(runs) != RUNS:
        again += f" --runs {runs}"
    say(f"run {run}; if it ends early, go on with: {again}")

    async def work() -> None:
        async with opened as store:

            async def about_to_tell() -> None:
                await audit_command(store, "audience.give", target=run)

            await perform(
                store,
                prepared,
                state,
                wall_clock,
                gateways,
                TERMINAL,
                rate=rate,
                since=since,
                about_to_tell=about_to_tell,
            )

    try:
        asyncio.run(work())
    except NotFound as error:
        state.discard()
        raise Fail(str(error)) from None
    except (StoreUnavailable, PortionRefused, OSError) as error:
        raise Fail(f"{_what_went_wrong(error)}\nnothing is lost; go on with: {again}") from error
    finally:
        state.close()
        if since is not None:
            since.close()


def _what_went_wrong(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror is not None:
        return f"{error.filename or 'a file'}: {error.strerror}"
    return str(error)


def _settings_of(asked: dict[str, Any], ignore_consent: bool, overwrite: bool) -> RunSettings:
    """What a new run is asked for.

    Raises:
        UsageError, Fail: it is not complete, or cannot be done.
    """
    from decision.audiences.files import FORMATS
    from decision.audiences.state import RunSettings
    from decision.engine.runtime import wall_clock

    if (asked["when"] is None) == (asked["segment"] is None):
        raise click.UsageError("choose customers with --when FILE or --segment NAME")
    if asked["purpose"] is None and not ignore_consent:
        raise click.UsageError(
            "say what it is for with --purpose (and --channel), so that only those are told who "
            "agree; --ignore-consent asks nobody"
        )
    if asked["purpose"] is not None and ignore_consent:
        raise click.UsageError("--purpose asks for consent, and --ignore-consent does not")
    if asked["out"] is not None and asked["gateway"] is not None:
        raise click.UsageError("choose --out or --gateway")
    if (code := asked["calling_code"]) is not None and not (code.isascii() and code.isdigit()):
        raise click.UsageError(f"--calling-code is {code!r}; write digits, such as 86")
    if (out := absolute(asked["out"])) is not None:
        kind = FORMATS.get(Path(out).suffix.lower())
        if kind is None:
            raise click.UsageError(f"--out must end in {', '.join(FORMATS)}")
        if kind == "parquet":
            require("writing Parquet", "pyarrow")
        if not Path(out).parent.is_dir():
            raise Fail(f"{Path(out).parent}: there is no such folder")
        if Path(out).is_dir():
            raise Fail(f"{asked['out']} is a folder; name a file")
        if not os.access(Path(out).parent, os.W_OK):
            raise Fail(f"{Path(out).parent}: no file can be written there")
        if Path(out).exists() and not overwrite:
            raise Fail(f"{asked['out']} exists already; name another file, or add --overwrite")
    at = datetime.now(UTC)
    return RunSettings(
        run=f"{at:%Y%m%d-%H%M%S-%f}-{secrets.token_hex(2)}",
        at=wall_clock(),
        policy="",
        when=asked["when"] or "",
        condition="" if asked["when"] is None else text_of(asked["when"]),
        segment=asked["segment"] or "",
        purpose=asked["purpose"],
        channel=asked["channel"],
        fields=names_in(asked["fields"]),
        hashes=names_in(asked["hashes"]),
        hash_for=asked["hash_for"] or "google",
        calling_code=asked["calling_code"] or "",
        out=out,
        gateway=asked["gateway"],
        portion=asked["portion"] or 1_000,
        since=asked["since"],
        without_holdouts=asked["without_holdouts"],
    )
