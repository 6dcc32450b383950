"""A run gives out every customer who belongs to the audience exactly once, whatever happens."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from decision.audiences import reading as reading_module
from decision.audiences import run as run_module
from decision.audiences.state import RunError, RunState
from decision.core.document import Consent
from decision.core.errors import NotFound, StoreUnavailable
from decision.core.ports import Store
from decision.store import EmbeddedRedis, RedisStore
from tests.audiences.world import (
    Restless,
    Stopped,
    carry_out,
    file_gateway,
    gold,
    ids_in,
    merge,
    poor,
    portions_in,
    put,
    rows_in,
    settings_of,
)
from tests.store.build import record

pytestmark = pytest.mark.anyio


async def test_those_who_match_and_agree_are_in_the_file_once(store: Store, tmp_path: Path) -> None:
    for number in range(30):
        await gold(store, f"g-{number}", agrees=number % 3 > 0)
        await poor(store, f"p-{number}")
    await merge(store, "g-1", "g-2")
    await merge(store, "p-1", "g-4")
    await store.erase("g-5", record("erasure"))
    state = await carry_out(store, tmp_path, settings_of(tmp_path, fields=("spend",)))
    wanted = {f"g-{n}" for n in range(30) if n % 3 > 0} - {"g-2", "g-4", "g-5"}
    assert Counter(ids_in(tmp_path / "gold.ndjson")) == Counter(wanted)
    assert rows_in(tmp_path / "gold.ndjson")[0].keys() == {"customer_id", "spend"}
    done = state.progress
    assert (done.customers, done.matched, done.withheld) == (57, 27, {"no_consent": 10})
    assert done.rows == 17 and done.finished


async def test_whoever_is_named_twice_is_in_the_file_once(tmp_path: Path) -> None:
    store = Restless()
    for number in range(40):
        await gold(store, f"g-{number}")
    await carry_out(store, tmp_path, settings_of(tmp_path))
    assert Counter(ids_in(tmp_path / "gold.ndjson")) == Counter(f"g-{n}" for n in range(40))


async def test_hashes_and_missing_addresses(tmp_path: Path) -> None:
    store = Restless()
    await gold(store, "ann", email=" Ann.Lee@GMail.com ")
    await gold(store, "bob", email="nowhere")
    state = await carry_out(store, tmp_path, settings_of(tmp_path, hashes=("email", "phone")))
    assert rows_in(tmp_path / "gold.ndjson") == [
        {
            "customer_id": "ann",
            "email_sha256": hashlib.sha256(b"annlee@gmail.com").hexdigest(),
            "phone_sha256": None,
        },
        {"customer_id": "bob", "email_sha256": None, "phone_sha256": None},
    ]
    assert state.progress.unhashed == 1
    assert state.progress.without_hash == {"email_sha256": 1, "phone_sha256": 2}


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is noted after every two customers."""
    monkeypatch.setattr(run_module, "_STEP", 2)
    monkeypatch.setattr(reading_module, "_AT_ONCE", 2)


