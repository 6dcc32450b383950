"""Small journeys, and time going by for one customer, for the tests of this folder."""

from __future__ import annotations

from typing import Any

import msgspec

from decision.core.clock import DAY, HOUR, MINUTE, to_micros
from decision.core.definition import PolicyDefinition, Settings
from decision.core.document import Document
from decision.core.event_effects import Occurrence
from decision.core.journeys.advance import after_ask
from decision.core.journeys.compiled import Journeys
from decision.core.journeys.definition import Ask, Journey, Trigger
from decision.core.journeys.proceed import proceed
from decision.core.journeys.react import look, react
from decision.core.journeys.state import Run
from decision.core.journeys.waits import next_wake
from decision.core.policy_builder import compile_policy
from decision.core.records import JourneyRecord

MONDAY = to_micros(msgspec.convert("2026-11-23T00:00:00Z", __import__("datetime").datetime))
"""Monday, 23 November 2026, in UTC."""


def journeys_of(*journeys: Journey, **parts: Any) -> Journeys:
    """Compiled journeys, of a policy with other parts."""
    parts.setdefault("settings", Settings())
    found = compile_policy(PolicyDefinition(version="1", journeys=journeys, **parts)).journeys
    assert found is not None
    return found


def journey(*steps: Any, name: str = "j", start: Any = None, **parts: Any) -> Journey:
    """A journey that the event `go` starts, unless `start` says otherwise."""
    start = start or Trigger(name="", event="go")
    return Journey(name=name, start=start, steps=steps, **{"again": 0, **parts})


def ask(name: str, **parts: Any) -> Ask:
    """A step that asks."""
    return Ask(name=name, placement="outbound", **parts)


class Life:
    """One customer, to whom events come while time goes by; `log` has what was recorded.

    `asked` is (time, step) of every ask; each is answered by `outcome` and `not_before`.
    """

    def __init__(self, journeys: Journeys, now: int = MONDAY, **customer: Any) -> None:
        self.journeys, self.now = journeys, now
        self.document = Document(customer_id="mei", exists=True, **customer)
        self.log: list[JourneyRecord] = []
        self.asked: list[tuple[int, str]] = []
        self.outcome: Any = "selected"
        self.not_before: int | None = None
        self.count = 0

    def event(self, kind: str, at: int | None = None, **properties: Any) -> None:
        """An event comes, which happened now, or at another time."""
        self.count += 1
        one = Occurrence(
            id=f"e-{self.count}",
            type=kind,
            at=self.now if at is None else at,
            properties=properties,
        )
        before = look(self.journeys, self.document, self.now)
        self.log += react(self.journeys, self.document, one, self.now, before).records

    def change(self, timezone: str | None = None, **attributes: Any) -> None:
        """The customer changes."""
        before = look(self.journeys, self.document, self.now)
        if timezone is not None:
            self.document.timezone = timezone
        self.document.attributes = {**self.document.attributes, **attributes}
        self.log += react(self.journeys, self.document, None, self.now, before).records

    def step(self) -> None:
        """Everything that is due now is done."""
        while True:
            progress = proceed(self.journeys, self.document, self.now)
            self.log += progress.records
            if progress.asks is None:
                return
            self.asked.append((self.now, progress.asks.step.name))
            self.log.append(
                after_ask(
                    self.journeys,
                    self.document,
                    progress.asks,
                    self.outcome,
                    self.not_before,
                    self.now,
                    progress.asking,
                )
            )

    def until(self, end: int) -> None:
        """Time goes by, and everything is done as soon as it is due."""
        self.step()
        while (wake := next_wake(self.journeys, self.document, self.now)) is not None:
            if wake > end:
                break
            self.now = max(self.now, wake)
            self.step()
        self.now = max(self.now, end)

    def pass_(self, span: int) -> None:
        """So much time goes by."""
        self.until(self.now + span)

    @property
    def runs(self) -> list[Run]:
        """Those under way."""
        state = self.document.journeys
        return [run for runs in state.runs.values() for run in runs] if state else []

    @property
    def asks(self) -> list[tuple[int, str, str]]:
        """(time, journey, step) of every ask."""
        return [(one.at, one.journey, one.asked) for one in self.log if one.asked is not None]

    @property
    def ended(self) -> list[str]:
        """Why runs have ended."""
        return [one.ended for one in self.log if one.ended is not None]


__all__ = ["DAY", "HOUR", "MINUTE", "MONDAY", "Life", "ask", "journey", "journeys_of"]
