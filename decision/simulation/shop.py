"""A simulated shop: the true response of each customer to any message is known.

What a customer responds to is made of the seed and of hashed tastes: of groups (country, age,
what they buy, how active they are) and of the customer, for a message's category, tags, purpose
and channel. So the shop fits any policy, and most of the truth can be learned. Contacts tire.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from decision.core import calendar
from decision.core import events as histories
from decision.core.candidates import CandidateInfo
from decision.core.clock import DAY, HOUR, from_micros
from decision.core.document import Contact, ContactState, Document, EventHistory
from decision.core.events import Measure
from decision.core.fields import FieldTable, Situation
from decision.learning.table import TrainingTable, table_of_rows
from decision.scoring.features import Feature, FeatureEncoder, fields_of
from decision.simulation.people import ShopCustomer, as_line, draw_customer

DEFAULT_NOW: Final = 1_795_226_400_000_000
"""2026-11-21T02:00:00Z, at which a shop's history ends unless another time is given."""
_BASE = -2.9
_TIRING = 0.28
_NIGHT = frozenset((*range(7), 23))
_INTERRUPTING = frozenset({"push", "sms", "sales_task"})


class Shop:
    """The shop of a seed. `now` (microseconds) is when its customers' history ends."""

    def __init__(self, seed: int, customers: int = 10_000, now: int = DEFAULT_NOW) -> None:
        self.seed = seed
        self.now = now
        self.customers = [draw_customer(seed, number, now) for number in range(customers)]
        self._taste = lru_cache(maxsize=200_000)(self._hashed_taste)

    def response_probability(
        self, customer: ShopCustomer, candidate: CandidateInfo, now: int, recent_contacts: int = 0
    ) -> float:
        """The true probability of a response, after that many contacts in the last 7 days."""
        things = [f"category:{candidate.category}", f"channel:{candidate.channel}"]
        things += (f"tag:{tag}" for tag in candidate.tags)
        log_odds = _BASE + 0.8 * self._taste("everybody", f"message:{candidate.message}")
        groups = _groups(customer)
        for thing in things:
            log_odds += 0.5 * self._taste("everybody", thing)
            log_odds += 0.35 * self._taste(customer.customer_id, thing)
            for group in groups:
                log_odds += 0.45 * self._taste(group, thing)
        log_odds += 0.9 * math.tanh(len(customer.events) / 12 - 0.5)
        if candidate.purpose == "service":
            log_odds += 1.0
        hour = from_micros(now).astimezone(calendar.zone(customer.timezone)).hour
        if hour in _NIGHT and candidate.channel in _INTERRUPTING:
            log_odds -= 1.0
        log_odds -= _TIRING * customer.sensitivity * recent_contacts
        return min(0.7, max(0.001, 1 / (1 + math.exp(-log_odds))))

    def respond(
        self, customer: ShopCustomer, candidate: CandidateInfo, now: int, recent_contacts: int = 0
    ) -> bool:
        """A response drawn with its true probability; the same question has the same answer."""
        key = f"{customer.customer_id}/{candidate.message}/{candidate.channel}/{now}"
        return _unit(self.seed, "respond", key) < self.response_probability(
            customer, candidate, now, recent_contacts
        )

    def export_customers(self, path: Path | str) -> None:
        """Writes the customers as NDJSON, one to a line, as `nextbest load` reads them."""
        with Path(path).open("wb") as file:
            file.writelines(map(as_line, self.customers))

    def log_of_random_policy(
        self, candidates: Sequence[CandidateInfo], n: int, features: Sequence[Feature]
    ) -> TrainingTable:
        """What `n` contacts chosen at random led to, on the day after the history ends.

        Features are read as the server reads them: from documents, through the field table.
        """
        fields = FieldTable(fields_of(features))
        encoder = FeatureEncoder(features, {}, candidates, fields.slot)
        measures = fields.measures()
        document_of = lru_cache(maxsize=None)(lambda index: self.document(index, measures))
        kinds = [candidate.kind for candidate in candidates]
        draw = Random(f"{self.seed}/log").random
        rows, labels, times = [], [], []
        for _ in range(n):
            index = int(draw() * len(self.customers))
            customer = self.customers[index]
            chosen = int(draw() * len(candidates))
            now = self.now + int(draw() * DAY)
            contacts = [
                Contact(
                    kind=int(draw() * len(kinds)),
                    at=now - HOUR - int(draw() * 14 * DAY),
                    state=ContactState.CONFIRMED,
                    mark=0,
                    tag=0,
                )
                for _ in range(int(6 * draw() ** 2))
            ]
            contacts.sort(key=lambda contact: contact.at)
            document = msgspec.structs.replace(document_of(index), contacts=contacts, kinds=kinds)
            candidate = candidates[chosen]
            placement = "app_home" if candidate.channel == "in_app" else "outbound"
            situation = Situation(
                document,
                placement,
                now,
                calendar.zone(customer.timezone),
                context={"device": customer.attributes["device"]},
            )
            rows.append(encoder.features(chosen, fields.read(situation), document, now))
            recent = sum(contact.at > now - 7 * DAY for contact in contacts)
            labels.append(float(self.respond(customer, candidate, now, recent)))
            times.append(now)
        return table_of_rows(
            rows,
            labels,
            time=times,
            message=[str(row["message.name"]) for row in rows],
            channel=[str(row["message.channel"]) for row in rows],
        )

    def document(self, index: int, measures: dict[str, Measure]) -> Document:
        """The document of a customer by number, with the measures of events that are kept."""
        customer = self.customers[index]
        found: dict[str, EventHistory] = {}
        zone = calendar.zone(customer.timezone)
        for event in customer.events:
            measure = measures.get(event.type)
            if measure is None:
                continue
            history = found.get(event.type)
            if history is None:
                history = found[event.type] = EventHistory(last={}, buckets=[], days=[])
            histories.record(history, measure, event.at, event.properties, self.now, zone)
        return Document(
            customer_id=customer.customer_id,
            exists=True,
            attributes=customer.attributes,
            timezone=customer.timezone,
            events=found,
        )

    def _hashed_taste(self, who: str, thing: str) -> float:
        """In [-1, 1]: how much the customer likes a thing."""
        return 2 * _unit(self.seed, who, thing) - 1


def _groups(customer: ShopCustomer) -> tuple[str, ...]:
    facts: dict[str, Any] = customer.attributes
    return (
        f"country:{facts['country']}",
        f"age:{facts['age'] // 15}",
        f"favourite:{facts['favourite_category']}",
        f"spend:{int(math.log10(1 + facts['lifetime_spend']))}",
    )


def _unit(seed: int, who: str, thing: str) -> float:
    """A number in [0, 1) for ever the same."""
    digest = blake2b(f"{seed}\0{who}\0{thing}".encode(), digest_size=7).digest()
    return int.from_bytes(digest) / 2**56
