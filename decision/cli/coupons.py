"""`nextbest coupons load|count`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from decision.cli.load import refusals
from decision.cli.options import json_option, settings_from, settings_options
from decision.cli.output import Fail, console, print_json, progress, say
from decision.progress import count_of

if TYPE_CHECKING:
    from decision.core.coupons import CouponCounts
    from decision.intake.coupons import CodeCounts, ReadCode
    from decision.server.settings import ServerSettings


@click.group(epilog="Example: nextbest coupons load spring-10 codes.csv")
def coupons() -> None:
    """Load coupon codes into pools, and count them."""


@coupons.command(epilog="Example: nextbest coupons load spring-10 codes.csv")
@click.argument("pool")
@click.argument("file", type=click.Path())
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "csv", "ndjson"]),
    help="What FILE is, where its ending does not say so.",
)
@click.option("--new-pool", is_flag=True, help="POOL is in no rules yet.")
@settings_options("redis_url", "key_prefix", "rules")
@json_option
def load(
    pool: str, file: str, form: str | None, new_pool: bool, as_json: bool, **given: str | None
) -> int:
    """Load the codes in FILE into POOL.

    FILE has a code per line; or it is CSV with a column code, or NDJSON with a key code. It may be
    packed (.gz), or - for standard input. Only new codes are added, so that loading a file again,
    or going on after an interruption, is safe. Blanks around codes and blank lines are left out; a
    code has 64 characters at most, and is in one pool only. Bad lines are named, the rest goes on.

    Where the rules have pools, POOL must be one of them, unless --new-pool says that it is still to
    come: load first, publish afterwards.
    """
    from decision.core.coupons import clean_pool
    from decision.core.errors import InputError
    from decision.intake.coupons import form_of, read_codes

    try:
        pool = clean_pool(pool)
    except InputError as error:
        raise click.UsageError(f"POOL {error.detail}") from None
    settings = settings_from(**given)
    if not new_pool:
        _check_name(pool, settings.rules)
    reads = read_codes(file, form or form_of(file))
    try:
        done, counts, bad = asyncio.run(_load(pool, reads, as_json, settings))
    except OSError as error:
        raise Fail(f"{file}: it cannot be read: {error.strerror or error}") from None
    if as_json:
        print_json({"pool": pool, **_plain(done), **_plain(counts), "problems": bad})
    else:
        click.echo(
            f"{pool}: {count_of(done.added, 'code')} added, {done.known:,} there already; "
            f"{counts.free:,} of {counts.loaded:,} are free"
        )
        if done.rejected:
            say(f"{file}: {count_of(done.rejected, 'bad line')}, left out")
    return 1 if done.rejected else 0


def _check_name(pool: str, rules: str) -> None:
    """Refuses a pool that the rules do not have, where they have others: it may be mistyped."""
    from decision.core.errors import meant
    from decision.rulebook.reader import load_folder

    definition = load_folder(rules).definition if Path(rules).is_dir() else None
    known = [one.name for one in definition.coupons] if definition is not None else []
    if known and pool not in known:
        hint = meant(pool, known) or f"; there are {', '.join(known[:12])}"
        raise Fail(
            f"the rules in {rules} have no coupon pool {pool}{hint} Nothing was loaded; for a "
            "pool that is still to come, add --new-pool"
        )


async def _load(
    pool: str, reads: Iterator[ReadCode], quiet: bool, settings: ServerSettings
) -> tuple[CodeCounts, CouponCounts, list[dict[str, str]]]:
    from itertools import islice
    from time import time_ns

    from decision.cli.policies import tell_of_new_store
    from decision.intake.coupons import BATCH, CodeLoading
    from decision.server.opening import open_store

    problems: list[dict[str, str]] = []
    tell_of_new_store(settings)
    async with open_store(settings) as store:
        loading = CodeLoading(store, pool, refusals(problems, quiet))
        with progress("Codes") as move:
            rows = 0
            while batch := list(islice(reads, BATCH)):
                await loading.add(batch)
                rows += len(batch)
                move(rows)
        return loading.counts, await store.count_codes(pool, time_ns() // 1000), problems


@coupons.command(epilog="Example: nextbest coupons count spring-10")
@click.argument("pool", required=False)
@settings_options("redis_url", "key_prefix")
@json_option
def count(pool: str | None, as_json: bool, **given: str | None) -> None:
    """Count the codes of POOL, or of every pool, by what became of them.

    free: to be given. held: with a customer of whom nothing shows yet whether the code was seen;
    or on its way back. given: seen. redeemed: for good. given back: how often a code came back.
    """
    found = asyncio.run(_count(pool, settings_from(**given)))
    if as_json:
        print_json({name: _plain(counts) for name, counts in found.items()})
        return
    from rich.table import Table

    table = Table("pool", box=None)
    for name in ("loaded", "free", "held", "given", "redeemed", "given back"):
        table.add_column(name, justify="right")
    for name, counts in found.items():
        table.add_row(name, *(f"{number:,}" for number in _plain(counts).values()))
    console().print(table)


async def _count(pool: str | None, settings: ServerSettings) -> dict[str, CouponCounts]:
    from time import time_ns

    from decision.cli.policies import open_existing
    from decision.core.errors import meant

    async with open_existing(settings) as store:
        known = await store.coupon_pools()
        if pool is not None and pool not in known:
            there = f"(pools: {', '.join(known) or 'none'}){meant(pool, known)}"
            raise Fail(f"no codes were ever loaded into the pool {pool} {there}")
        names = known if pool is None else [pool]
        return {name: await store.count_codes(name, time_ns() // 1000) for name in names}


def _plain(counts: Any) -> dict[str, int]:
    import msgspec

    found: dict[str, int] = msgspec.to_builtins(counts)
    return found
