"""What is asked, and what is reported of what was given. It only makes it up; nothing is sent."""

from __future__ import annotations

import random
from typing import Any, Final

from benchmarks.campaign.journal import DecisionResult

DEADLINES: Final = (10, 20, 50, 100, 250, 500, 1000, 1000, 1000, 1000)

WINDOW: Final = 400
"""How many customers are asked about at a time."""

EACH: Final = 16
"""Decisions for each customer, about, before the window moves on."""


class Workload:
    """`asked` counts decisions; `events` are those that are still to be sent."""

    def __init__(self, name: str, seed: str) -> None:
        self.name = name
        self.chance = random.Random(f"{seed}/{name}")
        self.number = self.asked = 0
        self.events: list[dict[str, Any]] = []
        self.recent: list[str] = []
        self._reported: dict[str, None] = {}

    def customer(self) -> str:
        """A hot one, which all processes share, or one of the window, which moves on."""
        if self.chance.random() < 0.1:
            return f"hot-{self.chance.randrange(40)}"
        index = self.asked // EACH + self.chance.randrange(WINDOW)
        # Some are known by a second id, until the two are merged.
        letter = "n" if index % 20 == 1 and self.chance.random() < 0.5 else "c"
        return f"{letter}{self.name}-{index}"

    def changing(self) -> str:
        """One that is changed: every other one is merged, opts out, or is erased."""
        customer = self.customer()
        if customer[0] == "c" and self.chance.random() < 0.5:
            name, _, index = customer.rpartition("-")
            customer = f"{name}-{int(index) // 20 * 20 + self.chance.choice((1, 2, 3))}"
        return customer

    def question(self) -> tuple[list[Any], dict[str, Any]]:
        """(customer, request id, event id), and the request."""
        chance, customer = self.chance, self.customer()
        self.number += 1
        body: dict[str, Any] = {"placement": "outbound", "customer_id": customer}
        request_id = event_id = None
        if chance.random() < 0.5:
            request_id = body["request_id"] = f"r{self.name}-{self.number}"
        if chance.random() < 0.15:
            event_id = f"v{self.name}-{self.number}"
            body["event"] = {"type": "visit", "id": event_id, "properties": {"page": "home"}}
        if chance.random() < 0.15:
            body["limit"] = chance.choice([2, 3])
        if chance.random() < 0.1:
            body["channels"] = chance.choice([["push"], ["email", "in_app"]])
        if chance.random() < 0.5:
            body["deadline_ms"] = chance.choice(DEADLINES)
        return [customer, request_id, event_id], body

    def given(self, customer: str, result: DecisionResult) -> bool:
        """Reports on what was given, later; says whether the store was part of the answer."""
        if len(result) == 2 or "store" in result[2]:
            return False
        if not result[4] or result[0] in self._reported:
            return True
        self.recent = [*self.recent[-50:], result[0]]
        # One report for each: two that contradict could end a release that others have used.
        self._reported[result[0]] = None
        if len(self._reported) > 100_000:
            del self._reported[next(iter(self._reported))]
        for message, _ in result[4]:
            draw = self.chance.random()
            kind = (
                ("message.sent" if draw < 0.15 else "message.delivered")
                if draw < 0.3
                else "message.failed"
                if draw < 0.45
                else "message.not_shown"
            )
            if draw < 0.6:
                self.event(customer, kind, decision_id=result[0], message=message)
        if self.chance.random() < 0.05:
            self.event(customer, "purchase", properties={"amount": 80})
        return True

    def event(self, customer: str, kind: str, **rest: Any) -> None:
        self.number += 1
        event_id = f"e{self.name}-{self.number}"
        self.events.append({"id": event_id, "customer_id": customer, "type": kind, **rest})
