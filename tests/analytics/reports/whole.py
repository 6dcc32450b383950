"""A small archive with something of everything, which every kind of report can be asked of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from decision.analytics.reports import KINDS
from decision.archive.replays import document_json
from decision.core.definition import PolicyDefinition
from decision.core.document import Document
from decision.rulebook.reader import load_files
from tests.analytics.reports.made import NOON, merge, write_rows

RULES = """
settings: {timezone: UTC, currency: CNY}
purposes: {tips: {consent: opt_out}}
channels:
  email: {cost: 0.01, reservation: {expires_after: 2d}}
  push: {cost: 0.5}
  sms: {cost: 0.1}
placements:
  outbound: {channels: [email, push], delivery: gateway}
  silent: {channels: [sms], delivery: gateway}
messages:
  news: {purpose: tips, channels: [email], value: 1, content: {title: News}, budget: {total: 50, per_day: 9}}
  offer: {purpose: tips, channels: [push], value: 2, content: {title: Offer}}
  unsent: {purpose: tips, channels: [sms], value: 1, content: {title: Never}}
budgets:
  month: {of: {channel: [email, push]}, spend: 20, per: calendar month}
metrics: {revenue: {event: purchase, value: amount}}
experiments: {later-test: {seed: later, variants: {control: 50%, short: 50%}}}
funnels: {buy: {steps: [page_view, purchase], within: 7d}}
journeys:
  welcome: {start: {event: page_view}, steps: {hello: {ask: outbound}, done: {end: finished}}}
  never: {start: {event: wish}, steps: {hello: {ask: outbound}, done: {end: finished}}}
"""
PEOPLE = [f"c-{number}" for number in range(12)]
_HOUR = timedelta(hours=1)
_TOLD = ("message.sent", "message.failed", "message.not_shown", "message.opened", "")
_WHY = ("capped", "no_consent", "quiet_hours")


@cache
def policy() -> PolicyDefinition:
    """The policy of the archive."""
    found = load_files({"rules.yaml": RULES})
    assert found.definition is not None, found
    return found.definition


def given_of(kind: str) -> dict[str, str]:
    """The options of a kind's example."""
    words = KINDS[kind].example.split()
    places = [one.name for one in KINDS[kind].options if one.positional][: len(words) % 2]
    named = words[len(places) :]
    pairs = zip(named[::2], named[1::2], strict=True)
    own = dict(zip(places, words, strict=False))
    return own | {name.removeprefix("--"): text for name, text in pairs}


Rows = Iterator[tuple[str, datetime, dict[str, Any]]]


def rows() -> Rows:
    """(dataset, when, row) of everything that happened."""
    for number, customer in enumerate(PEOPLE):
        yield from _events(number, customer)
        yield from _decisions(number, customer)
        yield from _journey(number, customer)


def _events(number: int, customer: str) -> Rows:
    did = [("page_view", 0.0)]
    did += [("purchase", 2 + 50 * again) for again in range(number % 4)]
    did += [("cart_add", 1.0), ("purchase", 2.0)] * (number % 2)  # two at one second
    did += [("page_view", 60.0), ("app_open", 60.0)]
    for place, (kind, hours) in enumerate(did):
        at = NOON + (hours + number * 7) * _HOUR
        properties: dict[str, Any] = {"device": ("ios", "web")[number % 2]}
        if kind == "purchase":
            properties |= {"amount": 10.5 + number + place, "category": ("tea", "cup")[place % 2]}
        yield "events", at, _event(f"e-{number}-{place}", customer, kind, at, properties)


def _event(
    event_id: str, customer: str, kind: str, at: datetime, properties: dict[str, Any]
) -> dict[str, Any]:
    return {
        "event_id": event_id, "customer_id": customer, "type": kind, "at": at, "received_at": at,
        "properties": msgspec.json.encode(properties).decode(),
    }  # fmt: skip


def _decisions(number: int, customer: str) -> Rows:
    for place in range(3):
        at = NOON + (place * 30 + number) * _HOUR
        name = f"d-{number}-{place}"
        chosen = (number + place) % 3 > 0
        message, channel = (("news", "email"), ("offer", "push"))[(number + place) % 2]
        yield "decisions", at, {
            "decision_id": name, "decided_at": at, "customer_id": customer,
            "placement": "outbound", "outcome": "selected" if chosen else "none", "position": 1,
            "reason": None if chosen else _WHY[place], "selection_probability": 0.5,
            "message": message if chosen else None, "channel": channel if chosen else None,
            "experiments": [("copy-test", ("control", "short")[number % 2])], "holdout": number % 5 == 0,
            "policy_version": "v", "degraded": [],
        }  # fmt: skip
        document = Document(
            customer_id=customer,
            attributes={"city": ("Lyon", "Wien")[number % 2], "rfm": {"segment": "new"}},
            timezone=("Asia/Shanghai", None)[number % 2],
        )
        yield "replays", at, {
            "decision_id": name, "decided_at": at, "customer_id": customer,
            "document": document_json(document).encode(), "question": "{}",
        }  # fmt: skip
        told = _TOLD[(number + place) % len(_TOLD)]
        if chosen and told:
            yield from _told(name, customer, message, told, at + 0.5 * _HOUR)


def _told(decision: str, customer: str, message: str, kind: str, at: datetime) -> Rows:
    why = {"reason": "mailbox full"} if kind == "message.failed" else {}
    own = {**_event(f"{decision}.{kind}", customer, kind, at, why), "decision_id": decision}
    yield "events", at, {**own, "message": message}
    yield "outcomes", at, {
        "event_id": own["event_id"], "decision_id": decision, "message": message,
        "customer_id": customer, "type": kind, "at": at, "value": None,
    }  # fmt: skip


def _journey(number: int, customer: str) -> Rows:
    at = NOON + number * 7 * _HOUR
    own = {"customer_id": customer, "journey": "welcome", "run": f"r-{number}", "started": at}
    entered = {"steps": ["hello:ask"], "asked": "hello", "outcome": "selected"}
    yield "journeys", at, {**own, "record_id": f"j-{number}.0", "at": at, **entered}
    if number % 3:
        ended = {"ended": ("finished", "goal")[number % 2], "at": at + _HOUR}
        yield "journeys", at, {**own, "record_id": f"j-{number}.1", "steps": [], **ended}


def write_whole(
    folder: Path,
    *,
    change: Callable[[str, dict[str, Any]], list[dict[str, Any]]] | None = None,
    backwards: bool = False,
) -> Path:
    """Writes the archive; `change` makes other rows of a row of a dataset."""
    files: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for dataset, at, row in rows():
        for one in [row] if change is None else change(dataset, row):
            files[dataset, f"{at:%Y-%m-%d}"].append(one)
    for (dataset, day), found in files.items():
        write_rows(folder, dataset, day, found[::-1] if backwards else found)
    merge(folder, "nobody", "else")
    return folder
