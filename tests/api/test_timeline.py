"""`GET /v1/customers/{id}/timeline`: what happened, page by page, from the store and the archive."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from decision.archive import timeline as archived
from decision.archive.archiver import Archiver
from decision.archive.folder import ArchiveFolder
from decision.core.clock import HOUR
from decision.core.ports import Store
from decision.engine.runtime import wall_clock
from decision.server.audit import entries
from decision.store import MemoryStore
from tests.api.conftest import Api, running

pytestmark = pytest.mark.anyio
Row = dict[str, Any]


async def page(api: Api, customer: str = "c-1", **asked: Any) -> Row:
    path = f"/v1/customers/{quote(customer, safe='')}/timeline"
    answer = await api.client.get(path, params=asked)
    assert answer.status_code == 200, answer.text
    found: Row = answer.json()
    return found


async def every(api: Api, customer: str = "c-1", **asked: Any) -> list[Row]:
    """All rows, page by page."""
    rows: list[Row] = []
    found = await page(api, customer, **asked)
    for _ in range(5000):
        rows += found["rows"]
        if found["next"] is None:
            return rows
        found = await page(api, customer, before=found["next"], **asked)
    raise AssertionError("it has no end")


async def tell(api: Api, *events: Row) -> None:
    given = [{"customer_id": "c-1", **one} for one in events]
    answer = await api.client.post("/v1/events", json={"events": given})
    assert answer.json()["accepted"] == len(events), answer.text


async def archive(store: Store, out: Path, keep: int = 0) -> None:
    """Moves the log to an archive; nothing archived stays in it, unless `keep`."""
    pytest.importorskip("duckdb")
    folder = ArchiveFolder(out)
    with folder.claimed():
        archiver = Archiver(folder, store, clock=lambda: wall_clock() + HOUR, keep=keep)  # type: ignore[arg-type]
        await archiver.open()
        await archiver.run()


def ago(**delta: int) -> str:
    return (datetime.now(UTC) - timedelta(**delta)).isoformat()


async def test_a_decision_a_contact_an_event_and_a_consent_are_rows_the_latest_first(
    api: Api,
) -> None:
    await tell(api, {"id": "e-1", "type": "cart_add", "at": ago(hours=2), "value": 3.5})
    said = {"state": "granted", "at": ago(hours=1), "source": "form-7", "evidence": "box 3"}
    body = {"marketing": {"*": said}}
    assert (await api.client.put("/v1/customers/c-1/consents", json=body)).status_code == 200
    event = {"type": "cart_add", "properties": {"cart_value": 120}}
    decision = (await api.decide(customer_id="c-1", event=event)).json()
    found = await page(api)
    assert (found["customer_id"], found["next"]) == ("c-1", None)
    by_kind = {row["kind"]: row for row in found["rows"]}
    assert [row["kind"] for row in found["rows"]] == ["decision", "contact", "consent", "event"]
    chosen = decision["selections"][0]
    made = by_kind["decision"]
    assert (made["decision_id"], made["reason"]) == (decision["decision_id"], None)
    assert (made["message"], made["channel"]) == (chosen["message"], chosen["channel"])
    assert made["text"] == chosen["content"] == {"title": "Offer 120"}
    contact = by_kind["contact"]
    assert (contact["message"], contact["state"]) == (chosen["message"], "reserved")
    consent = by_kind["consent"]
    assert (consent["state"], consent["source"], consent["evidence"]) == (
        *("granted", "form-7", "box 3"),
    )
    assert (by_kind["event"]["type"], by_kind["event"]["value"]) == ("cart_add", 3.5)


async def test_silence_and_a_fallback_are_decisions_with_their_reason(api: Api) -> None:
    await api.client.put("/v1/customers/c-1", json={"attributes": {"first_name": "Mei"}})
    none = (await api.decide(customer_id="c-1")).json()
    hello = (await api.decide(customer_id="c-1", placement="app_home")).json()
    rows = {row["decision_id"]: row for row in (await page(api, kinds="decision"))["rows"]}
    silent = rows[none["decision_id"]]
    assert (silent["message"], silent["text"]) == (None, None)
    assert silent["reason"] == none["reason"] == "no_consent"
    given = rows[hello["decision_id"]]
    assert (given["message"], given["text"]) == ("hello", hello["selections"][0]["content"])


async def test_kinds_narrow_the_rows(api: Api) -> None:
    await api.consent()
    await api.decide(customer_id="c-1")
    await tell(api, {"id": "e-1", "type": "message.unsubscribed"})
    for kinds in ("decision", "contact", "event", "consent", "event,consent"):
        rows = await every(api, kinds=kinds)
        assert {row["kind"] for row in rows} == set(kinds.split(","))
    assert await every(api, kinds="events,consents") == await every(api, kinds="event,consent")
    consents = await every(api, kinds="consent")
    # Of everything: of the purposes there are, and of those that come later.
    assert [row["source"] for row in consents] == ["message.unsubscribed"] * 2 + ["api"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"kinds": "decisoin"}, "kinds"), ({"kinds": ""}, "kinds"), ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"), ({"limit": "ten"}, "limit"), ({"limit": "٣"}, "limit"),
        ({"before": "nonsense"}, "before"), ({"before": ""}, "before"), ({"before": "é"}, "before"),
    ],
)  # fmt: skip
async def test_what_cannot_be_asked_is_refused_with_its_field(
    api: Api, asked: Row, field: str
) -> None:
    await api.consent()
    answer = await api.client.get("/v1/customers/c-1/timeline", params=asked)
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, field)


async def test_a_cursor_is_that_of_one_customer_also_after_a_merge(api: Api) -> None:
    for customer in ("c-1", "c-2"):
        await api.consent(customer)
        await api.decide(customer_id=customer)
    cursor = (await page(api, limit=1))["next"]
    path = "/v1/customers/c-2/timeline"
    refused = await api.client.get(path, params={"before": cursor})
    assert refused.status_code == 400
    await api.client.post("/v1/customers/c-2/merge", json={"from": "c-1"})
    assert (await api.client.get(path, params={"before": cursor})).status_code == 200
    decisions = await every(api, "c-2", kinds="decision")
    assert len(decisions) == 2
    assert await every(api, "c-1", kinds="decision") == decisions


async def test_nobody_known_and_an_erased_customer_are_a_404(api: Api) -> None:
    path = "/v1/customers/c-1/timeline"
    assert (await api.client.get(path)).status_code == 404
    await api.consent()
    await api.decide(customer_id="c-1")
    assert (await api.client.get(path)).status_code == 200
    await api.client.delete("/v1/customers/c-1")
    assert (await api.client.get(path)).status_code == 404


async def test_pages_are_all_rows_once_also_of_one_time_and_while_new_ones_arrive(
    api: Api,
) -> None:
    """Hundreds of pages of one row, of events of which many have one time."""
    choose = random.Random(1)
    moments = [ago(minutes=choose.randrange(40)) for _ in range(40)]
    for start in range(0, 400, 200):
        await tell(
            api,
            *(
                {"id": f"e-{start + number}", "type": "view", "at": choose.choice(moments)}
                for number in range(200)
            ),
        )
    at_once = await every(api, limit=100)
    assert [row["at"] for row in at_once] == sorted((row["at"] for row in at_once), reverse=True)
    assert len({row["id"] for row in at_once}) == len(at_once) == 400
    one_by_one: list[Row] = []
    found = await page(api, limit=1)
    number = 0
    while True:
        one_by_one += found["rows"]
        if number % 100 == 0:
            await tell(api, {"id": f"new-{number}", "type": "view"})
        number += 1
        if found["next"] is None:
            break
        found = await page(api, limit=1, before=found["next"])
    assert one_by_one == at_once


async def test_what_is_in_the_log_and_in_the_archive_comes_once_and_what_is_in_one_comes(
    rules: Path, tmp_path: Path
) -> None:
    out, store = tmp_path / "archive", MemoryStore()
    out.mkdir()
    async with running(rules, store, archive=str(out)) as api:
        for day in range(5):
            events = [
                {"id": f"d{day}-{n}", "type": "view", "at": ago(days=day, minutes=n)}
                for n in range(7)
            ]
            await tell(api, *events)
        await api.consent()
        first = (await api.decide(customer_id="c-1")).json()
        before = await every(api, limit=100)
        await archive(store, out, keep=24 * HOUR)  # in both
        for limit in (3, 100):
            assert await every(api, limit=limit) == before
        await archive(store, out)  # in the archive alone
        assert await store.log_lengths() == [0] * 256
        for limit in (1, 4, 100):
            assert await every(api, limit=limit) == before
        text = first["selections"][0]["content"]
        assert [row["text"] for row in before if row["kind"] == "decision"] == [text]
        await tell(api, {"id": "now", "type": "view"})
        assert [row["id"] for row in await every(api, limit=2)][1:] == [row["id"] for row in before]


async def test_a_page_looks_at_so_many_days_and_the_next_goes_on(
    rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, store = tmp_path / "archive", MemoryStore()
    out.mkdir()
    async with running(rules, store, archive=str(out)) as api:
        others = [
            {"id": f"o-{day}", "customer_id": "c-2", "type": "view", "at": ago(days=day)}
            for day in range(30)
        ]
        await tell(api, *others, {"id": "e-1", "type": "view", "at": ago(days=29)})
        await tell(api, {"id": "e-2", "type": "view"})
        await archive(store, out)
        monkeypatch.setattr(archived, "MOST_DAYS", 7)
        looked: list[str] = []
        rows_of = archived.rows_of

        def counted(folder: Path, dataset: str, day: str, *rest: Any) -> list[Row]:
            looked.append(day)
            return rows_of(folder, dataset, day, *rest)

        monkeypatch.setattr(archived, "rows_of", counted)
        found = await page(api, kinds="event")
        assert [row["id"] for row in found["rows"]] == ["e-2"]
        assert len(looked) == 7
        assert [row["id"] for row in await every(api, kinds="event")] == ["e-2", "e-1"]


async def test_nothing_from_before_an_erasure_is_shown_while_the_archive_still_has_it(
    rules: Path, tmp_path: Path
) -> None:
    out, store = tmp_path / "archive", MemoryStore()
    out.mkdir()
    async with running(rules, store, archive=str(out)) as api:
        await tell(api, {"id": "old", "type": "view", "at": ago(days=3)})
        await archive(store, out)
        await api.client.delete("/v1/customers/c-1")
        await tell(api, {"id": "new", "type": "view"})
        assert [row["id"] for row in await every(api)] == ["new"]
        await archive(store, out)
        assert [row["id"] for row in await every(api)] == ["new"]


async def test_an_archive_that_is_not_there_is_a_503(rules: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    async with running(rules, archive=str(tmp_path / "nowhere")) as api:
        await api.consent()
        assert (await api.client.get("/v1/customers/c-1/timeline")).status_code == 503


async def test_each_page_is_an_entry_of_the_audit_log(api: Api) -> None:
    await api.consent()
    await page(api)
    assert [one.action for one in await entries(api.engine.runtime.store)] == ["customer.timeline"]
