"""The store: CPU per call against redis-py in the same run, and memory per customer.

    python -m benchmarks.store

One embedded Redis over a Unix socket, 16 calls at a time. CPU is that of this process alone
(`time.process_time`), Redis's own left out; the best of several rounds counts, because
whatever else the machine does can only add to it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import redis.asyncio

from decision.core.clock import DAY, HOUR, SECOND
from decision.core.document import Consent, Contact, ContactKind, Document, EventHistory
from decision.core.identifiers import decision_id, partition_of
from decision.core.ports import Commit, LogRecord, ReadResult
from decision.store import EmbeddedRedis, RedisStore, codec, sections
from decision.store.commits import encode_commit
from decision.store.scripts import SCRIPTS

NOW = 1_795_000_000_123_456
AT_ONCE = 16
CUSTOMERS = 100_000
CALLS = 20_000
ROUNDS = 5

WORDS = ("gold", "silver", "Shanghai", "CN", "ios", "weekly", "北京", "female", "organic", "A3")


def typical_document(rng: random.Random, kinds: int, customer_id: str = "c-1") -> Document:
    """40 attributes (10 booleans, 10 small and 5 larger integers, 5 amounts, 10 words), 20
    contacts, 12 event types of 1–3 buckets each, 2 consents: a customer who is written to a lot.
    """
    attributes: dict[str, Any] = {}
    for number in range(40):
        name = f"attribute_{number}"
        match number % 8:
            case 0 | 4:
                attributes[name] = rng.random() < 0.5
            case 1 | 5:
                attributes[name] = rng.randrange(300)
            case 2 | 6:
                attributes[name] = rng.choice(WORDS)
            case 3:
                attributes[name] = rng.randrange(100_000) / 100
            case 7:
                attributes[name] = rng.randrange(20_000)
    contacts = [
        Contact(
            kind=rng.randrange(kinds),
            at=NOW - rng.randrange(60 * DAY),
            state=rng.choice((0, 2, 2, 3)),
            mark=rng.randrange(3 * DAY // SECOND),
            tag=rng.getrandbits(32),
        )
        for _ in range(20)
    ]
    events = {}
    for number in range(12):
        last = NOW - rng.randrange(10 * DAY)
        earlier = {
            (last - rng.randrange(10 * DAY)) // HOUR * 3600 for _ in range(rng.choice((0, 0, 1, 2)))
        }
        seconds = sorted({last // SECOND, *earlier})
        events[f"event_{number}"] = EventHistory(
            total=rng.randrange(1, 200),
            last_at=last,
            buckets=[[second, rng.randrange(1, 4)] for second in seconds],
        )
    return Document(
        customer_id=customer_id,
        attributes=attributes,
        attribute_runs=[(NOW // SECOND, 40)],
        timezone="Asia/Shanghai",
        consents={
            "marketing": {
                "email": Consent(True, (NOW - DAY) // SECOND * SECOND, "api"),
                "push": Consent(True, NOW // SECOND * SECOND),
            }
        },
        contacts=sorted(contacts, key=lambda contact: contact.at),
        events=events,
    )


def plain_size(document: Document) -> int:
    """The bytes that the same facts take where names are written out."""
    return len(
        msgspec.msgpack.encode(
            [
                document.attributes,
                document.timezone,
                document.consents,
                document.contacts,
                document.events,
            ]
        )
    )


async def cpu(call: Callable[[int], Awaitable[Any]], calls: int = CALLS) -> float:
    """Microseconds of this process's CPU per call, `AT_ONCE` calls at a time."""

    async def worker(first: int) -> None:
        for number in range(first, calls, AT_ONCE):
            await call(number)

    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        await asyncio.gather(*map(worker, range(AT_ONCE)))
        best = min(best, time.process_time() - began)
    return best / calls * 1e6


def cpu_sync(call: Callable[[], Any], calls: int = 2_000) -> float:
    """Microseconds of CPU per call of a plain function."""
    best = float("inf")
    for _ in range(ROUNDS * 4):
        began = time.process_time()
        for _ in range(calls):
            call()
        best = min(best, time.process_time() - began)
    return best / calls * 1e6


def customer(number: int) -> str:
    return f"customer-{number % CUSTOMERS}"


