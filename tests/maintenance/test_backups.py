"""A backup has all that the store has, and a store that is restored goes on as the other would."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from decision.core.errors import NotFound, StoreUnavailable
from decision.core.identifiers import PARTITIONS
from decision.core.schema import Event
from decision.maintenance.backups import file
from decision.maintenance.backups.file import BackupError
from decision.maintenance.backups.restoring import (
    Restored,
    RestoreOptions,
    restore_backup,
    survey_backup,
)
from decision.maintenance.backups.taking import take_backup
from decision.outbound.runner import Runner
from decision.store import RedisStore, keys
from decision.store.copying import CopiedKey, CopiedKeys
from decision.store.in_redis import copying
from decision.store.kinds_of_keys import KINDS, UNKNOWN, kind_of
from decision.store.pseudonyms import pseudonyms
from tests.maintenance.backup_world import engine_on, fill, home, kept
from tests.outbound.world import asked, logged, present, runs

pytestmark = pytest.mark.anyio

Stores = Callable[..., RedisStore]


@pytest.fixture
async def stores(redis_url: str, prefix: str) -> AsyncIterator[Stores]:
    """Makes stores on one Redis, each under a prefix of its own; they are closed at the end."""
    made: list[RedisStore] = []

    def make(url: str = redis_url, own: str = "") -> RedisStore:
        made.append(RedisStore(url, prefix=own or f"{prefix}{len(made)}:", timeout=10))
        return made[-1]

    yield make
    for one in made:
        await one.close()


async def filled(store: RedisStore) -> RedisStore:
    await store.start()
    await fill(store)
    return store


async def put_back(store: RedisStore, path: Path, of: RedisStore, **options: Any) -> Restored:
    """Restores a backup of another store's prefix."""
    how = RestoreOptions(store.keys.prefix, of.keys.prefix, **options)
    survey = survey_backup(path, how)
    await store.start(incomplete=how.replace)
    return await restore_backup(store, path, survey, how)


@pytest.fixture
async def backup(stores: Stores, tmp_path: Path) -> tuple[RedisStore, Path]:
    """A store that was filled, and a backup of it."""
    store = await filled(stores())
    path = tmp_path / "a.backup"
    await take_backup(store, path, store.keys.prefix)
    return store, path


async def test_what_is_restored_is_all_that_was_there(
    backup: tuple[RedisStore, Path], stores: Stores, redis_url: str
) -> None:
    """Every key, its content and its end; what is due, and who is to be looked at, is listed anew."""
    store, path = backup
    other = stores()
    await put_back(other, path, store, send=True)
    before, after = (kept(redis_url, one.keys.prefix) for one in (store, other))
    assert after == before
    assert sum(name.endswith("}:wake") for name in before) > 2  # there is something to be lost
    assert path.stat().st_mode & 0o077 == 0


