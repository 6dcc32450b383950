"""The task that answers the requests of one connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from decision.api.serving_task import ServingTask

pytestmark = pytest.mark.anyio


class Request:
    """Stands for a cycle: it notes who answers it, and what `app` does."""

    task: asyncio.Task[Any] | None = None

    async def run_asgi(self, app: Any) -> None:
        self.task = asyncio.current_task()
        await app()


async def nothing() -> None:
    await asyncio.sleep(0)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def serving() -> tuple[Any, set[asyncio.Task[None]]]:
    tasks = set[asyncio.Task[None]]()
    return ServingTask(asyncio.get_running_loop(), tasks), tasks


async def test_one_task_answers_all_and_is_under_way_only_meanwhile() -> None:
    serves, tasks = serving()
    requests = [Request() for _ in range(3)]
    for one in requests:
        serves.begin(one, nothing)
        assert len(tasks) == 1
        await settled()
        assert not tasks
    assert requests[0].task is not None
    assert {one.task for one in requests} == {requests[0].task}
    assert not requests[0].task.done()
    serves.end()
    await settled()
    assert requests[0].task.done()


async def test_what_begins_while_another_ends_is_answered_next() -> None:
    serves, tasks = serving()
    first, second = Request(), Request()

    async def begins() -> None:
        await nothing()
        serves.begin(second, nothing)
        serves.end()  # what has begun is answered all the same

    serves.begin(first, begins)
    await settled()
    assert first.task is second.task
    assert first.task is not None and first.task.done()
    assert not tasks


async def test_another_task_answers_where_one_was_cancelled_or_failed() -> None:
    serves, tasks = serving()

    async def fails() -> None:
        raise ZeroDivisionError

    first, second, third = Request(), Request(), Request()
    serves.begin(first, nothing)
    await settled()
    assert first.task is not None
    first.task.cancel()
    await settled()
    serves.begin(second, fails)
    await settled()
    assert second.task is not None and isinstance(second.task.exception(), ZeroDivisionError)
    serves.begin(third, nothing)
    await settled()
    assert len({first.task, second.task, third.task}) == 3
    assert not tasks
    serves.end()
    await settled()


async def test_a_connection_without_a_request_ends_without_a_task() -> None:
    serves, tasks = serving()
    serves.end()
    assert not tasks