def new_commit(found: ReadResult, number: int) -> Commit:
    """A reservation as the engine writes it: contacts, an answer of 400 bytes, a record of 900."""
    customer_id = found.document.customer_id
    name = decision_id(NOW // 1000 + number, partition_of(customer_id), random.getrandbits(72))
    return Commit(
        id=name,
        customer_id=customer_id,
        document=found.document,
        version=found.version,
        expect=(),
        write=("contacts",),
        records=[LogRecord(kind="decision", id=name, body=b"x" * 900)],
        request_id=name,
        answer=b"x" * 400,
        answer_lasts=60 * SECOND,
    )


async def load(store: RedisStore, kinds: int) -> None:
    """Writes the customers."""
    await store.register_kinds(
        [ContactKind(f"message-{n}", "push", "marketing", "c", ()) for n in range(kinds)]
    )
    rng = random.Random(1)
    empty = await store.read("none")

    async def write(number: int) -> None:
        document = typical_document(rng, kinds, customer(number))
        await store.commit(
            Commit(
                id=f"load-{number}",
                customer_id=document.customer_id,
                document=document,
                version=empty.version,
                expect=(),
                write=codec.SECTIONS,
            )
        )

    for first in range(0, CUSTOMERS, 500):
        await asyncio.gather(*map(write, range(first, first + 500)))


async def memory(client: redis.asyncio.Redis, store: RedisStore) -> dict[str, float]:
    """Mean bytes of a document, and of what Redis takes for it with its key."""
    keys = [store.keys.customer(customer(number)).document for number in range(CUSTOMERS)]
    sizes, lengths = [], []
    for first in range(0, CUSTOMERS, 1_000):
        pipe = client.pipeline(transaction=False)
        for key in keys[first : first + 1_000]:
            pipe.memory_usage(key, samples=0)
            pipe.strlen(key)
        replies = await pipe.execute()
        sizes += replies[::2]
        lengths += replies[1::2]
    used = int((await client.info("memory"))["used_memory"])
    return {
        "document": sum(lengths) / CUSTOMERS,
        "MEMORY USAGE": sum(sizes) / CUSTOMERS,
        "used_memory": used / CUSTOMERS,
    }


async def measure(url: str) -> None:
    """Prints every figure."""
    kinds = 300
    store = RedisStore(url)
    await store.start()
    client = redis.asyncio.Redis.from_url(url)
    empty = int((await client.info("memory"))["used_memory"])
    await load(store, kinds)
    found = await memory(client, store)
    rng = random.Random(1)
    plain = sum(plain_size(typical_document(rng, kinds)) for _ in range(100)) / 100
    grown = found["used_memory"] - empty / CUSTOMERS
    print(f"{CUSTOMERS} customers of 40 attributes, 20 contacts, 12 event types")
    print(f"  document         {found['document']:7.0f} bytes, as plain MessagePack {plain:.0f}")
    print(f"  MEMORY USAGE     {found['MEMORY USAGE']:7.0f} bytes with its key")
    gib = grown * 1e6 / (1 << 30)
    print(f"  growth of Redis  {grown:7.0f} bytes, {gib:.2f} GiB per million customers")

    connection = store.connection
    key = [store.keys.customer(customer(number)).document for number in range(CUSTOMERS)]
    raw = await client.get(key[0])
    register = store.register.local
    one = await store.read(customer(0))
    print("codec, µs")
    print(
        f"  decode                        {cpu_sync(lambda: codec.decode('c', raw, register)):6.1f}"
    )
    for section in codec.SECTIONS:
        took = cpu_sync(
            lambda section=section: sections.encode_section(one.document, section, register)
        )
        print(f"  encode {section:<22} {took:6.1f}")

    print(f"CPU a call, µs, {AT_ONCE} at a time     ours  redis-py")

    def show(name: str, ours: float, theirs: float | None = None) -> None:
        print(f"  {name:<29} {ours:6.1f}" + (f"  {theirs:8.1f}" if theirs else ""))

    show(
        "GET, undecoded",
        await cpu(lambda n: connection.call(("GET", key[n % CUSTOMERS]), 5.0)),
        await cpu(lambda n: client.get(key[n % CUSTOMERS])),
    )
    digests = [b"0" * 16]

    async def three(number: int) -> None:
        pipe = client.pipeline(transaction=False)
        pipe.get(key[number % CUSTOMERS])
        pipe.hget("nb:{p1}:r:x", "r")
        pipe.execute_command("ZMSCORE", "nb:{p1}:e:x", *digests)
        await pipe.execute()

    show(
        "pipeline of 3, undecoded",
        await cpu(
            lambda n: connection.pipeline(
                [
                    ("GET", key[n % CUSTOMERS]),
                    ("HGET", "nb:{p1}:r:x", "r"),
                    ("ZMSCORE", "nb:{p1}:e:x", *digests),
                ],
                5.0,
            )
        ),
        await cpu(three),
    )
    show("read", await cpu(lambda n: store.read(customer(n))))
    show("read with request id", await cpu(lambda n: store.read(customer(n), request_id="r")))

    documents = [await store.read(customer(number)) for number in range(256)]

    async def raw_commit(number: int) -> None:
        arguments = encoded[number % 256]
        await client.evalsha(SCRIPTS["commit"].digest, 4, *arguments)

    encoded = []
    for number, result in enumerate(documents):
        written = encode_commit(new_commit(result, number), register)
        keys = store.keys.customer(result.document.customer_id)
        encoded.append((*keys, *written.arguments(1e15, False)))
    show(
        "commit (theirs: EVALSHA alone)",
        await cpu(lambda n: store.commit(new_commit(documents[n % 256], n)), CALLS // 2),
        await cpu(raw_commit, CALLS // 2),
    )
    began = time.perf_counter()
    await asyncio.gather(
        *(store.commit(new_commit(documents[n % 256], n), timeout=60.0) for n in range(2_000))
    )
    print(f"commits a second, all told     {2_000 / (time.perf_counter() - began):6.0f}")
    await client.aclose()
    await store.close()


def main() -> None:
    """Starts a server of its own and measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--uvloop", action="store_true", help="measure on uvloop, as the server runs"
    )
    loop_factory = None
    if parser.parse_args().uvloop:
        import uvloop

        loop_factory = uvloop.new_event_loop
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(folder) as url,
        asyncio.Runner(loop_factory=loop_factory) as runner,
    ):
        runner.run(measure(url))


if __name__ == "__main__":
    main()
