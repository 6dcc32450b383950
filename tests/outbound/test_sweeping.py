"""Dates and schedules start journeys for everybody, from when they are in force on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from decision.core.clock import DAY, HOUR, MINUTE, SECOND
from decision.core.journeys.definition import (
    Ask,
    DateStart,
    Element,
    Journey,
    Moment,
    ScheduleStart,
    Trigger,
)
from decision.core.schema import CustomerUpdate
from decision.outbound import sweeping
from decision.outbound.runner import Runner
from decision.outbound.sweeping import SWEEP_BLOB, Sweep, Sweeping
from decision.store import RedisStore
from tests.core.small import NOON
from tests.engine.conftest import Clock
from tests.engine.journeys.world import definition, of, tell
from tests.outbound.test_holding import World, journey
from tests.outbound.world import engine_on, steps, use

pytestmark = pytest.mark.anyio


def greets(start: Any, name: str = "greet") -> Journey:
    """Asks once, each time it starts."""
    ask = Ask(name="hello", placement="outbound", of=of("hello"))
    return Journey(name=name, start=start, again=0, steps=(ask,))


def at(minute: int) -> ScheduleStart:
    return ScheduleStart(name="", schedule=f"{minute % 60} {minute // 60} * * *")


def policy(*journeys: Journey, timezone: str = "UTC") -> Any:
    found = definition(*journeys, moments=())
    return msgspec.structs.replace(
        found, settings=msgspec.structs.replace(found.settings, timezone=timezone)
    )


NONE = journey("unrelated")
NINE, ONE = at(9 * 60), at(13 * 60)


@pytest.fixture
async def world() -> World:
    """Thirty customers who were written before there were journeys, at noon."""
    made = await World(Clock(), NONE).open()
    await use(made.engine, msgspec.structs.replace(definition(), journeys=(), moments=()))
    for number in range(30):
        update = CustomerUpdate(attributes={"birthday": "1990-11-21"})
        await made.engine.customers.update(f"c-{number}", update)
    return made


async def begun(world: World) -> list[tuple[int, str]]:
    """When runs started, and of which journey, each time once."""
    return sorted({(one.started, one.journey) for one in await steps(world.store)})


async def test_customers_written_before_start_at_the_next_time(world: World) -> None:
    """All of them, once; and what was before the policy came in force starts nothing, although a
    timer that is far comes up to hours early."""
    await use(world.engine, policy(greets(NINE)))
    await world.pass_(DAY, every=10 * MINUTE)
    assert await begun(world) == [(NOON + 21 * HOUR, "greet")]
    assert len([one for one in await steps(world.store) if one.asked]) == 30


async def test_a_new_schedule_starts_nothing_for_a_time_that_was(world: World) -> None:
    """Also not for those who were looked at before that time."""
    await use(world.engine, policy(greets(at(10 * 60))))
    await world.pass_(23 * HOUR, every=10 * MINUTE)  # it is 11:00: looked at an hour ago
    await use(world.engine, policy(greets(at(10 * 60)), greets(at(10 * 60 + 30), "half")))
    await world.pass_(2 * HOUR, every=10 * MINUTE)
    await world.pass_(DAY, every=10 * MINUTE)
    ten = NOON + 22 * HOUR
    assert await begun(world) == [
        (ten, "greet"),
        (ten + DAY, "greet"),
        (ten + DAY + HOUR // 2, "half"),
    ]


async def test_a_policy_that_comes_back_starts_again(world: World) -> None:
    """After a rollback to a policy without journeys, in which timers have come and gone."""
    await use(world.engine, policy(greets(ONE)))
    await world.pass_(2 * HOUR, every=10 * MINUTE)
    await use(world.engine, policy(NONE))
    await world.pass_(2 * DAY, every=HOUR)
    await use(world.engine, policy(greets(ONE)))
    await world.pass_(2 * DAY, every=10 * MINUTE)
    days = [started for started, _ in await begun(world)]
    assert len([one for one in await steps(world.store) if one.asked]) % 30 == 0
    assert days[0] == NOON + HOUR and set(days[1:]) >= {NOON + 3 * DAY + HOUR}
    assert not set(days) & {NOON + DAY + HOUR}


async def test_another_time_zone_moves_what_starts(world: World) -> None:
    """Of those who have none of their own, when that of the settings changes."""
    await use(world.engine, policy(greets(at(20 * 60))))
    await world.pass_(SECOND)
    await use(world.engine, policy(greets(at(20 * 60)), timezone="Asia/Tokyo"))
    await world.pass_(8 * HOUR, every=10 * MINUTE)
    assert await begun(world) == []  # 20:00 in Tokyo was at 11:00 by UTC
    await world.pass_(16 * HOUR, every=10 * MINUTE)
    assert await begun(world) == [(NOON + 23 * HOUR, "greet")]


async def test_dates_of_customers_start_for_those_who_were_never_written_since(
    world: World,
) -> None:
    """NOON is on the 21st of November."""
    start = DateStart(name="", field="customer.birthday", minute=13 * 60)
    await use(world.engine, policy(greets(start)))
    await world.pass_(2 * HOUR, every=10 * MINUTE)
    assert await begun(world) == [(NOON + HOUR, "greet")]
    assert len([one for one in await steps(world.store) if one.asked]) == 30


async def test_a_walk_goes_on_where_another_process_left_it(
    redis_store: RedisStore, other_stores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process walks for a moment; together they reach everybody, and then it is over."""
    engine = await engine_on(redis_store, policy=policy(NONE))
    for number in range(1_200):
        await engine.customers.update(f"c-{number}", CustomerUpdate(attributes={"a": 1}))
    other = other_stores()
    await other.start()
    monkeypatch.setattr(sweeping, "_TURN", 1000)
    own = policy(greets(NINE), greets(ONE, "lunch"))
    places: list[str | None] = []
    for number in range(200):
        process = await engine_on((redis_store, other)[number % 2], policy=own)
        await Sweeping(process).look(0.0001)
        raw = await redis_store.get_blob(SWEEP_BLOB)
        assert raw is not None
        places.append(msgspec.msgpack.decode(raw, type=Sweep).place)
        if places[-1] is None:
            break
    counts = await redis_store.count_wakes()
    assert places[-1] is None and len(places) > 2
    assert counts.near + counts.far >= 1_200
    before = await redis_store.count_wakes()
    await Runner(await engine_on(redis_store, policy=own)).step_due()
    after = await redis_store.count_wakes()
    assert (before.near + before.far) == (after.near + after.far)


