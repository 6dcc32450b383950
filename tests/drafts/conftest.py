"""A small policy that is published, with a scenario test, and drafts upon it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from decision.core.errors import StoreUnavailable
from decision.core.ports import Store
from decision.drafts.drafts import Drafts
from decision.releases.publishing import publish
from decision.rulebook.reader import load_files

SETUP = """\
settings: {exploration: off}

purposes:
  marketing: {consent: opt_in}

channels:
  push: {}
  email: {}

placements:
  outbound: {channels: [push, email]}
"""
MESSAGES = """\
messages:
  coupon:
    purpose: marketing
    channels: [push]
    placements: [outbound]
    value: 3

  tips:
    purpose: marketing
    channels: [email]
    placements: [outbound]
    value: 1
"""
TESTS = """\
- name: the coupon is worth more
  now: 2026-11-21T10:00:00+08:00
  customer: {consents: {marketing: {"*": granted}}}
  ask: {placement: outbound}
  expect: {message: coupon}
"""
FILES = {"messages.yaml": MESSAGES, "setup.yaml": SETUP}
ALL = {**FILES, "tests/coupon.yaml": TESTS}


@pytest.fixture
def now() -> Iterator[datetime]:
    """A clock that goes on by a second each time it is looked at."""
    return (datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=n) for n in range(100_000))


@pytest.fixture
async def drafts(store: Store, now: Iterator[datetime]) -> Drafts:
    """Drafts of both stores in turn, where the small policy is published."""
    await put_in_force(store, FILES)
    return Drafts(store, lambda: next(now))


async def put_in_force(store: Store, files: dict[str, str], by: str = "operator") -> str:
    """Publishes files as `nextbest publish` does, with the scenario test."""
    definition = load_files(files).definition
    assert definition is not None
    at = datetime.now(UTC)
    tests = {"tests/coupon.yaml": TESTS}
    return (await publish(store, definition, by, "", at, tests)).version


class Faulty:
    """A store whose n-th call is lost, before it is done or after."""

    def __init__(self, store: Store, fails: int, *, after: bool) -> None:
        self._store, self._fails, self._after = store, fails, after
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def called(*given: Any, **more: Any) -> Any:
            self.calls += 1
            fails = self.calls == self._fails
            if fails and not self._after:
                raise StoreUnavailable("lost before")
            result = await method(*given, **more)
            if fails:
                raise StoreUnavailable("lost after", uncertain=True)
            return result

        return called
