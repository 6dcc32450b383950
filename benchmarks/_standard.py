"""The standard of what decisions cost: its rules, its model, its customers.

100 candidates on five channels of which about half survive, 50 business rules, 10 caps; customers
with 40 attributes, 20 contacts and 12 types of events; a model of 200 trees with 31 leaves on 40
features.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
import numpy as np

from decision.core.clock import DAY, from_micros, to_micros
from decision.core.definition import PolicyDefinition
from decision.core.document import Contact, ContactState
from decision.core.ports import Commit, Committed, ReadResult
from decision.engine import Engine, Snapshot
from decision.engine.loading import CustomerRow, Loading, PastEvent
from decision.rulebook.reader import load_files
from decision.simulation.people import as_line, draw_customer
from decision.store import MemoryStore, RedisStore

NOW: Final = to_micros(datetime(2026, 11, 21, 2, 0, tzinfo=UTC))
CHANNELS: Final = ("push", "email", "sms", "in_app", "wechat")
EVENT_TYPES: Final = 12
CONTACTS: Final = 20
ATTRIBUTES: Final = 24
"""Made-up attributes beside the shop's: about 40 together."""
AT_ONCE: Final = 16
TREES: Final = 200
"""More than these are never learned, and the learning rate is so low that fewer are not better."""

Store = MemoryStore | RedisStore

MORE = """
budgets: {spent: {of: {channel: [push, email]}, spend: 100000, per: calendar month, pace: even}}
scores: {interest: {adds: {cart_add: 1, e1: 5, purchase: {property: amount}}, half_life: 30d}}
"""
MORE_PURPOSES = ", tips: {consent: not_required, tier: 6}"
MORE_CLAUSES = (
    "customer.a21: {lte: {field: customer.age}}",
    "customer.signed_up.days_since: {gte: 1}",
    "score.interest: {gte: 1}",
)
MORE_CAPS = """
  chosen: {of: {}, at_most: {field: customer.age, default: 30}, within: 7d}
  gone-quiet: {of: {category: k1}, when: {customer.a2: {gte: 1}}, at_most: 30, within: 30d}
"""


def made_up(
    channels: Sequence[str] = ("push", "email"),
    rules: int = 30,
    event_types: int = 0,
    more: bool = False,
) -> PolicyDefinition:
    """The policy of `rules_text`."""
    text = rules_text(channels, rules, event_types, more)
    read = load_files({"made_up.yaml": text})
    assert read.definition is not None, read
    return read.definition


def rules_text(
    channels: Sequence[str] = CHANNELS,
    rules: int = 50,
    event_types: int = EVENT_TYPES,
    more: bool = False,
    messages: int = 50,
) -> str:
    """Messages on two channels each, 60 distinct clauses, rules, 10 caps: 100 candidates of 50.

    With `event_types`, each message asks for an event that half of the customers have had lately,
    so that about half of the candidates survive. With `more`, messages compare fields, measure
    dates and ask for a score, and there are two tiers, two caps that vary and a budget of money.
    """
    draw = Random(1).random
    clauses = [f"customer.a{n % 20}: {{gte: {-1 - n}}}" for n in range(60)]
    lines = ["settings: {timezone: Asia/Shanghai}"]
    lines += [f"purposes: {{marketing: {{consent: opt_in}}{MORE_PURPOSES if more else ''}}}"]
    lines += [
        "channels:",
        *(f"  {name}: {{cost: {0.01 / (n + 1)}}}" for n, name in enumerate(channels)),
    ]
    lines += [f"placements: {{outbound: {{channels: [{', '.join(channels)}]}}}}", "messages:"]
    for n in range(messages):
        asked = [clauses[(n * 3 + k * 7) % 60] for k in range(3)]
        if event_types:
            asked.append(f"events.e{n % event_types}.count_7d: {{gte: 1}}")
        if more:
            asked.append(MORE_CLAUSES[n % len(MORE_CLAUSES)])
        purpose = "tips" if more and n % 5 == 0 else "marketing"
        when = ", ".join(dict.fromkeys(asked))
        pair = ", ".join(channels[(n + k) % len(channels)] for k in range(2))
        lines += [
            f"  m{n}: {{purpose: {purpose}, category: k{n % 8}, tags: [t{n % 5}],",
            f"    channels: [{pair}], value: {1 + 10 * draw():.2f}, when: {{{when}}},",
            f'    content: {{title: "Hello {{{{ customer.first_name }}}} {n}"}}}}',
        ]
    lines += ["caps:"]
    for n in range(10):
        lines += [
            f"  c{n}: {{of: {{category: k{n % min(8, messages)}}}, at_most: {9 + n}, within: {n + 1}d}}"
        ]
    lines += [MORE_CAPS, MORE] if more else []
    lines += ["rules:"]
    for n in range(rules):
        lines += [
            f"  r{n}: {{when: {{customer.a{n % 20}: {{gt: {n}}}, context.device: ios}},"
            f" boost: {{tags: [t{n % 5}]}}, by: 1.{1 + n % 9}}}"
        ]
    return "\n".join(lines)


