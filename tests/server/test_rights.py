"""A right that the user of Redis has lost is named by `/health/ready`, whatever it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from decision.server.health import store_watch
from decision.store.in_redis.rights import RIGHTS, acl_line
from tests.server.own_redis import OwnRedis
from tests.server.test_store_watch import _impatient, fine, redis, served, when

__all__ = ["_impatient", "redis"]

pytestmark = pytest.mark.anyio


async def test_each_right_that_is_taken_while_a_server_runs_is_named(
    redis: OwnRedis, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that no call needs at the time as well."""
    monkeypatch.setattr(store_watch, "RIGHTS_EVERY", 0.05)
    redis.ask(*acl_line("u", "nb:").replace(">PASSWORD", "nopass").split())
    async with served(redis, rules, "u") as api:
        for right in RIGHTS:
            redis.ask("ACL", "SETUSER", "u", f"-{right.partition('|')[0]}")
            named = f"+{right.partition('|')[0]}"
            await when(api, lambda found, named=named: named in found["degraded"].get("store", ""))
            redis.ask("ACL", "SETUSER", "u", *(f"+{one}" for one in RIGHTS))
        await when(api, fine)
