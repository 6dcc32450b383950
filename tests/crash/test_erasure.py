"""An erased customer is nowhere any more: not in Redis, its file, the archive, or a log."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from decision.archive.archiver import Archiver
from decision.archive.change import TableChange
from decision.archive.folder import ArchiveFolder
from decision.archive.table import Table
from decision.archive.tables import files
from decision.core import records
from decision.core.clock import HOUR, from_micros
from decision.core.identifiers import partition_of
from decision.core.ports import LogRecord, Removed, Store
from decision.core.schema import (
    Alias,
    ConsentStatement,
    CustomerUpdate,
    DecisionRequest,
    Event,
)
from decision.engine import Engine, build_snapshot
from decision.engine.runtime import wall_clock
from decision.rulebook.reader import load_files
from decision.server.file_rewriting import FileRewriting
from decision.store import EmbeddedRedis, RedisStore
from tests.crash.harness import RULES, Server
from tests.store.build import commit_of

pytestmark = pytest.mark.anyio

_RULES = RULES.replace("title: A", 'title: "Hello {{ customer.name }} at {{ context.place }}"')


def marked() -> Iterator[str]:
    return (f"zebra{number:03d}zebra" for number in itertools.count())


async def engine_on(store: Store) -> Engine:
    definition = load_files({"rules.yaml": RULES}).definition
    assert definition is not None
    engine = Engine(store)
    now = from_micros(wall_clock())
    engine.use(await build_snapshot(definition, None, store, now, durable=False))
    return engine


async def fill(engine: Engine, customer: str, mark: Iterator[str]) -> None:
    """A customer with a marker in every field that a caller can fill."""
    customers, events = engine.customers, engine.events
    mail = f"{next(mark)}@x.cn"
    alone = DecisionRequest(placement="outbound", alias=Alias("email", mail))
    await engine.decide(alone)
    earlier = f"anon-{next(mark)}"
    await customers.update(earlier, CustomerUpdate(attributes={next(mark): next(mark)}))
    await events.record([Event(type="visit", customer_id=earlier, id=f"m-{next(mark)}")])
    for number in range(3):
        request = DecisionRequest(
            placement="outbound",
            customer_id=earlier if number == 0 else customer,
            request_id=f"r-{next(mark)}",
            context={next(mark): next(mark), "deep": {next(mark): [next(mark)]}},
        )
        got = await engine.decide(request)
    await customers.update(
        customer,
        CustomerUpdate(
            attributes={
                next(mark): next(mark),
                f"{next(mark)}@example.com": 1,
                "tree": {next(mark): [next(mark)]},
            },
            aliases={"email": mail, next(mark): next(mark)},
        ),
    )
    said = ConsentStatement(state="granted", source=next(mark), evidence=next(mark))
    await customers.set_consents(customer, {"tips": {"email": said}})
    await customers.merge(customer, earlier)
    for properties in ({next(mark): next(mark)}, {"deep": {next(mark): [next(mark)]}}):
        event = Event(
            type=next(mark), customer_id=customer, id=f"e-{next(mark)}", properties=properties
        )
        assert (await events.record([event])).accepted == 1
    if got.outcome == "selected":
        about = Event(
            type="message.clicked",
            customer_id=customer,
            decision_id=got.decision_id,
            message=got.selections[0].message,
            properties={next(mark): next(mark)},
        )
        await events.record([about])


async def damaged(store: Store, customer: str, mark: Iterator[str]) -> None:
    """Records that nobody can read, of this customer."""
    for body in (b"\xff" + customer.encode(), records.encode({"customer_id": customer, "at": "x"})):
        record = LogRecord(kind="event", id=next(mark), body=body)
        found = await store.read(customer)
        await store.commit(commit_of(found, records=[record]))


async def archive(store: RedisStore, out: Path) -> None:
    folder = ArchiveFolder(out)
    with folder.claimed():
        archiver = Archiver(folder, store, clock=wall_clock, keep=HOUR)
        await archiver.open()
        await archiver.run()


def table_of(out: Path, name: str) -> Table:
    found = Table.find(ArchiveFolder(out), name)
    assert found is not None
    return found


async def dump(store: RedisStore, pattern: str = "*") -> bytes:
    """Everything in Redis, or under the keys of a pattern: each key with all that it holds."""
    call = store._caller()
    found: list[Any] = []
    for key in await call(("KEYS", pattern)):
        read = {
            b"string": ("GET", key),
            b"list": ("LRANGE", key, 0, -1),
            b"hash": ("HGETALL", key),
            b"zset": ("ZRANGE", key, 0, -1),
            b"stream": ("XRANGE", key, "-", "+"),
        }
        found += [key, await call(read[await call(("TYPE", key))])]
    return repr(found).encode()


async def raw_dump(store: RedisStore) -> bytes:
    """Every key as a snapshot has it: with what a stream keeps of removed entries."""
    call = store._caller()
    return b"".join([await call(("DUMP", key)) for key in await call(("KEYS", "*"))])


def in_archive(folder: Path) -> bytes:
    """Everything in an archive: the bytes of its files, and Parquet's values unpacked."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found += [str(path).encode(), path.read_bytes()]
            if path.suffix == ".parquet":
                found.append(repr(pq.read_table(path).to_pylist()).encode())
    return b"\n".join(found)


