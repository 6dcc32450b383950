"""Real purchases through a journey of replenishment: asks and ends equal a count by hand."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from decision.core import records
from decision.core.clock import DAY, HOUR, from_micros, to_micros
from decision.core.identifiers import PARTITIONS
from decision.core.journeys.counts import counts_by_journey
from decision.core.schema import Event
from decision.engine import Engine, build_snapshot
from decision.rulebook.reader import load_files
from decision.store import MemoryStore
from tests.data import needed
from tests.test_cdnow import purchases

RULES = """
settings: {{timezone: UTC, exploration: "off"}}
purposes: {{tips: {{consent: opt_out}}}}
channels: {{email: {{}}}}
placements: {{outbound: {{channels: [email]}}}}
messages:
  again: {{purpose: tips, channels: [email], value: 1, content: {{title: Time for more?}}}}
journeys:
  replenish:
    start: {{event: purchase}}
    goal: {{event: purchase}}
    again: {again}
    steps:
      pause: {{wait: {wait}d}}
      remind: {{ask: outbound}}
      look: {{wait: {after}d}}
"""


class Case(NamedTuple):
    """Days to wait before and after the ask; days until a run may start again (0: always, None:
    never); how many hours the purchases of a day are apart; and whether what is due at the time of
    a purchase is done before it.
    """

    wait: int
    after: int = 10
    again: int | None = 0
    apart: int = 0
    due_first: bool = False

    @property
    def rules(self) -> str:
        again = {0: "always", None: "never"}.get(self.again, f"{self.again}d")
        return RULES.format(again=again, wait=self.wait, after=self.after)


class Found(NamedTuple):
    """(customer, time) of every ask; ends by reason; runs under way by step."""

    asks: list[tuple[str, int]]
    ended: dict[str, int]
    waiting: dict[str, int]


def bought(file: str, apart: int) -> list[tuple[int, str]]:
    """(time, customer), in order of time; the purchases of a customer's day so many hours apart."""
    found, days = [], Counter[tuple[str, str]]()
    for at, customer, _ in purchases(needed(f"cdnow/{file}")):
        day = (customer, at.date().isoformat())
        found.append((to_micros(at + timedelta(hours=apart * min(days[day], 3))), customer))
        days[day] += 1
    return sorted(found)


def by_hand(rows: list[tuple[int, str]], until: int, case: Case) -> Found:
    """One customer after the other, with no clock and no state but the last start."""
    own: defaultdict[str, list[int]] = defaultdict(list)
    for at, customer in rows:
        own[customer].append(at)
    asks, ended, waiting = [], Counter[str](), Counter[str]()
    wait, over = case.wait * DAY, (case.wait + case.after) * DAY
    late = case.due_first  # of two things at one time the purchase is the later one
    for customer, times in own.items():
        start = last = None
        for at in times:
            if start is not None:
                if start + wait < at + late:
                    asks.append((customer, start + wait))
                ended["goal" if at + late <= start + over else "finished"] += 1
            start = None
            if last is None or (case.again is not None and at - last >= case.again * DAY):
                start = last = at
        if start is not None:
            if start + wait <= until:
                asks.append((customer, start + wait))
            if start + over <= until:
                ended["finished"] += 1
            else:
                waiting["look" if start + wait <= until else "pause"] += 1
    return Found(sorted(asks), dict(ended), dict(waiting))


async def by_the_engine(rows: list[tuple[int, str]], until: int, case: Case) -> Found:
    """The clock goes from hour to hour at which there can be something, to the last one."""
    clock = [rows[0][0]]
    store = MemoryStore(lambda: clock[0] / 1_000_000)
    engine = Engine(store, clock=lambda: clock[0])
    loaded = load_files({"rules.yaml": case.rules})
    assert loaded.definition is not None, loaded.diagnostics
    at = from_micros(clock[0])
    engine.use(await build_snapshot(loaded.definition, None, store, at, try_first=False))
    by_time: defaultdict[int, list[Event]] = defaultdict(list)
    for number, (at_, customer) in enumerate(rows):
        by_time[at_].append(Event(type="purchase", customer_id=customer, id=f"p-{number}"))
    for day in range(rows[0][0], until + 1, DAY):
        for hour in sorted({case.apart * count * HOUR for count in range(4)}):
            clock[0] = day + hour
            if case.due_first:
                await engine.stepping.run_due()
            if events := by_time.pop(clock[0], None):
                assert not (await engine.events.record(events)).rejected
            await engine.stepping.run_due()
    assert not by_time
    [counts] = counts_by_journey(await store.tallies()).values()
    return Found(sorted(await asked(store)), counts.ended, counts.waiting)


async def asked(store: Any) -> Iterable[tuple[str, int]]:
    """What the log has of the step's decisions, each of which gave the message."""
    decode, found = records.decode_decision, []
    for partition in range(PARTITIONS):
        for row in await store.log_records(partition):
            if row.kind == "decision":
                decision = decode(row.body)
                assert [one.message for one in decision.selections] == ["again"]
                found.append((decision.customer_id, decision.decided_at))
    return found


async def compare(file: str, case: Case, every: int = 1) -> None:
    """Of one customer in so many."""
    rows = [row for row in bought(file, case.apart) if int(row[1]) % every == 0]
    until = rows[-1][0] + 80 * DAY
    until -= (until - rows[0][0]) % DAY
    expected, found = by_hand(rows, until, case), await by_the_engine(rows, until, case)
    people = len({customer for _, customer in rows})
    print(f"\n{people} customers, {len(rows)} purchases, {case}: {len(expected.asks)} asks")
    print(f"ended {expected.ended}, under way {expected.waiting}")
    assert found == expected


QUICK = {
    "the wait of a replenishment": Case(60),
    "shorter than most gaps": Case(7, after=1),
    "purchases of one day hours apart": Case(60, apart=3),
    "asked on the very day of the next purchase": Case(1, after=1, apart=2, due_first=True),
}
CASES = QUICK | {
    "what is due goes before a purchase at the same time": Case(60, due_first=True),
    "longer than most gaps": Case(150),
    "one run for ever": Case(30, again=None),
    "half a year between starts": Case(30, again=180, after=60),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", QUICK)
async def test_asks_and_ends_of_real_purchases_equal_a_count_by_hand(name: str) -> None:
    await compare("CDNOW_sample.txt", QUICK[name], every=5)


@pytest.mark.soak
@pytest.mark.anyio
@pytest.mark.parametrize("name", CASES)
async def test_asks_and_ends_of_all_customers_equal_a_count_by_hand(name: str) -> None:
    await compare("CDNOW_master.txt", CASES[name])


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