def gone(within: int, *, absent: str = "purchase", name: str = "abandoned") -> Any:
    """The policy with a journey that a moment starts."""
    pattern = [Element(event="cart_add"), *([Element(event=absent, absent=True)] if absent else [])]
    moment = Moment(name=name, within=within, pattern=tuple(pattern))
    saved = greets(Trigger(name="", event="moment.abandoned"), "saved")
    return definition(saved, moments=(moment,))


@pytest.mark.parametrize(
    ("edited", "after"),
    [
        (gone(5 * HOUR), 4 * HOUR),  # an hour after the first event, it is edited
        (gone(HOUR), 0),
        (gone(2 * DAY, absent=""), 0),
        (gone(3 * DAY), 3 * DAY - HOUR),
        (gone(5 * HOUR, name="renamed"), None),
    ],
    ids=["shorter", "shorter, over", "no absent one", "longer", "renamed"],
)
async def test_a_moment_that_is_edited_happens_at_its_new_time(
    edited: Any, after: int | None
) -> None:
    """Also for those of whom nothing comes any more."""
    made = await World(Clock(), NONE).open()
    await use(made.engine, gone(2 * DAY))
    for number in range(30):
        await tell(made.engine, "cart_add", f"c-{number}")
    await made.pass_(HOUR, every=10 * MINUTE)
    now = made.clock.now
    await use(made.engine, edited)
    await made.pass_(4 * DAY, every=30 * MINUTE)
    times = [one.at for one in await steps(made.store) if one.asked]
    if after is None:
        assert times == []
    else:
        assert len(times) == 30
        assert all(0 <= at - now - after <= 30 * MINUTE for at in times)


BIRTHDAY = DateStart(name="", field="customer.birthday", minute=540, shift=DAY)

ANEW = {
    "put back": (policy(greets(at(9 * 60))), policy(NONE), policy(greets(at(9 * 60)))),
    "changed": (policy(greets(at(20 * 60))), policy(greets(at(9 * 60)))),
    "another time zone": (
        policy(greets(at(18 * 60))),
        policy(greets(at(18 * 60)), timezone="Asia/Tokyo"),
    ),
    "added": (policy(NONE), policy(NONE, greets(at(9 * 60)))),
    "renamed": (policy(greets(at(20 * 60), "a")), policy(greets(at(9 * 60), "b"))),
    "put back, a date": (
        policy(greets(BIRTHDAY)),
        policy(NONE),
        policy(greets(BIRTHDAY)),
    ),
    "another shift": (
        policy(greets(DateStart(name="", field="customer.birthday", minute=540))),
        policy(greets(BIRTHDAY)),
    ),
}


@pytest.mark.parametrize("edits", ANEW.values(), ids=ANEW)
@pytest.mark.parametrize("looks", [True, False])
async def test_a_start_by_time_is_only_for_times_after_the_edit(
    world: World, edits: Any, looks: bool
) -> None:
    """At 10:00, 09:00 is past, whenever the customer was looked at, and also where somebody is
    looked at before the process has noted the edit."""
    await use(world.engine, edits[0])
    await world.pass_(20 * HOUR, every=HOUR)  # it is 08:00
    for one in edits[1:-1]:
        await use(world.engine, one)
    await world.pass_(2 * HOUR, every=HOUR if len(edits) > 2 else 2 * HOUR)
    before, now = await begun(world), world.clock.now
    await use(world.engine, edits[-1])
    await world.store.arm({f"c-{number}": now for number in range(30)})
    if not looks:
        await world.engine.stepping.run_due()
    await world.pass_(22 * HOUR, every=30 * MINUTE)
    new = [one for one in await begun(world) if one not in before]
    assert all(at > now for at, _ in new), [(at - now) / HOUR for at, _ in new]
    await world.pass_(DAY, every=30 * MINUTE)
    if not any("birthday" in str(one) for one in edits):
        assert [one for one in await begun(world) if one not in before]