def marks_in(data: bytes) -> set[bytes]:
    return set(re.findall(rb"zebra\d+zebra", data))


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[tuple[RedisStore, Path, str]]:
    """A store in a Redis of its own, the folder of its file, and its address."""
    folder = tmp_path / "redis"
    with EmbeddedRedis(folder) as url:
        store = RedisStore(url)
        await store.start()
        yield store, folder, url
        await store.close()


async def rewritten(store: RedisStore) -> None:
    """Looks after the file until nothing is pending, for a minute at most."""
    looks = FileRewriting(store, HOUR)
    async with asyncio.timeout(60):
        while not looks._settled:
            await store._caller(write=True)(("DEL", store.keys.turn("file-rewriting")))
            await looks.check()
            await asyncio.sleep(0.02)


async def test_after_an_erasure_no_marker_is_anywhere(
    own_redis: tuple[RedisStore, Path, str], tmp_path: Path
) -> None:
    store, folder, _ = own_redis
    engine, out, mark = await engine_on(store), tmp_path / "archive", marked()
    await store._caller(write=True)(("CONFIG", "SET", "rdbcompression", "no"))
    customer = f"c-{next(mark)}@example.com"
    others = [
        name for name in map(str, range(3000)) if partition_of(name) == partition_of(customer)
    ]
    await fill(engine, customer, mark)
    for name in others:  # in the same log: the customer's records are between theirs
        await engine.events.record([Event(type="visit", customer_id=name)])
    await damaged(store, customer, mark)
    await archive(store, out)
    for name in others:
        await engine.events.record([Event(type="visit", customer_id=name)])
    await fill(engine, customer, mark)
    await damaged(store, customer, mark)
    before = await dump(store), in_archive(out), b"".join(map(bytes_of, folder.iterdir()))
    assert all(map(marks_in, before))
    erasure = await engine.customers.erase_with_id(customer)
    assert marks_in(await dump(store)) == set()
    proof = await engine.customers.certificate(erasure.erasure_id)
    assert (proof.complete, proof.append_only_file.state) == (True, "pending")
    assert proof.store.documents == 5 and proof.store.log_records
    await archive(store, out)
    await rewritten(store)
    assert marks_in(await dump(store)) == marks_in(await raw_dump(store)) == set()
    assert marks_in(in_archive(out)) == set()
    assert marks_in(b"".join(map(bytes_of, folder.iterdir()))) == set()
    proof = await engine.customers.certificate(erasure.erasure_id)
    assert (proof.append_only_file.state, proof.pending) == ("rewritten", [])
    [done] = proof.archives
    assert done.rows and done.files and done.folder == str(out)


