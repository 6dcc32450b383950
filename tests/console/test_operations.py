"""Pages of operations: what there is is shown, what cannot be had is said, and changes are noted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from decision.core.clock import MINUTE, SECOND
from decision.core.schema import ConsentUpdate
from decision.core.sending import GatewayPause
from decision.engine.left_alone import LeftAlone, note_left_alone
from decision.server.audit import entries
from decision.server.quarantine import entry_about, quarantine
from decision.store import MemoryStore
from tests.console.away import Unreachable
from tests.console.conftest import Browser, KeysInFile, browsing

pytestmark = pytest.mark.anyio

RULES = """
settings: {timezone: Asia/Shanghai, currency: CNY, exploration: "off"}
purposes: {marketing: {consent: opt_in}}
channels: {push: {cost: 0.01}}
placements: {crm: {channels: [push], delivery: gateway}}
budgets: {spring: {of: {purpose: marketing}, at_most: 2}}
coupons: {ten: {}}
messages:
  hello: {purpose: marketing, channels: [push], value: 1, content: {title: <b>你好</b>}}
  ten: {purpose: marketing, channels: [push], value: 0.1, coupon: ten, content: {title: "{{ coupon.code }}"}}
"""
PARTS = ("", "/budgets", "/deliveries", "/rejected", "/erasures", "/keys")
HTML = "<script>alert(1)</script>"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "rules.yaml").write_text(RULES)
    return folder


async def held(browser: Browser, store: MemoryStore, customer: str, state: str) -> str:
    """A delivery that is held; its id."""
    granted = ConsentUpdate({"marketing": {"*": "granted"}})
    await browser.api.engine.customers.set_consents(customer, granted)
    answer = await browser.api.decide(customer_id=customer, placement="crm")
    assert answer.json()["outcome"] == "selected", answer.text
    found = await store.claim_deliveries(range(256), {"push": 10}, "test", 60_000)
    claimed = next(one for one in found if one.delivery.customer_id == customer)
    reason = f"{HTML} refused"
    if state == "failed":
        assert await browser.api.engine.delivering.failed(claimed, reason)
    else:
        assert await store.hold_delivery(claimed, "unknown", reason)
    return claimed.delivery.id


async def test_the_overview_shows_what_the_server_knows_of_itself(rules: Path) -> None:
    store = MemoryStore()
    async with browsing(rules, store=store) as browser:
        minute = browser.api.engine.runtime.clock() // MINUTE
        await store.add_counts(f"m{minute}", {"d\0selected": 7}, 50, 10**9)
        await browser.api.decide(customer_id="c-1", placement="crm")
        page = await browser.get("/console/operations")
        assert page.status_code == 200
        assert "Decisions a minute, in the last hour" in page.text
        assert "all together" in page.text and "99% within" in page.text
        assert browser.api.engine.snapshot.policy_version in page.text
        for part in PARTS:
            assert f'href="/console/operations{part}"' in page.text


async def test_budgets_and_pools_say_what_is_left(rules: Path) -> None:
    store = MemoryStore()
    async with browsing(rules, store=store) as browser:
        await store.add_codes("ten", ["A", "B"])
        await held(browser, store, "c-1", "unknown")
        page = await browser.get("/console/operations/budgets")
        assert ">spring<" in page.text and "<progress" in page.text
        assert '<td class="number">2 times</td>' in page.text
        assert ">ten<" in page.text and '<td class="number">2</td>' in page.text


async def test_a_held_delivery_is_sent_again_or_dropped_with_a_reason(rules: Path) -> None:
    store = MemoryStore()
    async with browsing(rules, store=store) as browser:
        path = "/console/operations/deliveries"
        one = await held(browser, store, "客户<1>", "unknown")
        said = "1 delivery failed or is unknown; it is not sent again by itself"
        assert said in (await browser.get("/console")).text
        page = await browser.get(f"{path}?state=unknown")
        assert one in page.text and "客户&lt;1&gt;" in page.text
        assert HTML not in page.text and "&lt;script&gt;alert(1)" in page.text
        assert one not in (await browser.get(path)).text  # those that failed
        fields = {"id": one, "customer": "客户<1>", "state": "unknown"}
        assert (await browser.post(f"{path}/retry", **fields, why=" ")).status_code == 400
        done = await browser.post(f"{path}/retry", **fields, why="provider works again")
        assert (done.status_code, done.headers["location"]) == (
            303,
            f"{path}?state=unknown&done=retry",
        )
        assert "is due again" in (await browser.get(done.headers["location"])).text
        [row] = await store.deliveries_of("客户<1>")
        assert row.status.state == "queued"
        other = await held(browser, store, "c-2", "failed")
        fields = {"id": other, "customer": "c-2", "state": "<b>", "channel": "<b>"}
        done = await browser.post(f"{path}/drop", **fields, why="wrong text")
        assert (done.status_code, done.headers["location"]) == (
            303,
            f"{path}?state=any&channel=%3Cb%3E&done=drop",
        )
        assert await store.deliveries_of("c-2") == []
        gone = await browser.post(f"{path}/drop", **fields, why="again")
        assert gone.status_code == 404 and "gone" in gone.text
        noted = [(e.action, e.target, e.reason, e.result) for e in await entries(store)]
        assert noted == [
            ("delivery.retry", one, "provider works again", "done"),
            ("delivery.drop", other, "wrong text", "done"),
        ]


async def test_what_cannot_be_sent_again_is_refused_with_the_reason(rules: Path) -> None:
    store = MemoryStore()
    async with browsing(rules, store=store) as browser:
        one = await held(browser, store, "c-1", "failed")
        granted = ConsentUpdate({"marketing": {"*": "denied"}})
        await browser.api.engine.customers.set_consents("c-1", granted)
        fields = {"id": one, "customer": "c-1", "why": "try"}
        refused = await browser.post("/console/operations/deliveries/retry", **fields)
        assert refused.status_code == 409 and "no_consent" in refused.text
        assert await entries(store) == []  # what was refused is logged alone


async def test_a_gateway_that_sends_nothing_needs_a_look_at_once(rules: Path) -> None:
    store = MemoryStore()
    async with browsing(rules, store=store) as browser:
        now = browser.api.engine.runtime.clock()
        await note_left_alone(store, "push", LeftAlone("apns", now + SECOND, 10, f"{HTML} 400"))
        await browser.api.decide(customer_id="c-1", placement="crm")
        for path in ("/console", "/console/operations"):
            page = await browser.get(path)
            assert "gateway apns fails" in page.text and "alert(1)&lt;/script&gt; 400" in page.text
        page = await browser.get("/console/operations/deliveries")
        assert "&lt;script&gt;alert(1)&lt;/script&gt; 400" in page.text and HTML not in page.text
        await store.pause_gateway("apns", GatewayPause("complaints", now))
        page = await browser.get("/console")
        assert (
            "gateway apns has been paused since" in page.text
            and "gateway apns fails" not in page.text
        )
        zh = await browser.get("/console", **{"accept-language": "zh-CN"})
        assert "网关 apns 自" in zh.text


async def test_an_empty_list_of_failures_says_how_many_wait(rules: Path) -> None:
    store = MemoryStore()
    async with browsing(rules, store=store) as browser:
        one = await held(browser, store, "c-1", "failed")
        path = "/console/operations/deliveries"
        await browser.post(f"{path}/retry", id=one, customer="c-1", why="again")
        page = await browser.get(path)
        assert "1 delivery waits" in page.text and f'href="{path}?state=queued"' in page.text


async def test_a_gateway_is_resumed_with_a_reason(rules: Path) -> None:
    store = MemoryStore()
    async with browsing(rules, store=store) as browser:
        await store.pause_gateway("mail", GatewayPause(f"{HTML} complaints", 1_700_000_000_000_000))
        page = await browser.get("/console/operations/deliveries")
        assert "&lt;script&gt;alert(1)&lt;/script&gt; complaints" in page.text
        path = "/console/operations/gateways/resume"
        assert (await browser.post(path, gateway="none", why="x")).status_code == 404
        assert (await browser.post(path, gateway="mail", why="")).status_code == 400
        assert (await browser.post(path, gateway="mail", why="list cleaned")).status_code == 303
        assert await store.paused_gateways() == {}
        [entry] = await entries(store)
        assert (entry.action, entry.target, entry.reason) == (
            "gateway.resume",
            "mail",
            "list cleaned",
        )


async def test_who_may_only_look_changes_nothing(rules: Path, keys: KeysInFile) -> None:
    store = MemoryStore()
    async with browsing(rules, keys, store=store) as browser:
        assert (await browser.get("/console/operations/keys")).status_code == 303
        await browser.sign_in(keys.secrets["view-key"])
        for part in PARTS:
            assert (await browser.get(f"/console/operations{part}")).status_code == 200
        token = await browser.token("/console/operations/deliveries")
        for path in ("deliveries/retry", "deliveries/drop", "gateways/resume"):
            fields = {"csrf": token, "id": "x", "customer": "c", "gateway": "g", "why": "x"}
            refused = await browser.post(f"/console/operations/{path}", **fields)
            assert refused.status_code == 403, path


async def test_keys_are_listed_without_anything_secret(rules: Path, keys: KeysInFile) -> None:
    keys.add(HTML, ["decide"], expires=datetime(2020, 1, 1, tzinfo=UTC), rate="5/second")
    async with browsing(rules, keys) as browser:
        await browser.sign_in(keys.secrets["view-key"])
        page = await browser.get("/console/operations/keys")
        assert "operate-key" in page.text and "5/second" in page.text and "expired" in page.text
        assert "&lt;script&gt;alert(1)" in page.text and HTML not in page.text
        for name, secret in keys.secrets.items():
            assert secret not in page.text and keys.entries[name].sha256 not in page.text


async def test_rejected_events_are_found_by_source_and_words(rules: Path) -> None:
    store = MemoryStore()
    async with browsing(rules, store=store) as browser:
        page = await browser.get("/console/operations/rejected")
        assert "No event was rejected" in page.text
        now = datetime.now(UTC)
        for n in range(60):
            raw = b'{"type": "purchase", "id": "e-1"}'
            one = entry_about(raw, f"bad {n}. {HTML}", at=now, source="api", index=n)
            await quarantine(store, [one])
        one = entry_about(b"{", "no JSON", at=now, source="kafka", index=0, place="t/0/7")
        await quarantine(store, [one])
        page = await browser.get("/console/operations/rejected?page=2")
        assert "61 events" in page.text and "bad 0." in page.text and HTML not in page.text
        page = await browser.get("/console/operations/rejected?source=kafka")
        assert "1 event<" in page.text and "t/0/7" in page.text
        page = await browser.get("/console/operations/rejected?text=BAD+59")
        assert "1 event<" in page.text


async def test_erasures_say_what_is_pending_and_name_nobody(rules: Path) -> None:
    store = MemoryStore()
    async with browsing(rules, store=store) as browser:
        await held(browser, store, "c-secret", "unknown")
        erased = await browser.api.engine.customers.erase_with_id("c-secret")
        page = await browser.get("/console/operations/erasures")
        assert erased.erasure_id in page.text and "its next run removes the rows" in page.text
        assert "c-secret" not in page.text


async def test_without_the_store_every_part_says_so_in_its_place(rules: Path) -> None:
    store = Unreachable()
    async with browsing(rules, store=store) as browser:
        store.down = True
        for part in PARTS:
            page = await browser.get(f"/console/operations{part}")
            assert page.status_code == 200, part
            assert part == "/keys" or "The store does not answer" in page.text, part
            assert "<h1>" in page.text
