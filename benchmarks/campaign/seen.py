"""What clients were answered, read from their journals: all that the oracle knows of the servers."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.campaign.journal import read_journal

ROUTES: Final = {
    "decide": "POST /v1/decisions",
    "batch": "POST /v1/decisions/batch",
    "events": "POST /v1/events",
    "put": "PUT /v1/customers/{id}",
    "consent": "PUT /v1/customers/{id}/consents",
    "merge": "POST /v1/customers/{id}/merge",
    "erase": "DELETE /v1/customers/{id}",
    "find": "GET /v1/decisions/{id}",
}


class Answer(NamedTuple):
    """A decision that a client was answered with. `at` is microseconds, the rest Unix seconds."""

    decision_id: str
    customer: str
    request_id: str | None
    event_id: str | None
    outcome: str
    degraded: tuple[str, ...]
    at: int
    picks: tuple[tuple[str, str], ...]
    sent: float
    answered: float
    server: int

    @property
    def without_store(self) -> bool:
        return "store" in self.degraded


class Lost(NamedTuple):
    """A decision that was asked for, and that no client has an answer of."""

    customer: str
    request_id: str | None
    sent: float
    ended: float
    why: str


class EventSeen(NamedTuple):
    """An event: when it was sent first and last, and whether it is said to be recorded."""

    body: dict[str, Any]
    sent: float
    last_sent: float
    accepted: bool


class Change(NamedTuple):
    """One change of a customer: what, when it was sent, and when and with what it was answered."""

    what: Any
    sent: float
    answered: float
    status: int


class LookUp(NamedTuple):
    """A decision with the store, looked up soon after, and the answer's status."""

    decision_id: str
    answered: float
    status: int


class Point(NamedTuple):
    """One decision asked for, for the figures: how it ended, and when."""

    ended: float
    result: str
    seconds: float


class Seen:
    """All journals together."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.repeated: list[tuple[Answer, Answer]] = []
        self.by_request: defaultdict[tuple[str, str], list[Answer]] = defaultdict(list)
        self.lost: list[Lost] = []
        self.events: dict[str, EventSeen] = {}
        self.sent_with: dict[str, str] = {}
        """Event id of a decision request → customer."""
        self.changes: defaultdict[str, list[Change]] = defaultdict(list)
        self.look_ups: list[LookUp] = []
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.errors: Counter[tuple[str, int, str]] = Counter()
        self.points: list[Point] = []
        self.decisions = 0
        self._open: dict[tuple[str, int], list[Any]] = {}

    def read(self, journals: Iterable[Path]) -> Seen:
        """Adds journals; what has no end in them has none at all."""
        for path in journals:
            for row in read_journal(path):
                self._row(path.stem, row)
        last = max((point.ended for point in self.points), default=0.0)
        for call in list(self._open.values()):
            self._end(call, min(call[3] + 60, max(last, call[3])), "the client was killed", [])
        self._open.clear()
        return self

    def _row(self, journal: str, row: list[Any]) -> None:
        if row[0] == "s":
            self._open[journal, row[1]] = row
            return
        call = self._open.pop((journal, row[1]), None)
        if call is None:
            return
        if row[0] == "l":
            self._end(call, row[2], row[3], row[4])
        else:
            self._answered(call, row[2], row[3], row[4])

    def _end(self, call: list[Any], ended: float, why: str, results: list[Any]) -> None:
        """A call without an answer, or with a part of one."""
        _, _, kind, sent, server, what = call
        self.statuses[kind, 0] += 1
        if kind in ("decide", "batch"):
            self._decisions(what, results, sent, ended, server)
            for customer, request_id, event_id in what[len(results) :]:
                self._asked(customer, event_id)
                sent_at_all = not why.startswith("not connected")
                if sent_at_all or request_id is not None:
                    self.lost.append(Lost(customer, request_id, sent, ended, why))
                self.points.append(Point(ended, "lost" if sent_at_all else "unsent", 0))
        elif kind == "events":
            self._events(what, sent, None)
        elif kind != "find":
            self.changes[kind].append(Change(what, sent, ended, 0))

    def _answered(self, call: list[Any], ended: float, status: int, results: Any) -> None:
        _, _, kind, sent, server, what = call
        self.statuses[kind, status] += 1
        if status >= 500 and status != 503:
            self.errors[ROUTES[kind], status, _detail(results)] += 1
        if kind in ("decide", "batch"):
            if status == 200:
                self._decisions(what, results, sent, ended, server)
                if len(results) < len(what):
                    self.errors[ROUTES[kind], 200, "a batch answered with too few lines"] += 1
                return
            for customer, _, event_id in what:
                self._asked(customer, event_id)
                self.points.append(Point(ended, str(status), ended - sent))
        elif kind == "events":
            self._events(what, sent, results if status == 202 else None)
        elif kind == "find":
            self.look_ups.append(LookUp(what, ended, status))
        else:
            self.changes[kind].append(Change(what, sent, ended, status))

    def _asked(self, customer: str, event_id: str | None) -> None:
        self.decisions += 1
        if event_id is not None:
            self.sent_with[event_id] = customer

    def _decisions(
        self, what: list[Any], results: list[Any], sent: float, ended: float, server: int
    ) -> None:
        for (customer, request_id, event_id), result in zip(what, results, strict=False):
            self._asked(customer, event_id)
            if len(result) == 2:
                self.points.append(Point(ended, str(result[0]), ended - sent))
                if result[0] != 503:
                    self.errors["a line of " + ROUTES["batch"], *map(_plain, result)] += 1
                continue
            decision_id, outcome, degraded, decided_at, picks = result
            answer = Answer(
                *(decision_id, customer, request_id, event_id, outcome, tuple(degraded)),
                _micros(decided_at),
                tuple((message, channel) for message, channel in picks),
                *(sent, ended, server),
            )
            kind = "degraded" if answer.without_store else "good"
            self.points.append(Point(ended, kind, ended - sent if len(what) == 1 else 0))
            if request_id is not None:
                self.by_request[customer, request_id].append(answer)
            before = self.answers.setdefault(decision_id, answer)
            if before is not answer and before.request_id != request_id:
                self.repeated.append((before, answer))

    def _events(self, what: list[dict[str, Any]], sent: float, answer: Any) -> None:
        refused = {one["index"] for one in answer["rejected"]} if answer else set()
        for index, body in enumerate(what):
            before = self.events.get(body["id"])
            accepted = answer is not None and index not in refused
            if before is None:
                before = EventSeen(body, sent, sent, False)
            self.events[body["id"]] = EventSeen(
                body,
                min(sent, before.sent),
                max(sent, before.last_sent),
                accepted or before.accepted,
            )


def _micros(text: str) -> int:
    at = datetime.fromisoformat(text)
    return int(at.replace(microsecond=0).timestamp()) * 1_000_000 + at.microsecond


def _detail(text: str) -> str:
    """A problem's detail: the rest differs for each request."""
    try:
        return str(json.loads(text)["detail"])
    except (ValueError, LookupError, TypeError):
        return text


def _plain(value: Any) -> Any:
    return value if isinstance(value, int) else str(value)
