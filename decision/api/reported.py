"""Reports of a provider as events: about which contact, by whom it was seen, recorded once."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec

from decision.api.answers import LONGEST_ID
from decision.core import records
from decision.core.clock import MINUTE, from_micros, to_micros
from decision.core.event_effects import GATEWAY, OPTING_OUT
from decision.core.identifiers import parse_decision_id, partition_of
from decision.core.machines import MACHINE
from decision.core.records import DecisionRecord
from decision.core.schema import Event
from decision.engine import Engine
from decision.engine.identity import resolve
from decision.engine.scanners import Sighting, too_fast
from decision.gateways.mail import message_id_begins
from decision.gateways.protocol import header_text
from decision.gateways.report import EVENT_TYPES, Report
from decision.gateways.reports import MAILS, event_ids
from decision.gateways.settings import ReportedGateway

_SEEN: Final = ("message.opened", "message.clicked")
_LENGTH: Final = 26
"""Letters of a decision id."""

_LONGEST_NAME: Final = 128

_EARLY: Final = MINUTE
"""Microseconds after which what was handed over is recorded, unless its sender has died."""


class _About(msgspec.Struct, frozen=True, kw_only=True):
    """The contact that a report is about; `channel` where it is known."""

    customer_id: str
    decision_id: str
    message: str
    channel: str | None = None


class _Told(NamedTuple):
    """An event that a report tells of."""

    report: Report
    event: Event


class Reported:
    """Records what a request reports about the deliveries of one gateway."""

    def __init__(self, engine: Engine, name: str, gateway: ReportedGateway) -> None:
        self._engine = engine
        self._name = name
        self._gateway = gateway
        self._known: dict[str, bool] = {}
        self.refused: list[tuple[Event, str]] = []
        """What was rejected so far, each with the reason."""

    async def record(self, reports: Sequence[Report]) -> Counter[str]:
        """Records what the reports say; returns what became of them, by the fields of the answer.

        Raises:
            StoreUnavailable: not everything is recorded; the same reports again change nothing
                twice.
        """
        counts: Counter[str] = Counter()
        told: list[_Told] = []
        known = [one for one in reports if one.kind in EVENT_TYPES]
        counts["ignored"] = len(reports) - len(known)
        contacts = await asyncio.gather(*map(self._about, known))
        ids = event_ids(known, self._name)
        for report, event_id, about in zip(known, ids, contacts, strict=True):
            kind = EVENT_TYPES[report.kind]
            if about is None:
                counts["later" if self._may_be_early(report) else "unmatched"] += 1
            else:
                told.append(_Told(report, self._event(report, event_id, kind, about)))
        # What was delivered is known before it is asked how long after it somebody has clicked.
        counts += await self._keep(one.event for one in told if one.event.type not in _SEEN)
        people, machines = await self._by_whom([one for one in told if one.event.type in _SEEN])
        counts += await self._keep(people)
        counts += await self._keep(machines, "machine")
        return counts

    async def _keep(self, events: Iterable[Event], accepted: str = "accepted") -> Counter[str]:
        by_customer: defaultdict[str | None, list[Event]] = defaultdict(list)
        for one in events:
            by_customer[one.customer_id].append(one)
        counts: Counter[str] = Counter()
        # Side by side: one after another, those of a large body take longer than providers wait.
        answers = await asyncio.gather(
            *(self._engine.events.record(own) for own in by_customer.values()),
            return_exceptions=True,
        )
        for own, answer in zip(by_customer.values(), answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            self.refused += [(own[row.index], row.detail) for row in answer.rejected]
            counts[accepted] += answer.accepted
            counts["duplicates"] += answer.duplicates
            counts["rejected"] += len(answer.rejected)
        return counts

    async def _by_whom(self, told: Sequence[_Told]) -> tuple[list[Event], list[Event]]:
        """(what people have done, what programs have done, marked)."""
        fast = [False] * len(told)
        config = self._gateway.config
        if config.detect_scanners and config.provider in MAILS:
            fast = await too_fast(self._engine.runtime, [_sighting(one) for one in told])
        people: list[Event] = []
        machines: list[Event] = []
        for one, scanned in zip(told, fast, strict=True):
            if one.report.machine or scanned:
                marked = {**one.event.properties, MACHINE: True}
                machines.append(msgspec.structs.replace(one.event, properties=marked))
            else:
                people.append(one.event)
        return people, machines

    def _may_be_early(self, report: Report) -> bool:
        """Whether what was delivered may not be recorded yet, as it was handed over just now."""
        if self._gateway.carries or report.delivery or not report.provider_ids:
            return False
        now = self._engine.runtime.clock()
        return report.at is None or now - report.at * 1e6 < _EARLY

    async def _about(self, report: Report) -> _About | None:
        """The contact of a report, by what was sent along or by the provider's id; None if it is
        not known."""
        about = await self._by_our_ids(report, EVENT_TYPES[report.kind])
        if about is None and not self._gateway.carries:
            for name in report.provider_ids:
                found = await self._engine.runtime.store.find_provider_id(self._name, name)
                if found is not None:
                    return _About(**msgspec.structs.asdict(found))
        return about

    async def _by_our_ids(self, report: Report, kind: str) -> _About | None:
        """The contact as it was sent along, or as the log has it.

        A customer's id that was sent along is enough, also when the log is trimmed.
        """
        decision_id = _decision_of(report)
        if decision_id is None:
            return None
        named = _named(report, decision_id)
        known = named is not None and await self._is_known(named.customer_id)
        # Of an opt-out the channel matters, also where no contact tells it: of a fallback.
        if not known or kind in OPTING_OUT:
            decision = await self._decision(decision_id)
            if decision is not None:
                return self._given(report, decision_id, decision) or named
        if named is None:
            return None
        _, partition, _ = parse_decision_id(decision_id)
        if not known and partition == partition_of(named.customer_id):
            return None  # erased: nothing about the customer is to be kept again
        return msgspec.structs.replace(named, channel=self._gateway.channel)

    async def _is_known(self, customer_id: str) -> bool:
        if customer_id not in self._known:
            found = await resolve(self._engine.runtime, customer_id)
            self._known[customer_id] = found.document.exists
        return self._known[customer_id]

    def _given(self, report: Report, decision_id: str, decision: DecisionRecord) -> _About | None:
        """The contact, or the fallback, that a decision has made; None if that was another."""
        delivery, mail = report.delivery or "", (report.message_id or "").lstrip("<")
        for message, channel in self._messages(decision):
            own = f"{decision_id}.{message}"
            begins = message_id_begins(header_text(own))
            if delivery in (own, header_text(own)) or mail.startswith(begins):
                return _About(
                    customer_id=decision.customer_id,
                    decision_id=decision_id,
                    message=message,
                    channel=channel,
                )
        return None

    def _messages(self, decision: DecisionRecord) -> list[tuple[str, str]]:
        """(message, channel) of what a decision gave. A fallback is not logged: it is the one of
        its placement, on the channel of this gateway if it has several."""
        if decision.outcome != "fallback":
            return [(one.message, one.channel) for one in decision.selections]
        policy = self._engine.snapshot.policy
        pairs = [policy.pairs[one] for one in policy.fallbacks.get(decision.placement, ())]
        found = [(message.name, channel.name) for message, channel in pairs]
        return sorted(found, key=lambda one: one[1] != self._gateway.channel)

    async def _decision(self, decision_id: str) -> DecisionRecord | None:
        record = await self._engine.runtime.store.find_record(decision_id)
        if record is None or record.kind != "decision":
            return None
        return records.decode_decision(record.body)

    def _event(self, report: Report, event_id: str, kind: str, about: _About) -> Event:
        properties: dict[str, Any] = {"source": "report", GATEWAY: self._name}
        if about.channel in self._engine.snapshot.policy.channels:
            properties["channel"] = about.channel
        if report.reject_reason is not None:
            properties["reject_reason"] = report.reject_reason
        if kind == "message.bounced":
            properties["permanent"] = report.permanent
        if report.machine:
            properties[MACHINE] = True
        return Event(
            type=kind,
            customer_id=about.customer_id,
            id=event_id,
            at=self._moment(report.at),
            decision_id=about.decision_id,
            message=about.message,
            properties=properties,
        )

    def _moment(self, at: float | None) -> datetime:
        """When it happened; now where the provider says nothing, or its clock is ahead of ours."""
        now = self._engine.runtime.clock()
        known = at is not None and 0 < at * 1e6 <= now
        return from_micros(int(at * 1e6) if known and at is not None else now)


def _named(report: Report, decision_id: str) -> _About | None:
    """The contact as it was sent along."""
    delivery = report.delivery or ""
    if not report.customer or len(report.customer) > LONGEST_ID:
        return None
    message = unquote(delivery[_LENGTH + 1 :])
    if delivery[:_LENGTH] != decision_id or not 0 < len(message) <= _LONGEST_NAME:
        return None
    return _About(customer_id=report.customer, decision_id=decision_id, message=message)


def _decision_of(report: Report) -> str | None:
    """The decision that a report is about, by what was sent along or by the Message-ID."""
    for text in (report.delivery, report.message_id):
        found = (text or "").lstrip("<")[:_LENGTH]
        try:
            parse_decision_id(found)
        except ValueError:
            continue
        return found
    return None


def _sighting(told: _Told) -> Sighting:
    event = told.event
    return Sighting(
        customer_id=event.customer_id or "",
        decision_id=event.decision_id or "",
        message=event.message or "",
        at=0 if event.at is None else to_micros(event.at),
        link=told.report.link,
    )