class Lines:
    """Stops the process at the n-th write or reading, before it or after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
        self.left = stop
        step = RunState.step

        def counted(state: RunState) -> Any:
            from contextlib import contextmanager

            @contextmanager
            def inner() -> Any:
                self.pass_by()
                with step(state):
                    yield
                    self.pass_by()
                self.pass_by()

            return inner()

        monkeypatch.setattr(RunState, "step", counted)

    def pass_by(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Stopped


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("stopped_by", [Stopped, StoreUnavailable])
async def test_wherever_a_run_ends_early_it_goes_on_with_each_customer_once(
    tmp_path: Path, stopped_by: type[BaseException]
) -> None:
    store = Restless()
    for number in range(9):
        await gold(store, f"g-{number}", agrees=number != 4)
    await poor(store, "p")
    wanted = Counter(f"g-{n}" for n in range(9) if n != 4)
    stops = 0
    for stop in range(1, 200):
        folder = tmp_path / str(stop)
        folder.mkdir()
        patches = pytest.MonkeyPatch()
        lines = Lines(patches, stop)
        if stopped_by is StoreUnavailable:
            lines.left = 10_000
            reads = iter(range(1, 10_000))
            store.between = lambda name, reads=reads, stop=stop: _fail_at(next(reads) == stop)
        asked = settings_of(folder)
        try:
            await carry_out(store, folder, asked)
        except (Stopped, StoreUnavailable):
            stops += 1
        else:
            break
        finally:
            patches.undo()
            store.between = None
        if (folder / "gold.ndjson").exists():
            assert Counter(ids_in(folder / "gold.ndjson")) == wanted
        state = await carry_out(store, folder, asked)
        assert Counter(ids_in(folder / "gold.ndjson")) == wanted
        assert state.progress.rows == 8 and state.progress.withheld == {"no_consent": 1}
        assert state.progress.matched == 9 and state.progress.customers == 10
    assert stops > 15


def _fail_at(now: bool) -> None:
    if now:
        raise StoreUnavailable("gone")


@pytest.mark.usefixtures("small_steps")
async def test_wherever_a_run_to_a_gateway_ends_early_portions_come_again_under_their_ids_only(
    tmp_path: Path,
) -> None:
    store = Restless()
    for number in range(9):
        await gold(store, f"g-{number}")
    stops = again = 0
    for stop in range(1, 200):
        folder = tmp_path / str(stop)
        folder.mkdir()
        patches = pytest.MonkeyPatch()
        Lines(patches, stop)
        asked = settings_of(folder, gateway="list", portion=4)
        gateways = file_gateway(folder)
        try:
            await carry_out(store, folder, asked, gateways=gateways)
        except Stopped:
            stops += 1
        else:
            break
        finally:
            patches.undo()
        await carry_out(store, folder, asked, gateways=gateways)
        portions = portions_in(folder)
        by_id = {one["id"]: one for one in portions}
        again += len(portions) - len(by_id)
        assert [one["id"] for one in by_id.values()] == ["r.1", "r.2", "r.3"]
        assert all(one == by_id[one["id"]] for one in portions)
        given = [row["customer_id"] for one in by_id.values() for row in one["customers"]]
        assert Counter(given) == Counter(f"g-{n}" for n in range(9))
        assert [one["last"] for one in by_id.values()] == [False, False, True]
    assert stops > 15 and again > 0


async def test_who_withdraws_or_does_not_match_any_more_is_not_in_a_later_portion(
    tmp_path: Path, small_steps: None
) -> None:
    store = Restless()
    for number in range(6):
        await gold(store, f"g-{number}")
    seen: Counter[str] = Counter()

    async def withdraw() -> None:
        store.between = None
        await put(store, "g-3", lambda one: one.consents.update(ads={"*": Consent(False)}))
        await put(store, "g-4", lambda one: one.attributes.update(spend=1))
        await store.erase("g-5", record("erasure"))

    def between(name: str) -> Any:
        seen[name] += 1
        return withdraw() if seen["g-0"] == 2 else None  # all have been looked at once

    store.between = between
    asked = settings_of(tmp_path, gateway="list", portion=2)
    state = await carry_out(store, tmp_path, asked, gateways=file_gateway(tmp_path))
    given = [row["customer_id"] for one in portions_in(tmp_path) for row in one["customers"]]
    assert given == ["g-0", "g-1", "g-2"] and state.progress.changed == 3
    assert portions_in(tmp_path)[-1]["last"] and portions_in(tmp_path)[-1]["customers"] == []


async def test_a_portion_of_which_nobody_is_left_keeps_its_place(
    tmp_path: Path, small_steps: None
) -> None:
    """Its id may have been taken already by an attempt before: no other customers come under it."""
    store = Restless()
    for number in range(6):
        await gold(store, f"g-{number}")
    reads: Counter[str] = Counter()

    async def withdraw() -> None:
        store.between = None
        await poor(store, "g-2")
        await poor(store, "g-3")

    def between(name: str) -> Any:
        reads[name] += 1
        return withdraw() if reads["g-0"] == 2 else None

    store.between = between
    asked = settings_of(tmp_path, gateway="list", portion=2)
    await carry_out(store, tmp_path, asked, gateways=file_gateway(tmp_path))
    given = {
        one["id"]: [row["customer_id"] for row in one["customers"]] for one in portions_in(tmp_path)
    }
    assert given == {"r.1": ["g-0", "g-1"], "r.3": ["g-4", "g-5"]}


@pytest.mark.parametrize("at", range(1, 9))
async def test_who_is_merged_meanwhile_is_in_the_file_once(
    tmp_path: Path, small_steps: None, at: int
) -> None:
    """Into a customer who is listed before, or after, or who comes only now."""
    for other, into in (("g-0", "g-3"), ("g-3", "g-0"), ("g-1", "new"), ("g-2", "new-too")):
        folder = tmp_path / f"{other}-{into}"
        folder.mkdir()
        store = Restless()
        for number in range(4):
            await gold(store, f"g-{number}")
        count = 0

        async def unite(store: Restless = store, other: str = other, into: str = into) -> None:
            store.between = None
            await gold(store, into)
            await merge(store, into, other)

        def between(name: str, unite: Any = unite) -> Any:
            nonlocal count
            count += 1
            return unite() if count == at else None

        store.between = between
        await carry_out(store, folder, settings_of(folder))
        names = [{"new": "g-1", "new-too": "g-2"}.get(n, n) for n in ids_in(folder / "gold.ndjson")]
        people = {"g-0", "g-1", "g-2", "g-3"}
        if into in people:
            people -= {into, other}
            assert sum(one in (into, other) for one in names) == 1
            names = [one for one in names if one in people]
        assert Counter(names) == Counter(people), (other, into)


async def test_a_run_since_another_tells_who_joined_and_who_left(tmp_path: Path) -> None:
    store = Restless()
    for name in ("stays", "withdraws", "poor", "erased", "moves", "moves-out"):
        await gold(store, name)
    await poor(store, "joins")
    await poor(store, "into")
    await carry_out(store, tmp_path, settings_of(tmp_path, "first"))
    await gold(store, "joins")
    await gold(store, "withdraws", agrees=False)
    await poor(store, "poor")
    await store.erase("erased", record("erasure"))
    await gold(store, "moved")
    await merge(store, "moved", "moves")
    await merge(store, "into", "moves-out")

    async def since(earlier: str, run: str) -> dict[str, str]:
        out = tmp_path / f"{run}.ndjson"
        asked = settings_of(tmp_path, run, since=earlier, out=str(out))
        with RunState.open(tmp_path / f"{earlier}.sqlite") as base:
            await carry_out(store, tmp_path, asked, since=base)
        return {row["customer_id"]: row["change"] for row in rows_in(out)}

    left = dict.fromkeys(["withdraws", "poor", "erased", "moves-out"], "left")
    assert await since("first", "second") == {"joins": "joined", **left}
    assert await since("second", "third") == {}
    await gold(store, "erased")
    await store.erase("joins", record("erasure"))
    assert await since("third", "fourth") == {"erased": "joined", "joins": "left"}


async def test_a_finished_run_keeps_ids_alone(tmp_path: Path) -> None:
    store = Restless()
    await gold(store, "ann", email="ann@secret.example")
    await carry_out(store, tmp_path, settings_of(tmp_path, fields=("email",)))
    data = (tmp_path / "r.sqlite").read_bytes()
    assert b"secret" not in data and b"ann" in data
    assert (tmp_path / "r.sqlite").stat().st_mode & 0o777 == 0o600


async def test_a_segment_that_nobody_has_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    store = Restless()
    await gold(store, "ann", segment={"vip": True, "tea": False})
    asked = settings_of(tmp_path, when="", condition="", segment="vpi")
    with pytest.raises(NotFound, match=r'no segment "vpi".*did you mean "vip"'):
        await carry_out(store, tmp_path, asked)
    known = settings_of(tmp_path, "tea", when="", condition="", segment="tea")
    state = await carry_out(store, tmp_path, known)
    assert state.progress.matched == 0 and not (tmp_path / "gold.ndjson").exists()


async def test_a_redis_that_goes_away_in_the_middle_leaves_a_run_that_goes_on(
    tmp_path: Path, small_steps: None
) -> None:
    server = EmbeddedRedis(tmp_path / "redis", fsync="everysec")
    store = RedisStore(server.start(), timeout=5)
    await store.start()
    try:
        for number in range(40):
            await gold(store, f"g-{number}")
        asked, reads, read = settings_of(tmp_path), iter(range(1_000)), store.read

        async def between(name: str, **what: Any) -> Any:
            if next(reads) == 13:
                server.stop()
            return await read(name, **what)

        store.read = between  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailable):
            await carry_out(store, tmp_path, asked)
        server.start()
        with suppress(StoreUnavailable):
            await store.ping()
        await carry_out(store, tmp_path, asked)
        assert Counter(ids_in(tmp_path / "gold.ndjson")) == Counter(f"g-{n}" for n in range(40))
    finally:
        await store.close()
        server.stop()


async def test_a_document_that_cannot_be_read_is_left_out_and_counted(
    redis_store: RedisStore, tmp_path: Path
) -> None:
    await gold(redis_store, "ann")
    await gold(redis_store, "bob")
    key = redis_store.keys.customer("bob").document
    await redis_store.connection.call(("SET", key, b"\xff\xff"), 5.0)
    state = await carry_out(redis_store, tmp_path, settings_of(tmp_path))
    assert ids_in(tmp_path / "gold.ndjson") == ["ann"] and state.progress.unreadable == 1


async def test_one_process_at_a_time_is_at_a_run(tmp_path: Path) -> None:
    held = RunState.create(tmp_path / "r.sqlite", settings_of(tmp_path))
    with pytest.raises(RunError, match="another process is at this run"):
        RunState.open(tmp_path / "r.sqlite")
    held.close()
    RunState.open(tmp_path / "r.sqlite").close()
    (tmp_path / "x.sqlite").write_text("something else")
    with pytest.raises(RunError, match="it is not a run"):
        RunState.open(tmp_path / "x.sqlite")
    (tmp_path / "empty.sqlite").touch()
    with pytest.raises(RunError, match=r"it is not a run.*; remove it, or give"):
        RunState.open(tmp_path / "empty.sqlite")
    with pytest.raises(RunError, match="there is a run of that name already"):
        RunState.create(tmp_path / "r.sqlite", settings_of(tmp_path))


@pytest.mark.parametrize("call", ["close", "link"])
def test_a_process_that_ends_while_it_begins_a_run_leaves_its_name_free(
    call: str, tmp_path: Path
) -> None:
    path = tmp_path / "r.sqlite"
    if (child := os.fork()) == 0:
        setattr(os, call, lambda *_: os._exit(9))
        RunState.create(path, settings_of(tmp_path))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    RunState.create(path, settings_of(tmp_path)).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_run_that_a_newer_version_began_is_left_to_that_one(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with RunState.create(path, settings_of(tmp_path)) as state, state.database:
        newer = msgspec.json.encode(msgspec.structs.replace(state.settings, format=2))
        state.database.execute("UPDATE run SET settings = ?", (newer,))
    with pytest.raises(RunError, match=r"r\.sqlite: a newer nextbest .* go on with that version"):
        RunState.open(path)
    assert path.exists()
