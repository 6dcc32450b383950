"""A draft beside what is in force, over decisions that were made."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from decision.archive.location import location
from decision.archive.replays import ArchivedReplay
from decision.archive.replays import read_replays as read_archived
from decision.core.clock import from_micros
from decision.core.definition import PolicyDefinition
from decision.core.said import packed
from decision.drafts.logged import read_replays
from decision.drafts.request import CannotCompare, Request, Tell
from decision.drafts.results import Affected, Cause, Move, Row, WhatIf
from decision.engine.snapshot import PolicyRefused
from decision.progress import count_of
from decision.scoring.loading import load_model, load_scoped_models
from decision.scoring.manifest import ModelError
from decision.scoring.model import Model
from decision.scoring.scope import EVERYWHERE, Scope
from decision.scoring.versions import current_version
from decision.simulation.report import ordered
from decision.simulation.run import Simulation
from decision.simulation.side import Simulated
from decision.simulation.tally import Causes, Line, Tally, by_count

_GROUPS: Final = ("customer.state", "placement")
_SEED: Final = "what-if"
_MOST_SHOWN: Final = 50


class _Decisions:
    """Decisions as they are read, until the time is over, and what was read of them."""

    def __init__(self, found: Iterator[ArchivedReplay], seconds: float) -> None:
        self.count, self.complete = 0, True
        self.first: int | None = None
        self.last: int | None = None
        self._found, self._ends = found, time.monotonic() + seconds

    def __iter__(self) -> Iterator[ArchivedReplay]:
        for replay in self._found:
            if time.monotonic() >= self._ends:
                self.complete = False
                return
            at = replay.decided_at
            self.count += 1
            self.first = at if self.first is None else min(at, self.first)
            self.last = at if self.last is None else max(at, self.last)
            yield replay


async def compare(
    new: PolicyDefinition, old: PolicyDefinition, request: Request, tell: Tell
) -> WhatIf:
    """Decides the decisions of the request by both policies, each in a store of its own.

    Raises:
        CannotCompare: one of the policies cannot be used.
        ArchiveError, OSError: the decisions cannot be read.
    """
    cautions: list[str] = []
    scoped = models_in_force(request.models, cautions)
    model = scoped.pop(EVERYWHERE, None)
    sides = []
    for name, definition in (("the draft", new), ("what is in force", old)):
        side = Simulated(
            definition,
            model,
            _SEED,
            _GROUPS,
            lowercase_emails=request.lowercase_emails,
            scoped=scoped,
        )
        try:
            await side.prepare()
        except PolicyRefused as error:
            raise CannotCompare(f"{name} cannot be used: {error}") from None
        sides.append(side)
    with closing(_read(request)) as found:
        decisions = _Decisions(found, request.seconds)
        simulation = Simulation(sides[0], sides[1])
        await simulation.replay(_told(decisions, request.newest, tell))
    simulation.doubt(old)
    if not decisions.complete:
        cautions.append(f"the time was over after {count_of(decisions.count, 'decision')}")
    return _result(simulation.tally, decisions, new, old, cautions)


def _read(request: Request) -> Generator[ArchivedReplay]:
    if request.archive is not None:
        yield from read_archived(location(request.archive), newest=request.newest)
    else:
        yield from read_replays(request.replays)


def _told(decisions: _Decisions, newest: int, tell: Tell) -> Iterator[ArchivedReplay]:
    for replay in decisions:
        tell(decisions.count, newest)
        yield replay


def models_in_force(folder: str | None, cautions: list[str]) -> dict[Scope, Model]:
    """The models in force, by scope; what must not serve does not, and a prior stands in for the
    one of all others."""
    found: dict[Scope, Model] = {}
    try:
        place = current_version(Path(folder)) if folder is not None else None
        found |= {} if place is None else {EVERYWHERE: load_model(place)}
    except ModelError as error:
        cautions.append(f"a prior stands in for the model: {error}")
    try:
        found |= load_scoped_models(folder)
    except ModelError as error:
        cautions.append(f"models with a scope are left out: {error}")
    return found


def _result(
    tally: Tally,
    decisions: _Decisions,
    new: PolicyDefinition,
    old: PolicyDefinition,
    cautions: list[str],
) -> WhatIf:
    return WhatIf(
        old_version=old.version,
        new_version=new.version,
        currency=new.settings.currency,
        decisions=decisions.count,
        refused=tally.errors,
        complete=decisions.complete,
        differing=tally.requests - tally.changes["same"],
        first=None if decisions.first is None else from_micros(decisions.first),
        last=None if decisions.last is None else from_micros(decisions.last),
        total=_row("", tally.total),
        changes={kind: n for kind, n in tally.changes.most_common() if kind != "same"},
        by={
            table: [_row(name, line) for name, line in ordered(table, lines)]
            for table, lines in tally.tables.items()
        },
        moves=[
            Move(old=was, new=now, count=count)
            for (was, now), count in tally.moves.most_common(_MOST_SHOWN)
        ],
        lost_because=_causes(tally.lost),
        gained_because=_causes(tally.gained),
        customers_changed=len(tally.customers),
        most_affected=[
            Affected(customer_id=name, **msgspec.structs.asdict(one))
            for name, one in tally.most_affected()
        ],
        cautions=[*cautions, *tally.cautions],
    )


def _row(name: str, line: Line) -> Row:
    return Row(
        name=name,
        old=line.old,
        new=line.new,
        old_value=line.old_value,
        new_value=line.new_value,
    )


def _causes(causes: Causes) -> list[Cause]:
    return [
        Cause(choice=choice, reason=reason, source=source, count=count, for_example=packed(detail))
        for (choice, reason, source), (count, detail) in by_count(causes)[:_MOST_SHOWN]
    ]
