"""What the standard decision costs Redis, by command and by part.

    python -m benchmarks.redis_cost [--customers 1000] [--rounds 7] [--kept]

The commands of the standard decision (`_standard.py`, with its model) are recorded from an engine
that decides once for each customer, and then sent again and again to the same documents, by one
connection that waits for each reply (`alone`), or for 16 together; and for 3 together, before each
of which more memory is walked through than the processor's caches hold (`3, cold`). So it is where
others use the same caches, and Redis wakes for the few commands of one turn of a worker's loop.
`CPU` is the time that Redis'
threads ran (Linux tells it), `within` what Redis says of the command itself (`INFO commandstats`):
without reading it from the socket, and without writing the reply and the append-only file. In
microseconds, the least of the rounds: whatever else the machine does can only add to it.

With `--kept`, requests have an id, and events as well: so an answer and an event's id are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest.mock import patch
from urllib.parse import unquote

import hiredis
import msgspec
import numpy as np
import redis

from benchmarks._standard import CHANNELS, EVENT_TYPES, NOW, fill, made_up, train_standard
from benchmarks.decision_cost import request_for
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.scoring.loading import load_model
from decision.store import EmbeddedRedis, RedisStore
from decision.store.pipelined_connection import Command, PipelinedConnection


class Way(NamedTuple):
    """How commands are sent: so many at once, and after how many bytes of memory each time."""

    name: str
    together: int
    walked: int = 0
    most: int = 1_000_000


WAYS: Final = (Way("alone", 1), Way("16 together", 16), Way("3, cold", 3, 48 << 20, 150))
_LASTS: Final = 600.0
"""Seconds after which Redis refuses the recorded commits, as they come too late."""
_OWN: Final = ("cmdstat_config", "cmdstat_config|resetstat", "cmdstat_info")


async def recorded(
    url: str, server: Server, folder: Path, customers: int, kept: bool
) -> list[Sequence[Command]]:
    """What one decision for each customer sends, by what it waits for; `server` keeps what was there before."""
    store = RedisStore(url, timeout=_LASTS)
    await store.start()
    engine = Engine(store, EngineSettings(timeout=_LASTS), clock=lambda: NOW)
    model = load_model(train_standard(folder / "models"))
    policy = made_up(CHANNELS, 50, EVENT_TYPES)
    engine.use(await build_snapshot(policy, model, store, datetime.now(UTC)))
    names = await fill(engine, store, customers, 24, event_types=EVENT_TYPES)
    await engine.decide(request_for("nobody"))  # what is done once
    server.keep()
    commands: list[Sequence[Command]] = []
    replies = PipelinedConnection.replies
    call = PipelinedConnection.call

    def noted(self: Any, several: Sequence[Command], *given: Any, **named: Any) -> Any:
        commands.append(several)
        return replies(self, several, *given, **named)

    async def called(self: Any, command: Command, *given: Any, **named: Any) -> Any:
        commands.append([command])
        return await call(self, command, *given, **named)

    with (
        patch.object(PipelinedConnection, "replies", noted),
        patch.object(PipelinedConnection, "call", called),
    ):
        for name in names:
            request = request_for(name)
            if kept:
                event = msgspec.structs.replace(request.event, id=f"event-{name}")
                request = msgspec.structs.replace(request, request_id=f"r-{name}", event=event)
            await engine.decide(request)
    await store.close()
    return commands


class Server:
    """A Redis whose documents are put back before each measurement."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.client = redis.Redis(unix_socket_path=path)
        self._pid = int(self.client.info("server")["process_id"])
        self._values: dict[bytes, bytes] = {}

    def keep(self) -> None:
        """Keeps every value as it is now."""
        keys = list(self.client.scan_iter(count=1000))
        values = [self.client.dump(key) for key in keys]
        self._values = dict(zip(keys, values, strict=True))

    def put_back(self) -> None:
        """Every value as it was kept."""
        self.client.flushall()
        pipe = self.client.pipeline(transaction=False)
        for key, value in self._values.items():
            pipe.restore(key, 0, value)
        pipe.execute()

    def cost(self, sent: Sequence[tuple[bytes, int]], way: Way) -> tuple[float, float]:
        """CPU for each that is sent, and what Redis says of the commands; microseconds."""
        sent = sent[: way.most]
        self.client.config_resetstat()
        before = self._cpu()
        _send(self._path, sent, way)
        used = self._cpu() - before
        said = {name: one["usec"] for name, one in self.client.info("commandstats").items()}
        within = said.get("cmdstat_evalsha") or sum(
            took for name, took in said.items() if name not in _OWN
        )
        return used / len(sent), within / len(sent)

    def _cpu(self) -> float:
        """Microseconds that its threads have run."""
        total = 0
        for thread in Path(f"/proc/{self._pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
        return total / 1000


def _packed(commands: Sequence[Command]) -> tuple[bytes, int]:
    """What is sent at once, and how many replies come."""
    return b"".join(map(hiredis.pack_command, commands)), len(commands)


def _send(path: str, sent: Sequence[tuple[bytes, int]], way: Way) -> None:
    """Sends what is sent at once, so many together, and waits for the replies.

    Raises:
        SystemExit: one was refused.
    """
    walked = np.zeros(way.walked, np.uint8)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        reader = hiredis.Reader(notEnoughData=None)
        for first in range(0, len(sent), way.together):
            part = sent[first : first + way.together]
            walked += 1
            connection.sendall(b"".join(packed for packed, _ in part))
            for _ in range(sum(replies for _, replies in part)):
                while (reply := reader.gets()) is None:
                    reader.feed(connection.recv(1 << 16))
                if isinstance(reply, hiredis.ReplyError):
                    raise SystemExit(f"Redis refused a command: {reply}")


def parts(
    asked: Sequence[Sequence[Command]], server: Server
) -> dict[str, tuple[bool, list[Sequence[Command]]]]:
    """What is measured: whether the documents are put back before, and what is sent."""
    commits = [one for (one, *_) in asked if one[0] == "EVALSHA"]
    empty = server.client.script_load("return 1")
    documents: list[Command] = [
        ("SET", one[3], server.client.get(one[3]) or b"") for one in commits
    ]
    records: list[Command] = [
        ("XADD", one[4], "*", "k", one[-3], "id", one[-2], "b", one[-1], "c", b"12345678")
        for one in commits
    ]
    return {
        "PING": (False, [[("PING",)]] * len(commits)),
        "the read": (False, [several for several in asked if several[0][0] != "EVALSHA"]),
        "a script that does nothing": (False, [[("EVALSHA", empty, 0)]] * len(commits)),
        "the same, with a commit's arguments": (
            False,
            [[("EVALSHA", empty, *one[2:])] for one in commits],
        ),
        "SET of the document": (False, [[one] for one in documents]),
        "XADD of the record": (True, [[one] for one in records]),
        "the commit": (True, [[one] for one in commits]),
    }


def measure(server: Server, asked: Sequence[Sequence[Command]], rounds: int) -> None:
    """Prints the figures."""
    measured = parts(asked, server)
    found: dict[tuple[str, Way], tuple[float, float]] = {}
    for _ in range(rounds):
        for name, (anew, own) in measured.items():
            sent = list(map(_packed, own))
            for way in WAYS:
                if anew:
                    server.put_back()
                cpu, within = server.cost(sent, way)
                best = found.get((name, way), (cpu, within))
                found[name, way] = min(cpu, best[0]), min(within, best[1])
    commits = [one for (one,) in measured["the commit"][1]]
    record = sum(len(one[-1]) for one in commits if isinstance(one[-1], bytes)) / len(commits)
    size = sum(len(_packed([one])[0]) for one in commits) / len(commits)
    print(f"a record of {record:.0f} bytes, a commit of {size:.0f}")
    print(f"{'':36}", *(f"{f'{way.name}: CPU':>16}  within" for way in WAYS))
    for name in measured:
        cells = (f"{cpu:16.1f} {within:7.1f}" for cpu, within in (found[name, one] for one in WAYS))
        print(f"{name:36}", *cells)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.redis_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--customers", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kept", action="store_true", help="with request ids and event ids")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nextbest-bench-") as name:
        folder = Path(name)
        with EmbeddedRedis(folder / "redis", fsync="everysec") as url:
            server = Server(unquote(url.removeprefix("unix://")))
            asked = recorded(url, server, folder, given.customers, given.kept)
            measure(server, asyncio.run(asked), given.rounds)


if __name__ == "__main__":
    main()
