"""Overload is refused early, in few places, and never for the wrong reason."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.errors import Overloaded
from decision.server import admission as module
from decision.server.admission import (
    FEWEST,
    FIRST,
    MOST,
    TARGET_DELAY,
    Admission,
    ConcurrencyLimit,
)

LATE = TARGET_DELAY * 4
ON_TIME = TARGET_DELAY / 10


def sampled(limit: ConcurrencyLimit, *delays: float, used: bool = True) -> int:
    for delay in delays:
        limit.sample(delay, used=used)
    return limit.value


def test_a_late_event_loop_makes_fewer_decisions_at_once_down_to_a_few() -> None:
    limit = ConcurrencyLimit()
    values = [sampled(limit, *[LATE] * 5) for _ in range(20)]
    assert values == sorted(values, reverse=True)
    assert values[0] < FIRST
    assert values[-1] == FEWEST


def test_a_slow_store_lets_more_run_at_once_because_waiting_delays_nobody() -> None:
    limit = ConcurrencyLimit()
    for _ in range(200):
        sampled(limit, *[ON_TIME] * 5)
    assert limit.value == MOST


def test_the_limit_does_not_grow_while_nobody_waits_for_it() -> None:
    assert sampled(ConcurrencyLimit(), *[ON_TIME] * 500, used=False) == FIRST


def test_one_long_pause_changes_nothing() -> None:
    """As a garbage collection, or a policy that is put in force, may make."""
    limit = ConcurrencyLimit()
    sampled(limit, 0.0, 0.0, 3.0, 0.0, 0.0, used=False)
    assert limit.value == FIRST


@given(st.lists(st.tuples(st.floats(-1, 100), st.booleans())))
def test_the_limit_stays_within_its_bounds(samples: list[tuple[float, bool]]) -> None:
    limit = ConcurrencyLimit()
    for delay, used in samples:
        limit.sample(delay, used=used)
        assert FEWEST <= limit.value <= MOST


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    yield now


def test_a_quiet_server_takes_a_burst_of_a_thousand(clock: list[float]) -> None:
    admission = Admission()
    for _ in range(1000):
        assert not admission.full()
        admission.entering += 1
    while not admission.full():
        admission.entering += 1
    assert admission.entering < 2000


@pytest.mark.parametrize("cost", [0.0005, 0.002, 0.01])
def test_what_ends_in_the_turn_in_which_it_begins_makes_no_turn_long(
    clock: list[float], cost: float
) -> None:
    """Such as answers without the store: never more than one is under way, and none waits."""
    admission = Admission()
    for _ in range(20):
        while not admission.full() and admission.entering < 5000:
            admission.entering += 1
        turn, admission.entering = admission.entering * cost, 0
        for _ in range(round(turn / cost)):
            assert admission.enter()
            clock[0] += cost
            admission.leave()
        admission.sample(turn)
    assert turn < 0.5


async def crowd(admission: Admission, count: int, *, line: bool = False) -> list[asyncio.Task[int]]:
    """So many that wait for their turn, each of which notes when it came."""
    order: list[int] = []

    async def one(number: int) -> int:
        if not admission.enter():
            await admission.wait(line=line)
        order.append(number)
        return len(order)

    tasks = [asyncio.create_task(one(number)) for number in range(count)]
    await asyncio.sleep(0)
    return tasks


@contextlib.contextmanager
def ended(tasks: list[asyncio.Task[int]]) -> Iterator[None]:
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


@pytest.mark.anyio
async def test_a_queue_that_stays_is_kept_short(clock: list[float]) -> None:
    admission = Admission()
    with ended(await crowd(admission, 700)):
        assert not admission.full()
        for _ in range(400):  # it does not get empty for as long as a burst may last
            clock[0] += 0.001
            admission.leave()
            await asyncio.sleep(0)
        assert admission.full()
        # What takes 1 ms each may wait 50 ms, and not 700.
        while admission.full():
            clock[0] += 0.001
            admission.leave()
            await asyncio.sleep(0)
        assert 20 < admission.waiting < 80


@pytest.mark.anyio
async def test_turns_are_given_in_order_and_to_all() -> None:
    admission = Admission()
    tasks = await crowd(admission, 3 * FIRST)
    assert (admission.running, admission.waiting) == (FIRST, 2 * FIRST)
    for _ in range(3 * FIRST):
        admission.leave()
        await asyncio.sleep(0)
    assert [await task for task in tasks] == list(range(1, 3 * FIRST + 1))
    assert (admission.running, admission.waiting) == (0, 0)


@pytest.mark.anyio
async def test_lines_of_batches_and_requests_both_get_turns() -> None:
    admission = Admission()
    running = await crowd(admission, FIRST)
    lines = await crowd(admission, 100, line=True)
    requests = await crowd(admission, 100)
    for _ in range(80):
        admission.leave()
        await asyncio.sleep(0)
    done = [sum(task.done() for task in tasks) for tasks in (lines, requests)]
    assert done == [20, 60]
    with ended([*running, *lines, *requests]):
        pass


@pytest.mark.anyio
async def test_who_is_cancelled_while_waiting_takes_no_turn() -> None:
    admission = Admission()
    tasks = await crowd(admission, 3 * FIRST)
    for task in tasks[FIRST : 2 * FIRST]:
        task.cancel()
    for task in tasks[2 * FIRST : 2 * FIRST + 5]:
        admission.leave()
        task.cancel()  # in the same moment in which it gets its turn
    await asyncio.gather(*tasks[FIRST : 2 * FIRST + 5], return_exceptions=True)
    for _ in range(2 * FIRST - 10):
        admission.leave()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks[2 * FIRST + 5 :])
    assert (admission.running, admission.waiting) == (0, 0)


@pytest.mark.anyio
async def test_who_waits_beyond_the_deadline_is_refused_and_takes_no_turn(
    clock: list[float],
) -> None:
    admission = Admission(timeout=1.0)
    running = await crowd(admission, FIRST)
    early = await crowd(admission, 3)
    clock[0] += 0.9
    late = await crowd(admission, 2)
    clock[0] += 0.2
    admission.sample(0.0)
    for task in early:
        with pytest.raises(Overloaded) as caught:
            await task
        assert 1 <= caught.value.retry_after <= 3
    assert (admission.running, admission.waiting, admission.refused) == (FIRST, 2, 3)
    with ended([*running, *late]):
        pass


def test_a_connection_that_is_held_back_is_read_again_in_time(clock: list[float]) -> None:
    admission = Admission()
    admission.hold = 0.3
    read = []
    for number in range(3):
        admission.hold_back(lambda number=number: read.append(number))  # type: ignore[misc]
        clock[0] += 0.1
    admission.sample(0.0)
    assert read == [0]
    clock[0] += 0.2
    admission.sample(0.0)
    assert read == [0, 1, 2]


@pytest.mark.anyio
async def test_a_limit_that_grows_gives_turns_at_once() -> None:
    admission = Admission()
    with ended(await crowd(admission, 500)):
        for _ in range(50):
            admission.sample(ON_TIME)
        assert admission.running == admission.limit.value > FIRST


def test_what_refusing_costs_is_bounded_by_not_reading_on() -> None:
    admission = Admission()
    for _ in range(100):
        admission.refused += 1000
        admission.sample(0.0)
    assert admission.hold == 0.6
    for _ in range(500):
        admission.sample(0.0)
    assert admission.hold == 0.0
    admission.refused += 10
    admission.sample(0.0)
    assert admission.hold == 0.0  # a few refusals cost little


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_an_idle_worker_takes_fewer_samples_until_a_decision_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    admission = Admission()
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            admission.enter()
        if len(pauses) == 4:
            admission.leave()
        if len(pauses) == 6:
            raise StopAsyncIteration

    with monkeypatch.context() as patched:
        patched.setattr(module.asyncio, "sleep", sleep)
        with contextlib.suppress(StopAsyncIteration):
            await module.watch_loop(admission, lambda _: None, seconds=0.001)
    assert pauses == [0.005, 0.005, 0.001, 0.001, 0.005, 0.005]
