"""What the supply of policies and models follows: the folder, SIGHUP, other workers, models, what is published."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from decision.api.app import create_app
from decision.core.ports import Store
from decision.engine import Engine
from decision.engine.worker import GIVES_WAY_AFTER
from decision.releases.publishing import history, publish, roll_back, versions_standing
from decision.rulebook.checking import check_folder, read_checked
from decision.rulebook.reader import load_files
from decision.scoring.pointers import SHADOW
from decision.scoring.versions import point_to
from decision.server import upkeep
from decision.server.settings import ServerSettings
from decision.server.watching import Watch, folder_fingerprint
from decision.store import MemoryStore
from tests.api.conftest import RULES, Api, running
from tests.api.test_operations import AwayStore, until

pytestmark = pytest.mark.anyio

BROKEN = RULES.replace("at_most: 1", "at_most: 0")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks often, so that tests need not wait."""
    monkeypatch.setattr(upkeep, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(upkeep, "FOLLOW_SECONDS", 0.05)


def changed(number: int) -> str:
    return f"{RULES}\n# {number}\n"


async def policy(api: Api) -> dict[str, Any]:
    answer = await api.client.get("/v1/policy")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def when(api: Api, holds: Callable[[dict[str, Any]], object]) -> Awaitable[dict[str, Any]]:
    """`/v1/policy`, as soon as it is so; meanwhile the server is ready and decides."""

    async def look() -> dict[str, Any] | None:
        assert (await api.client.get("/health/ready")).status_code == 200
        assert (await api.decide(customer_id="c-1")).status_code == 200
        found = await policy(api)
        return found if holds(found) else None

    return until(look)


def refused(found: dict[str, Any]) -> bool:
    return found["refusal"] is not None


async def test_every_thread_of_a_server_gives_way_to_the_event_loop_soon(rules: Path) -> None:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    try:
        async with running(rules):
            assert sys.getswitchinterval() == pytest.approx(GIVES_WAY_AFTER)
    finally:
        sys.setswitchinterval(usual)


# The folder.


async def test_a_folder_that_vanishes_and_comes_back_changes_nothing_and_then_goes_live(
    rules: Path,
) -> None:
    async with running(rules, watch=True) as api:
        before = await policy(api)
        kept = rules.rename(rules.with_name("elsewhere"))
        found = await when(api, refused)
        assert found["policy_version"] == before["policy_version"]
        assert found["refusal"]["trigger"] == "watch"
        assert "does not exist" in found["refusal"]["errors"][0]["detail"]
        (kept / "policy.yaml").write_text(changed(1), "utf-8")
        kept.rename(rules)
        after = await when(api, lambda found: not refused(found))
        assert after["policy_version"] != before["policy_version"]
        assert await api.metric("nextbest_policy_refused_timestamp_seconds") == 0


@pytest.mark.parametrize("garbage", [b"\x00\xff\xfe garbage \x80", b"messages: ["])
async def test_garbage_never_takes_the_service_down_and_is_named(
    rules: Path, garbage: bytes
) -> None:
    async with running(rules, watch=True) as api:
        before = await policy(api)
        (rules / "policy.yaml").write_bytes(garbage)
        found = await when(api, refused)
        assert found["policy_version"] == before["policy_version"]
        assert found["refusal"]["errors"][0]["path"].startswith("rules")
        assert await api.metric('nextbest_policy_reloads_total{result="refused"}') == 1
        aside = rules / ".policy.yaml.swp"
        aside.write_text(changed(2), "utf-8")
        aside.replace(rules / "policy.yaml")  # as editors save
        await when(api, lambda found: not refused(found))
        assert await api.metric('nextbest_policy_reloads_total{result="ok"}') == 1


async def test_a_refusal_keeps_the_time_of_the_first_until_something_goes_live(api: Api) -> None:
    times = []
    for number in range(3):
        (api.rules / "policy.yaml").write_text(f"{BROKEN}\n# {number}\n", "utf-8")
        assert (await api.client.post("/v1/policy/reload")).status_code == 409
        refusal = (await policy(api))["refusal"]
        times.append((refusal["since"], refusal["at"]))
    assert len({since for since, _ in times}) == 1
    assert len({at for _, at in times}) == 3


def test_a_change_counts_when_it_has_come_to_rest_or_never_does() -> None:
    watch = Watch()
    assert not watch.settled("a", "a")
    assert [watch.settled(now, "a") for now in "bcc"] == [False, False, True]
    assert not watch.settled("a", "a")
    restless = [watch.settled(f"n{number}", "a") for number in range(30)]
    assert any(restless)


def test_the_print_of_a_folder_sees_names_contents_links_and_loops(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    seen = {folder_fingerprint(str(folder))}

    def differs() -> bool:
        now = folder_fingerprint(str(folder))
        assert now == folder_fingerprint(str(folder))
        found = now not in seen
        seen.add(now)
        return found

    (folder / "sub").mkdir(parents=True)
    assert differs()
    (folder / "sub" / "a.yaml").write_text("a")
    assert differs()
    (folder / "sub" / "a.yaml").write_text("ab")
    assert differs()
    (folder / "sub" / "loop").symlink_to(folder)
    (folder / "sub" / "notes.txt").write_text("x")
    (folder / "tests").mkdir()
    (folder / "tests" / "t.yaml").write_text("x")
    folder_fingerprint(str(folder))
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "b.yaml").write_text("1")
    shutil.copytree(tmp_path / "v1", tmp_path / "v2")
    (folder / "mounted").symlink_to(tmp_path / "v1")
    assert differs()
    (folder / "mounted").unlink()
    (folder / "mounted").symlink_to(tmp_path / "v2")  # as mounted volumes are turned
    assert differs()


# The child process.


async def test_a_check_that_takes_too_long_is_ended_and_refused(
    rules: Path, tmp_path: Path
) -> None:
    from decision.rulebook.checking import PolicyRefused

    with pytest.raises(PolicyRefused, match=r"took longer than 0\.01 s"):
        await check_folder(str(rules), tmp_path, time_limit=0.01)


async def test_what_a_check_leaves_is_the_definition_that_reading_gives(tmp_path: Path) -> None:
    from benchmarks.reload import policy as files_of_policy

    folder = tmp_path / "rules"
    folder.mkdir()
    files = files_of_policy(60, 60, 0)
    for name, text in files.items():
        (folder / name).write_text(text)
    version = await check_folder(str(folder), tmp_path)
    assert read_checked(tmp_path, version) == load_files(files).definition


# SIGHUP and models.


async def test_sighup_reloads(api: Api) -> None:
    (api.rules / "policy.yaml").write_text(BROKEN, "utf-8")
    os.kill(os.getpid(), signal.SIGHUP)
    assert (await when(api, refused))["refusal"]["trigger"] == "SIGHUP"
    (api.rules / "policy.yaml").write_text(changed(1), "utf-8")
    os.kill(os.getpid(), signal.SIGHUP)
    await when(api, lambda found: not refused(found))


@asynccontextmanager
async def with_models(rules: Path, models: Path, store: Store | None = None) -> Any:
    engine = Engine(store or MemoryStore())
    app = create_app(engine, ServerSettings(rules=str(rules), models=str(models)))
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 40000))  # type: ignore[arg-type]
    async with (
        app.lifespan(),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        yield Api(client, engine, rules)


SPEC = "name: small\nfeatures: {customer.country: categorical, message.name: categorical}\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.scoring.build import small_model

    return small_model(tmp_path_factory.mktemp("trained"))


async def shown(api: Api, line: str, value: float) -> None:
    """Waits until a metric has a value: it is set when a model decides, not when it is read."""
    async with asyncio.timeout(30):
        while await api.metric(line) != value:
            await asyncio.sleep(0.02)


async def test_models_and_challengers_come_and_go_without_a_word_from_anybody(
    rules: Path, tmp_path: Path, trained: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "small.yaml").write_text(SPEC)
    (models / "broken.yaml").write_text("name: [\n")
    async with with_models(rules, models) as api:
        found = await policy(api)
        assert (found["model_version"], found["shadow_version"]) == (None, None)
        table = api.engine.snapshot.policy.fields
        assert "customer.country" in {field.name for field in table.fields}
        version = Path(shutil.copytree(trained, models / "small" / trained.name))
        point_to(models, version)
        found = await when(api, lambda found: found["model_version"] == trained.name)
        assert (found["degraded"], found["model_problem"]) == ([], None)
        point_to(models, version, SHADOW)
        found = await when(api, lambda found: found["shadow_version"] == trained.name)
        labels = f'placement="",purpose="",version="{trained.name}"'
        await shown(api, f"nextbest_shadow_info{{{labels}}}", 1)
        (models / SHADOW).unlink()
        await when(api, lambda found: found["shadow_version"] is None)
        await shown(api, 'nextbest_model_reloads_total{result="ok"}', 3)
        # What must not serve never replaces what does, and rules still go live beside it.
        damaged = Path(shutil.copytree(version, models / "small" / "damaged"))
        (damaged / "model.txt").write_text("tree\nnonsense")
        point_to(models, damaged)
        found = await when(api, lambda found: found["model_problem"] is not None)
        assert found["model_version"] == trained.name
        await shown(api, 'nextbest_model_reloads_total{result="refused"}', 1)
        (rules / "policy.yaml").write_text(changed(1), "utf-8")
        answer = await api.client.post("/v1/policy/reload")
        assert (answer.status_code, answer.json()["model_version"]) == (200, trained.name)
        shutil.rmtree(models)
        found = await when(api, lambda found: "gone" in (found["model_problem"] or ""))
        assert found["model_version"] == trained.name


# What is published.


async def put(store: Store, text: str, by: str = "li") -> str:
    definition = load_files({"policy.yaml": text}).definition
    assert definition is not None, text
    return (await publish(store, definition, by, "", datetime.now(UTC))).version


async def test_followers_wait_for_the_first_publication_and_follow_every_other(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    nowhere = tmp_path / "nowhere"
    async with running(nowhere, store, follow="published") as api:
        ready = await api.client.get("/health/ready")
        assert ready.status_code == 503
        assert "nextbest publish" in ready.json()["detail"]
        assert (await api.decide(customer_id="c-1")).status_code == 503
        assert (await api.client.post("/v1/policy/reload")).status_code == 503
        first = await put(store, RULES)

        async def up() -> bool:
            return (await api.client.get("/health/ready")).status_code == 200

        await until(up)
        async with running(nowhere, store, follow="published") as other:
            second = await put(store, changed(2))
            for each in (api, other):
                await when(each, lambda found: found["policy_version"] == second)
            assert (await api.decide(customer_id="c-2")).json()["policy_version"] == second
            await roll_back(store, first, "li", "", datetime.now(UTC))
            for each in (api, other):
                await when(each, lambda found: found["policy_version"] == first)


async def publish_unusable(store: Store) -> str:
    """A publication that this server refuses, as one of a later version may be."""
    import msgspec

    from decision.engine.snapshot import policy_blob
    from decision.releases.publishing import HISTORY, Publication

    await store.put_blob(policy_blob("f00"), msgspec.msgpack.encode({"policy.yaml": BROKEN}))
    entry = Publication(version="f00", at=datetime.now(UTC), by="li")
    await store.append_history(HISTORY, msgspec.msgpack.encode(entry), 10)
    return "f00"


async def test_a_publication_that_a_replica_refuses_leaves_it_with_the_old_one(
    tmp_path: Path,
) -> None:
    store = MemoryStore()
    first = await put(store, RULES)
    async with running(tmp_path, store, follow="published") as api:
        await publish_unusable(store)
        found = await when(api, refused)
        assert found["policy_version"] == first
        assert found["refusal"]["trigger"] == "publish"
        assert "at_most" in found["refusal"]["errors"][0]["detail"]
        await asyncio.sleep(1)
        assert await api.metric('nextbest_policy_reloads_total{result="refused"}') == 1
    async with running(tmp_path, store, follow="published") as again:
        found = await policy(again)
        assert found["policy_version"] == first
        assert found["refusal"]["trigger"] == "start"
        third = await put(store, changed(3))
        found = await when(again, lambda found: found["policy_version"] == third)
        assert found["refusal"] is None


async def test_a_store_that_is_away_during_a_publication_is_caught_up_with(rules: Path) -> None:
    store = AwayStore()
    store.away = False
    first = await put(store, RULES)
    async with running(rules, store, follow="published") as api:
        store.away = True

        async def away() -> bool:
            return bool((await api.client.get("/health/ready")).json()["degraded"])

        await until(away)
        store.away = False
        second = await put(store, changed(2))
        store.away = True
        assert (await policy(api))["policy_version"] == first
        assert (await api.client.post("/v1/policy/reload")).status_code == 503
        store.away = False
        found = await when(api, lambda found: found["policy_version"] == second)
        assert found["refusal"] is None


async def test_a_watched_change_during_an_outage_goes_live_after_it(rules: Path) -> None:
    store = AwayStore()
    store.away = False
    async with running(rules, store, watch=True) as api:
        before = await policy(api)
        store.away = True
        (rules / "policy.yaml").write_text(changed(1), "utf-8")
        await asyncio.sleep(1.5)
        assert (await policy(api))["policy_version"] == before["policy_version"]
        store.away = False
        await when(api, lambda found: found["policy_version"] != before["policy_version"])


async def test_publications_at_once_are_all_in_the_history_and_one_is_in_force() -> None:
    store = MemoryStore()
    versions = await asyncio.gather(*(put(store, changed(n), f"w{n}") for n in range(20)))
    entries = await history(store)
    assert sorted(entry.version for entry in entries) == sorted(versions)
    assert versions_standing(entries)[-1] == entries[-1].version