_SPEC: Final = """
name: standard
target: {event: purchase, within: 7d}
features:
  message.name: categorical
  message.channel: categorical
  message.value: numeric
  contacts.count_30d: numeric
"""


def train_standard(models: Path, messages: int = 50, seed: int = 7) -> Path:
    """Trains the standard's model on made-up rows; returns its version folder."""
    from decision.learning.spec import parse_spec
    from decision.learning.table import table_of_columns
    from decision.learning.train import train

    numeric = [f"customer.a{n}" for n in range(ATTRIBUTES)]
    numeric += [f"events.e{n}.count_7d" for n in range(EVENT_TYPES)]
    text = _SPEC + "".join(f"  {name}: numeric\n" for name in numeric)
    text += "lightgbm: {num_leaves: 31, min_data_in_leaf: 20, learning_rate: 0.01}\n"
    text += f"rounds: {TREES}\nearly_stopping: {TREES}\nmissing: 0%\n"
    draw, rows = np.random.default_rng(seed), 20_000
    columns: dict[str, Any] = {name: draw.integers(0, 30, rows).astype(float) for name in numeric}
    columns |= {name: draw.integers(0, 2, rows).astype(float) for name in numeric[ATTRIBUTES:]}
    own = draw.integers(0, messages, rows)
    columns |= {
        "message.name": [f"m{n}" for n in own],
        "message.channel": [CHANNELS[n] for n in draw.integers(0, len(CHANNELS), rows)],
        "message.value": own % 11 + 1.0,
        "contacts.count_30d": draw.integers(0, 20, rows).astype(float),
    }
    parts = [np.sin(columns[name] * (1 + place / 7)) for place, name in enumerate(numeric)]
    odds = sum(parts) / 3 + np.cos(own) - 2.5
    label = draw.random(rows) < 1 / (1 + np.exp(-odds))
    version = train(
        parse_spec("standard.yaml", text), table_of_columns(columns, label.astype(float)), models
    )
    trees = (version / "model.txt").read_text("utf-8").count("\nTree=")
    assert trees == TREES, f"the standard's model has {trees} trees, not {TREES}"
    return version


async def fill(
    engine: Engine,
    store: Store,
    customers: int = 1000,
    attributes: int = 20,
    event_types: int = 0,
    *,
    contacts: int = CONTACTS,
    now: int = NOW,
) -> list[str]:
    """Customers of the simulated shop, with consents, a history, and old contacts.

    `attributes` is the number of made-up attributes beside the shop's. `event_types` is that of
    made-up event types: each customer has one event of each, half of them in the last week.
    """
    loading = Loading(engine.runtime)
    kinds = len(engine.snapshot.policy.candidates)
    numbers = iter(range(customers))
    names = [""] * customers

    async def put() -> None:
        for number in numbers:
            names[number] = await one(number)

    async def one(number: int) -> str:
        row = msgspec.json.decode(as_line(draw_customer(7, number, now)), type=CustomerRow)
        extra = {f"a{n}": number % (n + 7) for n in range(attributes)}
        further = [
            PastEvent(type=f"e{n}", at=from_micros(now - (1 + (number + n) % 2 * 10) * DAY))
            for n in range(event_types)
        ]
        row = msgspec.structs.replace(
            row,
            attributes={**row.attributes, **extra},
            consents={"marketing": {"*": "granted"}},
            timezone="Asia/Shanghai",
            reachable=msgspec.UNSET,
            aliases={},
            events=[*row.events, *further],
        )
        await loading.put(row, now=now)
        found = await store.read(row.customer_id)
        found.document.contacts = _contacts(Random(number), engine.snapshot, kinds, contacts, now)
        await _write(store, found, number)
        return row.customer_id

    await asyncio.gather(*(put() for _ in range(AT_ONCE)))
    return names


def _contacts(rng: Random, snapshot: Snapshot, kinds: int, count: int, now: int) -> list[Contact]:
    return sorted(
        (
            Contact(
                kind=snapshot.kinds[rng.randrange(kinds)],
                at=now - 15 * DAY - rng.randrange(60 * DAY),
                state=ContactState.CONFIRMED,
                mark=60,
                tag=rng.getrandbits(32),
            )
            for _ in range(count)
        ),
        key=lambda contact: contact.at,
    )


async def _write(store: Store, found: ReadResult, number: int) -> None:
    commit = Commit(
        id=f"fill-{number}",
        customer_id=found.document.customer_id,
        document=found.document,
        version=found.version,
        expect=("contacts",),
        write=("contacts",),
    )
    assert isinstance(await store.commit(commit), Committed)
