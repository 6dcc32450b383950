"""The shop of `nextbest demo`: made ready once, then open and archived while it serves."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Final

from decision.archive.service import ArchiveOptions, archive_log
from decision.cli.demo_past import live_through
from decision.cli.output import TERMINAL, say
from decision.core.clock import DAY, SECOND
from decision.core.definition import PolicyDefinition
from decision.engine import PATIENCE, Engine
from decision.engine.runtime import wall_clock
from decision.installation import missing_packages
from decision.progress import SILENT
from decision.scoring.versions import current_version
from decision.server.audit import audit_command, entries
from decision.simulation.sample import Calls, choose_calls, load_customers, load_living, make_ready
from decision.simulation.visitors import OpenShop
from decision.store import RedisStore

ARCHIVE: Final = "archive"
_GROUP: Final = "demo"
"""The name of its archive in the store: a `nextbest archive` of its user's is beside it."""
_EVERY: Final = 15 * SECOND
_KEEP: Final = DAY
_LOOKS: Final = 0.2
"""Seconds between two looks whether the server still runs."""
_ENDS_WITHIN: Final = 10.0


async def prepare(
    redis: str,
    home: Path,
    definition: PolicyDefinition,
    customers: int,
    *,
    lives: bool,
    archive: Path | None = None,
) -> Calls:
    """Makes ready what is not yet, and chooses calls to try.

    Where the shop `lives`, it has a past, which is archived.

    Raises:
        SampleUnusable: the sample's customers do not fit its rules.
        StoreUnavailable: the embedded Redis ended.
    """
    store = RedisStore(redis, timeout=PATIENCE)
    await store.start()
    try:
        engine, models = Engine(store), home / "models"
        await make_ready(engine, models, definition, TERMINAL)
        numbers = await load_living(engine, customers)
        # Alone in the shop: what is for all customers is for those.
        lived = lives and await live_through(redis, models, definition, numbers, TERMINAL)
        if lived and archive is not None:
            with TERMINAL.step("Archiving them"):
                await _archive(redis, archive, asyncio.Event(), None)
        await load_customers(engine, customers, TERMINAL, but=numbers)
        if not await entries(store, 1):
            await audit_command(store, "model.promote", target=_in_force(models))
        return await choose_calls(engine)
    finally:
        await store.close()


def _in_force(models: Path) -> str | None:
    """The model version in force, as `nextbest promote` names it."""
    found = current_version(models)
    return None if found is None else str(found.relative_to(models))


def archive_of(home: Path) -> Path | None:
    """The archive's folder; None where packages are missing that archive: then it says so."""
    if problem := missing_packages("the archive, which most pages of the console read,"):
        say(problem)
        return None
    return home / ARCHIVE


async def keep_archiving(redis: str, folder: Path) -> None:
    """Archives until it is cancelled; where that fails it says so, and the shop goes on."""
    stop = asyncio.Event()
    task = asyncio.ensure_future(_archive(redis, folder, stop, _EVERY))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([task], timeout=_ENDS_WITHIN)
        raise
    except Exception as error:  # noqa: BLE001 - the server needs no archive
        say(f"nothing more is archived: {error!r}")


async def tend(
    server: subprocess.Popen[bytes], redis: str, archive: Path | None, shop: OpenShop | None
) -> int:
    """Keeps the shop open, and archives, until the server has ended; returns its exit code."""
    work = [] if archive is None else [asyncio.create_task(keep_archiving(redis, archive))]
    if shop is not None:
        work.append(asyncio.create_task(shop.run()))
    try:
        while (code := server.poll()) is None:  # noqa: ASYNC110 - another process
            await asyncio.sleep(_LOOKS)
        return code
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


async def _archive(redis: str, folder: Path, stop: asyncio.Event, every: int | None) -> None:
    options = ArchiveOptions(folder=folder, every=every, keep=_KEEP, compact=True, group=_GROUP)
    store = RedisStore(redis, timeout=PATIENCE)
    progress = SILENT if every is None else TERMINAL  # which says why it waits
    try:
        await archive_log(store, options, wall_clock, stop, progress, connect=store.start)
    finally:
        await store.close()