def bytes_of(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


class Died(BaseException):
    """Stands for the end of the process: nothing of ours runs any more."""


def dies_at(store: Any, nth: int, after: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends the process before or after its nth write to the store from now on."""
    left = itertools.count(nth, -1)
    for name in ("erase", "forget", "delete_alias", "append_history"):
        work = getattr(store, name)

        async def one(*args: Any, work: Any = work) -> Any:
            last = next(left) == 0
            if last and not after:
                raise Died
            result = await work(*args)
            if last:
                raise Died
            return result

        monkeypatch.setattr(store, name, one)


@pytest.mark.slow
async def test_an_erasure_that_was_cut_short_is_completed_by_erasing_again(
    redis_store: RedisStore, prefix: str
) -> None:
    """At every write, before and after it, by the customer's id and by one merged into it."""
    engine, mark, steps = await engine_on(redis_store), marked(), 0
    for again, after in itertools.product((0, 1), (False, True)):
        for nth in itertools.count():
            customer = f"c-{next(mark)}"
            await fill(engine, customer, mark)
            merged = (await redis_store.read(customer)).document.merged
            ids = [customer, next(one for one in merged if one.startswith("anon"))]
            assert marks_in(await dump(redis_store, f"{prefix}*"))
            with pytest.MonkeyPatch.context() as patch:
                dies_at(redis_store, nth, after, patch)
                try:
                    await engine.customers.erase(ids[again])
                except Died:
                    steps += 1
                else:
                    break
            await engine.customers.erase(ids[again])
            assert marks_in(await dump(redis_store, f"{prefix}*")) == set()
        await engine.customers.erase(ids[again])
    assert steps > 40


async def test_events_that_arrive_meanwhile_are_counted_and_logged_or_gone(store: Store) -> None:
    engine = await engine_on(store)

    async def record(name: str) -> None:
        event = Event(type="visit", customer_id="c-1", id=name)
        assert (await engine.events.record([event])).accepted == 1

    names = [f"e-{number}" for number in range(40)]
    early, late = names[:30], names[30:]
    for name in early:
        await record(name)
    await asyncio.gather(*map(record, late), engine.customers.erase("c-1"))
    logged = await store.log_records(partition_of("c-1"))
    left = {one.id for one in logged if one.kind == "event"}
    known = (await store.read("c-1", event_ids=names)).known_events
    assert left == known
    assert not left & set(early)
    assert [one.kind for one in logged].index("erasure") == 0


async def test_erasing_again_or_whom_nobody_knows_removes_nothing_and_has_a_certificate(
    store: Store,
) -> None:
    engine = await engine_on(store)
    await fill(engine, "c-1", marked())
    erasures = [await engine.customers.erase_with_id(name) for name in ("c-1", "c-1", "ghost")]
    assert [bool(one.ids) for one in erasures] == [True, False, False]
    for one in erasures[1:]:
        proof = await engine.customers.certificate(one.erasure_id)
        assert proof.complete
        assert (proof.store.documents, sum(proof.store.log_records.values())) == (0, 0)


async def test_a_log_record_that_nobody_can_read_does_not_hold_up_an_erasure(store: Store) -> None:
    await damaged(store, "c-1", marked())
    await damaged(store, "c-2", marked())
    engine = await engine_on(store)
    assert await engine.customers.erase("c-1") == ["c-1"]
    assert [one.kind for one in await store.log_records(partition_of("c-1"))] == ["erasure"]
    assert len(await store.log_records(partition_of("c-2"))) == 2


async def test_a_customer_with_a_damaged_document_is_erased_with_all_aliases(
    redis_store: RedisStore,
) -> None:
    engine = await engine_on(redis_store)
    update = CustomerUpdate(aliases={"email": "a@x.cn", "phone": "1"})
    await engine.customers.update("c-1", update)
    await engine.customers.update("c-2", CustomerUpdate(aliases={"email": "b@x.cn"}))
    key = redis_store.keys.customer("c-1").document
    await redis_store._caller(write=True)(("SET", key, b"\x01cut"))
    erasure = await engine.customers.erase_with_id("c-1")
    assert erasure.ids == ["c-1"]
    assert (await engine.customers.certificate(erasure.erasure_id)).store.aliases == 2
    assert await redis_store.resolve_alias("email", "a@x.cn") is None
    assert await redis_store.resolve_alias("email", "b@x.cn") == "c-2"


async def test_what_an_earlier_version_logged_by_id_is_erased_and_archived_by_pseudonym(
    redis_store: RedisStore, prefix: str, tmp_path: Path
) -> None:
    engine, out = await engine_on(redis_store), tmp_path / "archive"
    await engine.events.record([Event(type="visit", customer_id="zebra000zebra")])
    await archive(redis_store, out)
    body = records.encode(records.ChangeRecord(customer_id="zebra000zebra", at=1))
    gone = LogRecord(kind="erasure", id="old", body=body)
    assert await redis_store.erase("zebra000zebra", gone) == Removed(1)
    await archive(redis_store, out)
    assert marks_in(in_archive(out)) == set()
    await engine.customers.erase("zebra000zebra")
    assert marks_in(await dump(redis_store, f"{prefix}*")) == set()


async def test_an_archive_in_which_an_earlier_version_named_the_erased_names_them_no_more(
    redis_store: RedisStore, tmp_path: Path
) -> None:
    engine, out = await engine_on(redis_store), tmp_path / "archive"
    for name in ("zebra000zebra", "c-2"):
        said = ConsentStatement(state="granted", evidence=f"by {name}")
        await engine.customers.set_consents(name, {"tips": {"*": said}})
    await engine.customers.erase("zebra000zebra")
    await archive(redis_store, out)
    [path] = files(out, "changes")
    table = pq.ParquetFile(path).read()
    before = table.to_pylist()
    pseudonym = next(row["customer_id"] for row in before if row["kind"] == "erasure")
    old = [
        {**row, "customer_id": "zebra000zebra", "detail": "{}"} if row["kind"] == "erasure" else row
        for row in before
    ]
    change = TableChange(table_of(out, "changes"))
    change.add(path.parent.name.removeprefix("date="), type(table).from_pylist(old, table.schema))
    change.remove(path)
    change.commit()
    table_of(out, "_progress").set_properties(**{"nextbest.pseudonymous": "false"})
    assert marks_in(in_archive(out))
    await archive(redis_store, out)
    assert marks_in(in_archive(out)) == set()
    [path] = files(out, "changes")
    after = pq.ParquetFile(path).read().to_pylist()
    erased = next(row for row in after if row["kind"] == "erasure")
    assert erased["customer_id"] == pseudonym
    assert [row for row in after if row["kind"] != "erasure"] == [
        row for row in before if row["kind"] != "erasure"
    ]
    await archive(redis_store, out)
    assert files(out, "changes") == [path]


async def test_a_server_erases_from_the_file_and_logs_nothing_of_the_customer(
    own_redis: tuple[RedisStore, Path, str], tmp_path: Path
) -> None:
    store, folder, url = own_redis
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "rules.yaml").write_text(RULES)
    server, mark = Server(tmp_path / "rules", url, tmp_path), marked()
    await server.start()
    try:
        await fill(await engine_on(store), f"c-{next(mark)}", mark)
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            gone = await client.delete("/v1/customers/c-zebra000zebra")
            assert (gone.status_code, gone.content) == (204, b"")
            where = gone.headers["location"]
            async with asyncio.timeout(60):
                while (proof := (await client.get(where)).json()) and (
                    proof["append_only_file"]["state"] != "rewritten"
                ):
                    await asyncio.sleep(0.2)
            assert proof["complete"] and proof["store"]["documents"] == 3
            assert (await client.get("/v1/erasures/01KAK0V4R0GZ8M4T1S8Q2W5X7C")).status_code == 404
    finally:
        server.kill()
    assert marks_in(b"".join(map(bytes_of, folder.iterdir()))) == set()
    assert marks_in(b"".join(map(bytes_of, tmp_path.glob("*.log")))) == set()


async def killed_while_erasing(
    store: RedisStore, url: str, folder: Path, prefix: str, kills: int
) -> None:
    """Kills the server while it erases, starts it again, and erases again."""
    (folder / "rules").mkdir()
    (folder / "rules" / "rules.yaml").write_text(RULES)
    server, mark, chance = (
        Server(folder / "rules", url, folder, "--key-prefix", prefix),
        marked(),
        random.Random(kills),
    )
    engine, cut = await engine_on(store), 0
    for _ in range(kills):
        await server.start()
        customers = [f"c-{next(mark)}" for _ in range(8)]
        for customer in customers:
            await fill(engine, customer, mark)
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            gone = [client.delete(f"/v1/customers/{customer}") for customer in customers]
            work = asyncio.gather(*gone, return_exceptions=True)
            await asyncio.sleep(chance.uniform(0, 0.4))
            server.kill()
            cut += sum(isinstance(one, BaseException) for one in await work)
        await server.start()
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            for customer in customers:
                again = await client.delete(f"/v1/customers/{customer}")
                assert again.status_code in (204, 404)
        server.kill()
        assert marks_in(await dump(store, f"{prefix}*")) == set()
    print(f"\n{kills} kills, {cut} erasures cut short")
    assert cut


@pytest.mark.soak
async def test_a_server_killed_thirty_times_while_it_erases_leaves_nothing_after_a_second_try(
    redis_store: RedisStore, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    await killed_while_erasing(redis_store, redis_url, tmp_path, prefix, 30)
