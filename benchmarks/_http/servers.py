"""The servers that are measured: references, nextbest itself, and a peer."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks._http.cases import Site
from benchmarks._http.load import Connection, request_of
from benchmarks._http.machine import ROOT, end, free_port, pinned

SERVERS: Final = {
    "empty": "an empty @post",
    "store": "the same, with a read and a commit",
    "light": "a light decision",
    "standard": "the standard decision",
    "service": "the same by a straightforward service",
}
REFERENCES: Final = ("empty", "store")


def reference_app(calls: bool) -> Any:
    """What the framework costs, and with the two calls of the store."""
    from datetime import UTC, datetime

    from litestar import Litestar, post

    from decision.core.ports import Commit, LogRecord
    from decision.core.schema import Decision, DecisionRequest, Selection
    from decision.engine.runtime import wall_clock
    from decision.store import RedisStore

    store = None
    if calls:
        prefix = os.environ["NEXTBEST_KEY_PREFIX"]
        store = RedisStore(os.environ["NEXTBEST_REDIS_URL"], prefix=prefix)
    body = random.Random(1).randbytes(1_200)
    selection = Selection(
        message="m1", channel="push", content={"title": "Hello Ann 1"}, priority=0.4
    )

    @post("/v1/decisions", status_code=200)
    async def decide(data: DecisionRequest) -> Decision:
        if store is not None:
            found = await store.read(data.customer_id)
            number = f"{wall_clock()}-{random.getrandbits(32)}"
            await store.commit(
                Commit(
                    id=number,
                    customer_id=data.customer_id,
                    document=found.document,
                    version=found.version,
                    expect=("contacts",),
                    write=("contacts",),
                    records=(LogRecord(kind="decision", id=number, body=body),),
                )
            )
        return Decision(
            decision_id="01KAK0V4R0GZ8M4T1S8Q2W5X7C",
            customer_id=data.customer_id,
            placement=data.placement,
            decided_at=datetime.now(UTC),
            outcome="selected",
            selections=[selection],
            policy_version="2f5f5a6f5b0d",
        )

    @asynccontextmanager
    async def with_store(app: Litestar) -> AsyncIterator[None]:
        if store is None:
            yield
            return
        await store.start()
        yield
        await store.close()

    decide.signature_namespace = {"DecisionRequest": DecisionRequest, "Decision": Decision}
    return Litestar([decide], openapi_config=None, logging_config=None, lifespan=[with_store])


def serve_reference(name: str, port: int) -> None:
    """Runs a reference until it is told to stop."""
    import uvicorn

    app = reference_app(name == "store")
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_config=None, access_log=False)


@contextmanager
def served(
    site: Site,
    name: str = "standard",
    *more: str,
    command: Sequence[str] = (),
    path: str = "",
) -> Iterator[tuple[int, int]]:
    """A running server on the first core: its port, and the id of its process.

    `more` are further arguments of `nextbest serve`. `command` is another command, to which the
    port is added, and `path` where it looks for modules first.
    """
    port, log = free_port(), site.folder / f"{name}.log"
    if name in REFERENCES:
        command = [sys.executable, "-m", "benchmarks.http", "--serve", name]
    elif not command:
        command = [sys.executable, "-m", "decision.cli", *site.serve("", *more)]
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("NEXTBEST_")},
        "PYTHONPATH": os.pathsep.join(filter(None, (path, str(ROOT)))),
        "NEXTBEST_REDIS_URL": site.url,
        "NEXTBEST_KEY_PREFIX": site.prefix,
        "OMP_NUM_THREADS": "1",
    }
    with log.open("ab") as told:
        server = subprocess.Popen(
            pinned(0, [*command, str(port)]),
            cwd=site.folder,
            env=environment,
            stdout=told,
            stderr=told,
        )
    try:
        _wait_until_served(server, port, log)
        yield port, server.pid
    finally:
        end(server)


def _wait_until_served(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until, request = time.monotonic() + 120, request_of("c-1")
    while time.monotonic() < until:
        if server.poll() is not None:
            raise SystemExit(
                f"the server ended with {server.returncode}: {log.read_text()[-2000:]}"
            )
        try:
            asyncio.run(_first(port, request))
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"port {port} does not answer: {log.read_text()[-2000:]}")


async def _first(port: int, request: bytes) -> None:
    connection = await Connection.open(port)
    await connection.ask(request)
    connection.close()
