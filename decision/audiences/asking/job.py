"""A run that asks for everybody, from what was asked for to its end."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from decision.audiences.asking.run import AskingRun
from decision.audiences.asking.state import Asks
from decision.audiences.job import Prepared, check_segment
from decision.audiences.reading import Sleep
from decision.audiences.state import RunState
from decision.core.errors import InputError, unknown
from decision.core.schema import Decision
from decision.engine.engine import Engine
from decision.files import replacing
from decision.progress import SILENT, Progress


async def perform(
    engine: Engine,
    prepared: Prepared,
    state: RunState,
    *,
    archive: str | None = None,
    find: Callable[[str], Awaitable[Decision | None]] | None = None,
    rate: float | None = None,
    in_step: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Takes a run to its end; see `AskingRun` for the options.

    Raises:
        InputError: the policy in force has no such placement or channel, or nobody would deliver.
        NotFound: neither rules nor customers have the segment.
        FileExistsError: there is a file by now, as of another part, and not to `overwrite`.
        StoreUnavailable, OSError: what was done is kept; the run can be continued.
    """
    asked = state.settings
    check_placement(engine, state)
    run = AskingRun(
        engine,
        prepared.audience,
        state,
        archive=archive,
        find=find,
        rate=rate,
        in_step=in_step,
        progress=progress,
        sleep=sleep,
    )
    await run.run(lambda: check_segment(prepared.definition, state))
    if asked.out is not None:
        _write(Path(asked.out), run.asks, overwrite)
    with state.step():
        run.asks.forget()
    state.finish()


def _write(path: Path, asks: Asks, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    with replacing(path, parents=False) as file:
        for line in asks.lines():
            file.write(line + b"\n")


def check_placement(engine: Engine, state: RunState) -> None:
    """Refuses what the policy in force does not have, and decisions that nobody would deliver.

    Raises:
        InputError: the text says which, and what to do.
    """
    asked, policy = state.settings, engine.snapshot.policy
    if asked.placement not in policy.placements:
        raise unknown("--placement", "placement", asked.placement, policy.placements)
    for channel in asked.channels:
        if channel not in policy.channels:
            raise unknown("--channels", "channel", channel, policy.channels)
    if asked.out is None and policy.placements[asked.placement].delivery != "gateway":
        raise InputError(
            "--out",
            f"is needed: nobody else delivers what is chosen at {asked.placement}, which has no "
            "delivery: gateway",
        )
