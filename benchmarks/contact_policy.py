"""What caps and quiet hours cost, in parts of the decoding of the customer's document.

    python -m benchmarks.contact_policy

Ratios of one run; the bounds are 2 at 10 caps and 20 contacts, 3 at 30 caps and 200 contacts.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from statistics import median
from zoneinfo import ZoneInfo

from decision.core.clock import DAY, HOUR, SECOND
from decision.core.definition import (
    Cap,
    Channel,
    Message,
    Placement,
    PolicyDefinition,
    Purpose,
    QuietHours,
    Selector,
    Settings,
)
from decision.core.document import Contact, ContactKind, ContactState, Document, EventHistory
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.core.ports import Commit, Section, Version
from decision.core.quiet_hours import silenced
from decision.store import MemoryStore

NOW = 1_795_000_000 * SECOND
CHANNELS = ("push", "email", "sms", "in_app")
BOUNDS = {(10, 20): 2.0, (30, 200): 3.0}


def policy_of(caps: int) -> Policy:
    """Forty messages on two channels each, and that many caps of every kind."""
    chance = random.Random(caps)
    windows: list[int | str] = [DAY, 7 * DAY, 30 * DAY, HOUR, "day", "week", "month"]
    return compile_policy(
        PolicyDefinition(
            version="bench",
            settings=Settings(timezone="Asia/Shanghai"),
            purposes=(Purpose(name="marketing", consent="opt_out"),),
            channels=tuple(
                Channel(name=name, quiet_hours=(QuietHours(start=1320, end=480),))
                for name in CHANNELS
            ),
            placements=(Placement(name="outbound", channels=CHANNELS),),
            messages=tuple(
                Message(
                    name=f"m{number}",
                    purpose="marketing",
                    category=f"c{number % 6}",
                    tags=(f"t{number % 5}",),
                    channels=(CHANNELS[number % 4], CHANNELS[(number + 1) % 4]),
                )
                for number in range(40)
            ),
            caps=tuple(
                Cap(
                    name=f"cap{number}",
                    of=chance.choice(
                        [
                            Selector(),
                            Selector(channel=(chance.choice(CHANNELS),)),
                            Selector(category=(f"c{number % 6}",)),
                            Selector(tags=(f"t{number % 5}",)),
                            Selector(purpose=("marketing",)),
                        ]
                    ),
                    at_most=1 + number % 9,
                    within=windows[number % len(windows)],  # type: ignore[arg-type]
                    per=(None, "message", "category", "channel")[number % 4],  # type: ignore[arg-type]
                )
                for number in range(caps)
            ),
        )
    )


def document_of(contacts: int, kinds: list[ContactKind]) -> Document:
    """A customer with 40 attributes, 12 counted event types, and that many contacts in 90 days."""
    chance = random.Random(contacts)
    return Document(
        customer_id="c",
        timezone="America/New_York",
        attributes={f"attribute_{number}": number * 7 for number in range(40)},
        contacts=sorted(
            (
                Contact(
                    chance.randrange(len(kinds)),
                    NOW - chance.randrange(90 * DAY),
                    ContactState.CONFIRMED,
                    60,
                    chance.getrandbits(32),
                )
                for _ in range(contacts)
            ),
            key=lambda contact: contact.at,
        ),
        events={
            f"event_{number}": EventHistory(
                total=9, last_at=NOW - number * HOUR, buckets=[[NOW // SECOND - 3600 * number, 2]]
            )
            for number in range(12)
        },
        kinds=kinds,
    )


async def _store_with(policy: Policy) -> tuple[MemoryStore, list[ContactKind]]:
    store = MemoryStore()
    kinds = [
        ContactKind(c.message, c.channel, c.purpose, c.category, c.tags) for c in policy.candidates
    ]
    await store.register_kinds(kinds)
    document = document_of(1, kinds)
    sections: tuple[Section, ...] = ("profile", "contacts", "events")
    await store.commit(
        Commit(
            id="bench",
            customer_id="c",
            document=document,
            version=Version(),
            expect=sections,
            write=sections,
        )
    )
    return store, kinds


def seconds(work: Callable[[], object], repeat: int = 300) -> float:
    """CPU seconds of one call: the least of many rounds, since the machine is shared."""
    work()
    rounds = []
    for _ in range(15):
        began = time.process_time()
        for _ in range(repeat):
            work()
        rounds.append((time.process_time() - began) / repeat)
    return min(rounds) if min(rounds) else median(rounds)


def main() -> int:
    """Prints the ratios; 1 where one is over its bound."""
    import asyncio

    zone = ZoneInfo("America/New_York")
    failed = 0
    print("caps  contacts   decode µs   caps + quiet µs   ratio   bound")
    for (caps, contacts), bound in BOUNDS.items():
        policy = policy_of(caps)
        store, kinds = asyncio.run(_store_with(policy))
        raw = store.pack(document_of(contacts, kinds))
        document = store.unpack("c", raw)

        def hold(policy: Policy = policy, document: Document = document) -> None:
            policy.contact_policy.standing(document, NOW, zone)
            silenced(policy.quiet.plain, NOW, zone, (), policy.everything)

        def read(store: MemoryStore = store, raw: bytes = raw) -> None:
            store.unpack("c", raw)

        decode, cost = seconds(read), seconds(hold)
        ratio = cost / decode
        failed |= ratio > bound
        print(
            f"{caps:>4}  {contacts:>8}   {decode * 1e6:9.1f}   {cost * 1e6:15.1f}"
            f"   {ratio:5.2f}   {bound:5.1f}"
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