async def test_values_that_are_read_in_pieces_are_the_same(
    stores: Stores, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of a pool with more codes than Redis should give at once."""
    monkeypatch.setattr(copying, "_LARGEST", 2)
    monkeypatch.setattr(copying, "_PIECE", 2)
    store, other, path = await filled(stores()), stores(), tmp_path / "a.backup"
    await take_backup(store, path, store.keys.prefix)
    await put_back(other, path, store, send=True)
    before, after = (kept(redis_url, one.keys.prefix) for one in (store, other))
    assert after == before


async def test_both_go_on_alike(backup: tuple[RedisStore, Path], stores: Stores) -> None:
    """The same decisions for the same requests, until caps and budgets are reached; a request that
    is repeated gets its old answer; an event that is sent again is a duplicate."""
    store, path = backup
    other = stores()
    await put_back(other, path, store)
    told: list[list[Any]] = []
    for each in (store, other):
        engine = await engine_on(each)
        own: list[Any] = []
        for number in (0, 1, 2, 4, 6, 7, 8, 9):
            again = await engine.decide_or_fail(home(f"c-{number}", f"r-{number}"))
            own.append((number, again.decision.decision_id, again.verdict))
            for turn in range(4):
                request = home(f"c-{number}", f"more-{number}-{turn}")
                said = (await engine.decide_or_fail(request)).decision
                own.append((said.outcome, said.reason, [one.content for one in said.selections]))
        event = Event(id="e-4", customer_id="c-4", type="follow")
        own.append((await engine.events.record([event])).duplicates)
        own.append((await each.read("c-0", budgets=["coupon:total"])).budgets)
        own.append(await each.count_codes("spring", present()))
        told.append(own)
    assert told[0] == told[1]
    assert ("none", "capped", []) in told[0] and 1 in told[0]
    assert {"coupon:total": 4} in told[0]


async def test_journeys_go_on_and_ask_once(
    backup: tuple[RedisStore, Path], stores: Stores, redis_url: str
) -> None:
    """What is due; and after a second backup, what then waits for weeks, with the same timers."""
    store, path = backup
    other, third = stores(), stores()
    await put_back(other, path, store)
    assert sum(not name.startswith("welcome\0!") for name in await other.tallies()) == 1
    await Runner(await engine_on(other)).step_due()
    first, both = await asked(store), await asked(other)
    assert first < both and len(both) == 2 * len(first) and set(both.values()) == {1}
    assert {run.step for _, run in await runs(other)} == {"late"}
    assert await other.tallies() == {"welcome\0late": len(first)}

    await take_backup(other, path, other.keys.prefix)
    await put_back(third, path, other, send=True)
    before, after = (kept(redis_url, one.keys.prefix) for one in (other, third))
    assert any(":far:" in name for name in before)
    assert {name for name in before if ":far" in name} == {name for name in after if ":far" in name}
    assert await third.count_wakes() == await other.count_wakes()


@pytest.mark.parametrize("send", [False, True])
async def test_what_waits_is_held_unless_nothing_has_run_since(
    backup: tuple[RedisStore, Path], stores: Stores, send: bool
) -> None:
    """Held, it is sent once somebody asks for it; due, it is sent without; never twice."""
    store, path = backup
    other = stores()
    done = await put_back(other, path, store, send=send)
    claimed = await other.claim_deliveries(range(PARTITIONS), {"push": 100}, "a", 60_000)
    assert done.waiting > 2 and len(claimed) == (done.waiting if send else 0)
    assert not await other.claim_deliveries(range(PARTITIONS), {"push": 100}, "b", 60_000)
    if not send:
        listed = (await other.deliveries("unknown")).rows
        assert len(listed) == done.waiting
        assert all("backup" in row.status.reason for row in listed)
        assert all([await other.requeue_delivery(row) for row in listed])
        again = await other.claim_deliveries(range(PARTITIONS), {"push": 100}, "c", 60_000)
        assert len(again) == done.waiting


async def test_customers_are_as_at_one_moment_while_others_write(
    stores: Stores, tmp_path: Path
) -> None:
    """Each has as many contacts as answers, and the log has all of these decisions."""
    store, other, path = await filled(stores()), stores(), tmp_path / "a.backup"
    engine, ended = await engine_on(store), asyncio.Event()

    async def ask(number: int) -> None:
        while not ended.is_set():
            await engine.decide_or_fail(home(f"new-{number % 40}", f"{number}"))
            number += 7

    writers = [asyncio.create_task(ask(number)) for number in range(7)]
    for _ in range(3):
        await asyncio.sleep(0.1)
        await take_backup(store, path, store.keys.prefix)
    ended.set()
    await asyncio.gather(*writers)
    await put_back(other, path, store)
    found, read = 0, await engine_on(other)
    logged_ids = {one.decision_id for one in await logged(other, "decision")}
    for number in range(40):
        key = other.keys.customer(f"new-{number}").answers
        answers = await other.connection.call(("HGETALL", key), 5.0)
        view = await read.customers.get(f"new-{number}") if answers else None
        given = [json.loads(raw[8:]) for raw in answers[1::2] if raw[8:9] == b"{"]
        ids = {one["decision_id"] for one in given if one["outcome"] == "selected"}
        assert ids <= logged_ids
        assert view is None or len(view.contacts) == len(ids)
        found += len(ids)
    assert found > 40


def spoilt(data: bytes, rng: random.Random) -> bytes:
    """The bytes of a backup, cut off, or with one that is another."""
    place = rng.randrange(12, len(data) - 1)
    if rng.random() < 0.5:
        return data[:place]
    return data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]


async def test_a_damaged_file_is_refused_with_its_place_and_nothing_is_written(
    backup: tuple[RedisStore, Path], stores: Stores, redis_url: str
) -> None:
    """Whichever byte it is that is missing or another."""
    store, path = backup
    whole, rng, other = path.read_bytes(), random.Random(7), stores()
    for _ in range(60):
        path.write_bytes(spoilt(whole, rng))
        with pytest.raises(BackupError, match=r"a\.backup is (damaged at byte|no backup)"):
            await put_back(other, path, store)
    assert not kept(redis_url, other.keys.prefix)
    path.write_bytes(whole + whole)
    with pytest.raises(BackupError, match=r"a\.backup is damaged at byte .*: it goes on after its"):
        await put_back(other, path, store)
    stream = CopiedKey(b"{p0}:log", "stream", [b"1-0", b"many"])  # with a checksum that is right
    with path.open("wb") as written:
        writer = file.BackupWriter(written)
        writer.write(file.Header(nextbest_backup=1, software="", prefix=store.keys.prefix, taken=0))
        writer.write(CopiedKeys(0, [stream]))
        writer.close()
    with pytest.raises(BackupError, match=r"a\.backup is damaged at byte .*, in part 2"):
        await put_back(other, path, store)
    path.write_bytes(b"PAR1 and more")
    with pytest.raises(BackupError, match="no backup of nextbest; name a file"):
        await put_back(other, path, store)
    with pytest.raises(BackupError, match="cannot be read: No such file"):
        await put_back(other, path.with_name("gone"), store)


async def test_a_backup_of_a_newer_format_or_another_prefix_is_refused_with_what_to_do(
    backup: tuple[RedisStore, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, path = backup
    with pytest.raises(
        BackupError, match=f"NEXTBEST_KEY_PREFIX={store.keys.prefix} to put it back"
    ):
        survey_backup(path, RestoreOptions("nb:"))
    with pytest.raises(BackupError, match="add --from-prefix"):
        survey_backup(path, RestoreOptions("nb:", from_prefix="shop:"))
    monkeypatch.setattr(file, "FORMAT", 0)
    with pytest.raises(BackupError, match="format 1, and this nextbest reads format 0; restore it"):
        survey_backup(path, RestoreOptions(store.keys.prefix))


async def test_a_store_that_has_something_or_a_server_is_refused(
    backup: tuple[RedisStore, Path], stores: Stores, redis_url: str
) -> None:
    """Unless what it has is to be removed; what others have in the same Redis stays."""
    store, path = backup
    other = await filled(stores())
    await other.connection.call(("SET", other.keys.blob("old"), b"1"), 5.0)
    with pytest.raises(BackupError, match=r"the store is not empty \(.+ …\); name an empty one"):
        await put_back(stores(own=other.keys.prefix), path, store)
    await other.announce("s-1", b"{}", 10_000_000)
    with pytest.raises(BackupError, match="server s-1 has run on this store until 0 s ago; stop"):
        await put_back(stores(own=other.keys.prefix), path, store, replace=True)
    await other.connection.call(("DEL", other.keys.health("servers")), 5.0)
    mine = kept(redis_url, store.keys.prefix)
    await put_back(stores(own=other.keys.prefix), path, store, replace=True, send=True)
    assert kept(redis_url, other.keys.prefix) == kept(redis_url, store.keys.prefix) == mine


async def test_a_restore_that_was_interrupted_lets_no_server_start_until_it_is_done(
    backup: tuple[RedisStore, Path], stores: Stores, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, path = backup
    other = stores()

    async def lost(self: RedisStore) -> None:
        raise StoreUnavailable("the connection is lost")

    with monkeypatch.context() as patched, pytest.raises(StoreUnavailable, match="lost"):
        patched.setattr(RedisStore, "learn_names", lost)
        await put_back(other, path, store)
    own = other.keys.prefix
    with pytest.raises(StoreUnavailable, match="was interrupted, and a part is missing; give it"):
        await stores(own=own).start()
    await put_back(stores(own=own), path, store, replace=True, send=True)
    await stores(own=own).start()
    assert kept(redis_url, own) == kept(redis_url, store.keys.prefix)


async def test_who_was_erased_later_is_erased_again(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the backup was taken, by its own log; after it, by the archive. Who came back stays."""
    store, other, path = await filled(stores()), stores(), tmp_path / "a.backup"
    copies, engine = RedisStore.copies, await engine_on(store)

    async def erasing(self: RedisStore) -> AsyncIterator[Any]:
        async for portion in copies(self):
            yield portion
            if any(b"}:c:c-7" in key.key for one in portion for key in one.keys):
                await engine.customers.erase_with_id("c-7")

    with monkeypatch.context() as patched:
        patched.setattr(RedisStore, "copies", erasing)
        await take_backup(store, path, store.keys.prefix)
    names = await pseudonyms(store)
    erased = {names.of("c-8"): present(), names.of("c-9"): present() - 60_000_000}
    done = await put_back(other, path, store, erased=erased)
    restored = await engine_on(other)
    for name in ("c-7", "c-8"):
        with pytest.raises(NotFound):
            await restored.customers.get(name)
        assert await other.resolve_alias("email", f"{name}@shop.cn") is None
        assert name not in {one.customer_id for one in await logged(other, "decision")}
    assert done.erased == 2 and (await restored.customers.get("c-9")).attributes == {"n": 9}


@pytest.mark.parametrize("kind", ["cluster_url", "sentinel_url"])
async def test_it_goes_from_one_server_to_several_and_back(
    kind: str,
    backup: tuple[RedisStore, Path],
    stores: Stores,
    redis_url: str,
    request: pytest.FixtureRequest,
) -> None:
    """To a cluster, and to a primary that sentinels name."""
    store, path = backup
    several, third = stores(request.getfixturevalue(kind)), stores()
    await put_back(several, path, store, send=True)
    await take_backup(several, path, several.keys.prefix)
    await put_back(third, path, several, send=True)
    assert kept(redis_url, third.keys.prefix) == kept(redis_url, store.keys.prefix)


def test_every_kind_of_key_is_named_with_what_becomes_of_it() -> None:
    """A line of the key format without a kind would be copied, whether that is right or not; the
    page for operators has a row for each kind."""
    lines = re.findall(r"^    nb:(\{\S+)", keys.__doc__ or "", re.MULTILINE)
    examples = [line.replace("…", "codes").encode() for line in lines]
    assert len(examples) > 40
    assert not [key for key in examples if kind_of(key).name == UNKNOWN.name]
    used = {kind_of(key).name for key in examples}
    assert {kind.name for kind in KINDS} - used == {"sweep"}  # which is a blob with a name
    page = (Path(__file__).parents[2] / "docs/operating.md").read_text()
    assert not [kind.name for kind in KINDS if f"| {kind.name} |" not in page]
