"""From the log to a training table: what was given, and whether it led to its goal.

A row is one selection: its features as the model saw them, labelled 1 where the customer did what
the goal says in (decided, decided + within]. An outcome that names another decision or message
belongs to that one. Left out is what nobody got (released, never seen), and what is too young to
be judged: its goal's window reaches past the end of the log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from decision.core.definition import Goal
from decision.core.recording import RELEASING, SEEN
from decision.core.values import Value
from decision.learning.spec import Spec
from decision.learning.table import TrainingTable, table_of_rows


class _Outcome(NamedTuple):
    at: int
    decision_id: str | None
    message: str | None

    def concerns(self, decision_id: str, message: str) -> bool:
        return self.decision_id in (None, decision_id) and self.message in (None, message)


class _Outcomes:
    """Outcomes by customer and type, in order of time."""

    def __init__(self, outcomes: Iterable[Mapping[str, Any]]) -> None:
        self._found: dict[tuple[str, str], list[_Outcome]] = {}
        self._released: set[tuple[str, str | None]] = set()
        self._seen: set[tuple[str, str | None]] = set()
        for outcome in outcomes:
            kind, decision_id = outcome["type"], outcome.get("decision_id")
            row = _Outcome(outcome["at"], decision_id, outcome.get("message"))
            self._found.setdefault((outcome["customer_id"], kind), []).append(row)
            if decision_id is not None and kind in RELEASING:
                self._released.add((decision_id, row.message))
            if decision_id is not None and kind in SEEN:
                self._seen.add((decision_id, row.message))
        for rows in self._found.values():
            rows.sort(key=lambda row: row.at)

    def was_given(self, decision_id: str, message: str) -> bool:
        """False where the contact was released and the customer is not known to have seen it."""
        keys = {(decision_id, message), (decision_id, None)}
        return not keys & self._released or bool(keys & self._seen)

    def reached(
        self, customer_id: str, decision_id: str, message: str, at: int, goal: Goal
    ) -> bool:
        """Whether the goal happened within its window."""
        rows = self._found.get((customer_id, goal.event), [])
        start = bisect_right(rows, at, key=lambda row: row.at)
        for row in rows[start:]:
            if row.at > at + goal.within:
                return False
            if row.concerns(decision_id, message):
                return True
        return False


def build_table(
    decisions: Iterable[Mapping[str, Any]],
    outcomes: Iterable[Mapping[str, Any]],
    spec: Spec,
    goals: Mapping[str, Goal],
    *,
    until: int,
) -> TrainingTable:
    """The table of logged decisions and outcomes.

    A decision has `decision_id, decided_at, customer_id` and `selections` (`message, channel,
    features`); an outcome `customer_id, type, at` and, where it is about a contact, `decision_id`
    and `message`. `goals` are those of the messages; `until` is the time to which outcomes are
    known. Times are microseconds. A selection that the log holds twice counts once.

    Raises:
        TrainingError: see `table_of_rows`.
    """
    known = _Outcomes(outcomes)
    rows: list[Mapping[str, Value]] = []
    labels: list[float] = []
    times: list[int] = []
    messages: list[str] = []
    channels: list[str] = []
    done: set[tuple[str, str, str]] = set()
    for decision in decisions:
        decision_id, at = decision["decision_id"], decision["decided_at"]
        for selection in decision.get("selections", ()):
            message, channel = selection["message"], selection["channel"]
            goal = spec.target or goals.get(message) or spec.without_goal
            key = (decision_id, message, channel)
            if goal is None or at + goal.within > until or key in done:
                continue
            if not known.was_given(decision_id, message):
                continue
            done.add(key)
            rows.append(selection.get("features") or {})
            reached = known.reached(decision["customer_id"], decision_id, message, at, goal)
            labels.append(float(reached))
            times.append(at)
            messages.append(message)
            channels.append(channel)
    return table_of_rows(rows, labels, time=times, message=messages, channel=channels)
