"""Whatever Redis answers, decisions get the fallback and everything else a 503: never a 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decision.store import EmbeddedRedis, RedisStore, connection, pipelined_connection
from decision.store.scripts import SCRIPTS
from tests.api.conftest import Api, running
from tests.store.proxy import Proxy, until

pytestmark = pytest.mark.anyio

SHA = "e7bb5a20ba962ec7a0e487e17e8e96f25f71245c"
IN_6 = f"ERR Error running script (call to f_{SHA}): @user_script:1: "
IN_7 = f" script: {SHA}, on @user_script:1."
WRITES = ("EVAL", "SET", *(one.digest for name, one in SCRIPTS.items() if name != "find_record"))
SAID = (
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "NOPERM this user has no permissions to run the 'get' command",
    f"{IN_6}@user_script: 1: The user executing the script can't run this command or subcommand",
    "LOADING Redis is loading the dataset in memory",
    "MISCONF Errors writing to the AOF file: No space left on device",
    f"OOM command not allowed when used memory > 'maxmemory'.{IN_7}",
    f"{IN_6}@user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.",
    f"READONLY You can't write against a read only replica.{IN_7}",
    f"{IN_6}@user_script: 1: -READONLY You can't write against a read only replica.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'",
    "NOREPLICAS Not enough good replicas to write.",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "UNKILLABLE Sorry the script already executed write commands against the dataset.",
    "EXECABORT Transaction discarded because of previous errors.",
    "CLUSTERDOWN The cluster is down",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "MOVED 3999 127.0.0.1:6381",
    "CROSSSLOT Keys in request don't hash to the same slot",
    "NOSCRIPT No matching script. Please use EVAL.",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "LOST 3",
    "ERR max number of clients reached",
    "ERR unknown command 'EVALSHA', with args beginning with: 'x'",
    "NEWWORD of a later Redis",
    "",
)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}  # as the server runs


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(redis_url) as made:
        yield made


async def nothing(connection: pipelined_connection.PipelinedConnection) -> None:
    """Nothing to do on a new connection."""


@pytest.fixture
def behind(proxy: Proxy, prefix: str) -> RedisStore:
    """The store that is served, behind the proxy."""
    return RedisStore(proxy.url, prefix=prefix)


@pytest.fixture
async def served(rules: Path, behind: RedisStore) -> AsyncIterator[Api]:
    async with running(rules, behind) as api:
        await until_answered(api)
        await api.consent("c-1")
        await api.consent("c-2")
        yield api


DECISIONS: tuple[dict[str, Any], ...] = (
    {"customer_id": "c-1"},
    {"alias": {"type": "email", "value": "ann@example.org"}},
    {"customer_id": "c-1", "request_id": "r-1", "explain": True},
    {"customer_id": "c-1", "event": {"id": "e-1", "type": "purchase"}},
    {"customer_id": "c-1", "dry_run": True},
    {"customer_id": "c-1", "deadline_ms": 20},
)
EVENT = {"id": "e-2", "customer_id": "c-1", "type": "purchase"}
OTHERS: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/v1/events", {"events": [EVENT]}),
    ("GET", "/v1/customers/c-1", None),
    ("PUT", "/v1/customers/c-1", {"attributes": {"vip": True}}),
    ("PUT", "/v1/customers/c-1/consents", {"marketing": {"*": "granted"}}),
    ("POST", "/v1/customers/c-1/merge", {"from": "c-2"}),
    ("DELETE", "/v1/customers/c-9", None),
    ("GET", "/v1/policy", None),
    ("GET", "/health/live", None),
    ("GET", "/health/ready", None),
    ("GET", "/metrics", None),
)


async def decide(api: Api, **fields: Any) -> dict[str, Any]:
    answer = await api.client.post("/v1/decisions", json={"placement": "app_home", **fields})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def until_answered(api: Api) -> dict[str, Any]:
    """A decision that was made with the store."""
    async with asyncio.timeout(20):
        while True:
            found = await decide(api, customer_id="c-1")
            if "store" not in found["degraded"]:
                return found
            await asyncio.sleep(0.02)


async def all_routes(api: Api, decision_id: str, *, reads: bool) -> None:
    """Asks everything; `reads` says whether Redis still answers what only reads."""
    for fields in DECISIONS:
        found = await decide(api, **fields)
        if not (reads and ("dry_run" in fields or found.get("request_id") == "r-1")):
            assert "store" in found["degraded"], found
            assert found["outcome"] == "fallback", found
            assert found["selections"][0]["message"] == "hello"
    lines = "\n".join(json.dumps({"placement": "app_home", **fields}) for fields in DECISIONS)
    batch = await api.client.post(
        "/v1/decisions/batch", content=lines, headers={"content-type": "application/x-ndjson"}
    )
    assert batch.status_code == 200
    answers = [json.loads(line) for line in batch.text.splitlines()]
    assert all("outcome" in answer for answer in answers) and len(answers) == len(DECISIONS)
    for method, path, body in (*OTHERS, ("GET", f"/v1/decisions/{decision_id}", None)):
        answer = await api.client.request(method, path, json=body)
        if path.startswith("/v1/") and path != "/v1/policy" and not (reads and method == "GET"):
            assert answer.status_code == 503, f"{method} {path}: {answer.text}"
            assert answer.json()["type"].endswith("unavailable")
            assert answer.headers["retry-after"] == "1"
        elif path.startswith("/v1/") and path != "/v1/policy":
            # Where a refusal ends the connection, a read may be lost with it.
            assert answer.status_code in (200, 503), f"{method} {path}: {answer.text}"
        elif "ready" not in path:
            assert answer.status_code == 200, f"{method} {path}: {answer.text}"


@pytest.mark.parametrize("refused", ["every command", "writes", "the next connection"])
async def test_no_answer_of_redis_becomes_an_error_of_the_server(
    served: Api, proxy: Proxy, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelined_connection, "KEPT_FOR", 0.1)
    monkeypatch.setattr(connection, "LONGEST_DELAY", 0.05)
    monkeypatch.setattr(connection, "GRACE", 0.1)
    for said in SAID:
        known = await until_answered(served)
        names = WRITES if refused == "writes" else ("*",)
        proxy.errors.update(dict.fromkeys(names, said))
        if refused == "the next connection":
            proxy.cut()
        try:
            await all_routes(served, known["decision_id"], reads=refused == "writes")
        except AssertionError as error:
            raise AssertionError(f"{said!r}: {error}") from error
        proxy.errors.clear()
    await until_answered(served)


async def test_a_reload_while_redis_refuses_is_unavailable(served: Api, proxy: Proxy) -> None:
    for names in (WRITES, ("*",)):
        proxy.errors.update(dict.fromkeys(names, "MISCONF Errors writing to the AOF file"))
        answer = await served.client.post("/v1/policy/reload")
        assert answer.status_code == 503, answer.text
    proxy.errors.clear()
    assert (await served.client.post("/v1/policy/reload")).status_code == 200


async def test_a_stalled_store_is_never_an_error_of_the_server(
    served: Api, behind: RedisStore, proxy: Proxy
) -> None:
    held = proxy.hold("GET")
    answers = await asyncio.gather(
        *(decide(served, customer_id=f"c-{n}", deadline_ms=1 + n % 50) for n in range(300))
    )
    assert all("store" in answer["degraded"] for answer in answers)
    await until(lambda: behind.connection.counts.stalls > 0)
    for fields in DECISIONS:
        assert "store" in (await decide(served, **{**fields, "deadline_ms": 5}))["degraded"]
    async with asyncio.timeout(20):
        for name in ("store_stalls", "store_calls_failed_at_once"):
            while not await served.metric(f"nextbest_{name}_total"):
                await asyncio.sleep(0.05)
    held.set()
    await until_answered(served)


Trouble = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]
REPLICA = ("REPLICAOF", "127.0.0.1", 1)
KILL = ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
TROUBLES: dict[str, Trouble] = {
    "NOAUTH": (
        [("CONFIG", "SET", "requirepass", "new"), KILL],
        [("CONFIG", "SET", "requirepass", "")],
    ),
    "OOM": ([("CONFIG", "SET", "maxmemory", 1)], [("CONFIG", "SET", "maxmemory", 0)]),
    "READONLY": ([REPLICA], [("REPLICAOF", "NO", "ONE")]),
    "MASTERDOWN": (
        [("CONFIG", "SET", "replica-serve-stale-data", "no"), REPLICA],
        [("REPLICAOF", "NO", "ONE")],
    ),
    "NOREPLICAS": (
        [("CONFIG", "SET", "min-replicas-to-write", 1)],
        [("CONFIG", "SET", "min-replicas-to-write", 0)],
    ),
    "NOPERM": ([("ACL", "SETUSER", "default", "-time")], [("ACL", "SETUSER", "default", "+time")]),
    "NOPERM of keys": (
        [("ACL", "SETUSER", "default", "resetkeys", "~other:*")],
        [("ACL", "SETUSER", "default", "allkeys")],
    ),
    "MAXCLIENTS": (
        [("CONFIG", "SET", "maxclients", 1), KILL],
        [("CONFIG", "SET", "maxclients", 100)],
    ),
    "BUSY": ([("CONFIG", "SET", "lua-time-limit", 1)], [("SCRIPT", "KILL")]),
    "MISCONF": (
        [("CONFIG", "SET", "save", "1 1"), ("CONFIG", "SET", "dir", "/proc"), ("BGSAVE",)],
        [("CONFIG", "SET", "save", "")],
    ),
}


@pytest.mark.parametrize("name", TROUBLES)
async def test_a_redis_in_trouble_is_never_an_error_of_the_server(
    rules: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "LONGEST_DELAY", 0.05)
    begin, end = TROUBLES[name]
    server = EmbeddedRedis(tmp_path / "redis")
    url = server.start()
    root = connection.SharedConnection(url, on_connect=nothing)
    await root.start()
    await root.call(("ACL", "SETUSER", "root", "on", ">x", "~*", "+@all"), 5.0)
    await root.call(("AUTH", "root", "x"), 5.0)
    async with running(rules, RedisStore(url)) as api:
        await api.consent("c-1")
        await api.consent("c-2")
        known = await until_answered(api)
        for command in begin:
            await root.call(command, 5.0)
        busy = None
        if name == "BUSY":
            other = connection.SharedConnection(url, on_connect=nothing)
            await other.start()
            busy = asyncio.ensure_future(
                other.call(("EVAL", "while true do end", 0), 60.0, write=True)
            )
        async with asyncio.timeout(20):
            while "store" not in (await decide(api, customer_id="c-1"))["degraded"]:
                await asyncio.sleep(0.02)
        for fields in DECISIONS:
            await decide(api, **fields)
        for method, path, body in (*OTHERS, ("GET", f"/v1/decisions/{known['decision_id']}", None)):
            answer = await api.client.request(method, path, json=body)
            assert answer.status_code in (200, 404, 503), f"{method} {path}: {answer.text}"
            assert method in ("GET", "DELETE") or answer.status_code == 503, (
                f"{method} {path}: {answer.text}"
            )
        for command in end:
            await root.call(command, 5.0)
        if busy is not None:
            await asyncio.gather(busy, return_exceptions=True)
            await other.close()
        await until_answered(api)
    await root.close()
    server.stop()
