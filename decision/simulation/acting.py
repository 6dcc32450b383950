"""What journeys do in a simulation, counted, for one policy or two side by side."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from heapq import nsmallest
from typing import Any, Final, NamedTuple

import msgspec

from decision.core.clock import from_micros
from decision.core.records import JourneyRecord
from decision.simulation.tally import Choice, Line

TABLES: Final = ("moment", "step", "ask", "given", "end", "refused", "under way")
"""What is counted: moments that happened, steps entered, asks by outcome, what was given in which
step, ends by reason, runs that were refused, and the steps in which runs stand in the end."""


class Asked(NamedTuple):
    """What a step of a journey asked for, and what each policy gave: None where it did not ask."""

    at: datetime
    customer_id: str
    journey: str
    step: str
    old: str | None
    new: str | None


class Ask(NamedTuple):
    """One ask of one policy."""

    at: datetime
    customer_id: str
    journey: str
    step: str
    outcome: str
    reason: str | None
    given: tuple[str, ...]

    @property
    def shown(self) -> str:
        """What was given, or why nothing was."""
        return ", ".join(self.given) or f"{self.outcome} ({self.reason})"


class JourneyTally:
    """Counts what journeys did `until` a time; `first` asks are listed, the earliest first."""

    def __init__(self, first: int = 0) -> None:
        self.tables: dict[str, defaultdict[str, Line]] = {
            name: defaultdict(Line) for name in TABLES
        }
        self.until = from_micros(0)
        self._first = first
        self._asked: tuple[list[Ask], list[Ask]] = ([], [])

    def __bool__(self) -> bool:
        return any(self.tables.values())

    def went(self, record: JourneyRecord, *, old: bool) -> None:
        """Counts what was done to a run."""
        for entered in record.steps:
            self._count("step", f"{record.journey}.{entered.rpartition(':')[0]}", old=old)
        if record.ended is not None:
            self._count("end", f"{record.journey}: {record.ended}", old=old)
        if record.refused is not None:
            self._count("refused", f"{record.journey}: {record.refused}", old=old)
        if record.skipped is not None:
            self._count("ask", f"{record.journey}.{record.skipped}: too late", old=old)

    def happened(self, moment: str, *, old: bool) -> None:
        """Counts a moment."""
        self._count("moment", moment, old=old)

    def asked(self, ask: Ask, choices: list[Choice], *, old: bool) -> None:
        """Counts what a step asked for, and got."""
        step = f"{ask.journey}.{ask.step}"
        value = sum(choice.value for choice in choices)
        self._count("ask", f"{step}: {ask.outcome}", value, old=old)
        for choice in choices:
            self._count("given", f"{step}: {choice.name}", choice.value, old=old)
        own = self._asked[old]
        if len(own) < self._first:  # each policy asks in the order of time
            own.append(ask)

    def under_way(self, tallies: dict[str, int], *, old: bool) -> None:
        """Takes in how many runs stand in each step in the end, as the store counts them."""
        for name, count in tallies.items():
            journey, _, step = name.partition("\0")
            if not step.startswith("!"):
                self.tables["under way"][f"{journey}.{step}"].add(count, 0.0, old=old)

    def _count(self, table: str, name: str, value: float = 0.0, *, old: bool) -> None:
        self.tables[table][name].add(1, value, old=old)

    def first(self) -> list[Asked]:
        """The first asks of both policies, with what each gave."""
        found: dict[tuple[datetime, str, str, str], list[str | None]] = {}
        for place, own in ((1, self._asked[False]), (0, self._asked[True])):
            for ask in own:
                sides = found.setdefault(ask[:4], [None, None])
                sides[place] = ask.shown
        rows = (Asked(*key, *sides) for key, sides in found.items())
        return nsmallest(self._first, rows, key=lambda row: row[:4])

    def as_dict(self, compared: bool) -> dict[str, Any]:
        """Everything counted, as plain data."""

        def line(one: Line) -> dict[str, Any]:
            if compared:
                return {**msgspec.to_builtins(one), "change": one.change}
            return {"new": one.new, "new_value": one.new_value}

        return {
            "until": self.until,
            "by": {
                table.replace(" ", "_"): {name: line(one) for name, one in sorted(lines.items())}
                for table, lines in self.tables.items()
            },
            "first": [
                {key: value for key, value in row._asdict().items() if compared or key != "old"}
                for row in self.first()
            ],
        }
