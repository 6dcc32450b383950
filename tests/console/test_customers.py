"""Customers: found by whatever is known of them, and all of one on a page."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from decision.core.schema import ConsentStatement, CustomerUpdate, DecisionRequest, Event
from decision.engine.timeline import Place
from decision.server.audit import entries
from decision.server.timelines import cursor_of
from tests.console.conftest import Browser, KeysInFile, browsing

pytestmark = pytest.mark.anyio

HTML = "<img src=x onerror=alert(1)>"
NAME = "周" * 200


async def li(browser: Browser, **fields: Any) -> str:
    """A customer with consents, an event and a decision; gives the decision's id."""
    engine = browser.api.engine
    await engine.customers.update(
        "li",
        CustomerUpdate(
            attributes={"first_name": HTML, "bio": NAME},
            aliases={"email": "li@example.com", "loyalty card": "7/7"},
            timezone="Europe/Berlin",
            **fields,
        ),
    )
    said = ConsentStatement(state="granted", source="shop <1>", evidence="form 7")
    await engine.customers.set_consents("li", {"marketing": {"*": said}}, "ann")
    await engine.events.record([Event(type="purchase", customer_id="li", id="e<1>", value=3)])
    decision = await engine.decide(DecisionRequest(placement="outbound", customer_id="li"))
    return decision.decision_id


async def actions(browser: Browser) -> list[str]:
    return [one.action for one in await entries(browser.api.engine.runtime.store)]


@pytest.mark.parametrize(
    "text",
    ["li", "li@example.com", "Li@Example.COM", "email:LI@example.com", "loyalty card:7/7", " li "],
)
async def test_a_customer_is_found_by_id_and_by_an_alias_of_any_type(
    rules: Path, text: str
) -> None:
    async with browsing(rules) as browser:
        await li(browser)
        found = await browser.client.get("/console/customers", params={"q": text})
        assert (found.status_code, found.headers["location"]) == (303, "/console/customers/li")
        assert await actions(browser) == ["customer.find"]


async def test_a_text_that_means_several_gives_a_list_and_each_look_is_noted(rules: Path) -> None:
    async with browsing(rules) as browser:
        engine = browser.api.engine
        for name, kind in (("a/1", "email"), ("b", "phone")):
            await engine.customers.update(name, CustomerUpdate(aliases={kind: "4711"}))
        page = await browser.get("/console/customers?q=4711")
        assert 'href="/console/customers/a%2F1"' in page.text
        assert 'href="/console/customers/b"' in page.text
        assert await actions(browser) == ["customer.find", "customer.find"]


async def test_who_is_not_found_is_said_with_what_was_tried(rules: Path) -> None:
    async with browsing(rules) as browser:
        page = await browser.client.get("/console/customers", params={"q": HTML})
        assert page.status_code == 200
        assert "No customer is found by &lt;img" in page.text
        assert "email, phone" in page.text
        typed = await browser.client.get("/console/customers", params={"q": "email:x"})
        assert typed.text.count("types email, phone") == 1  # each once
        assert "Whom do you look for?" in (await browser.get("/console/customers")).text
        bad = await browser.client.get("/console/customers", params={"q": "a\x01b"})
        assert "This can be no id" in bad.text
        assert (await browser.get(f"/console/customers?q={'x' * 5000}")).status_code == 200
        assert await actions(browser) == []


async def test_the_id_of_a_decision_leads_to_the_decision(rules: Path) -> None:
    async with browsing(rules) as browser:
        decision_id = await li(browser)
        found = await browser.get(f"/console/customers?q={decision_id}")
        assert found.headers["location"] == f"/console/decisions/{decision_id}"


async def test_the_page_has_who_consents_caps_and_what_happened(rules: Path) -> None:
    async with browsing(rules) as browser:
        decision_id = await li(browser)
        page = await browser.get("/console/customers/li")
        assert page.status_code == 200
        for words in ("&lt;img src=x", NAME, "li@example.com", "Europe/Berlin", "buyer"):
            assert words in page.text
        for words in ("shop &lt;1&gt;", "form 7", "may be used", "may not be used"):
            assert (words in page.text) == (words != "may not be used")
        assert "<img src=x" not in page.text
        assert "style=" not in page.text
        assert "any other message" in page.text
        assert re.search(r"</strong> (push|email) <small>outbound</small> <a ", page.text)  # apart
        assert 'href="/console/messages/' in page.text
        assert ">full</span>" in page.text  # the message that was given, of its cap
        assert f'href="/console/decisions/{decision_id}"' in page.text
        assert "<strong>purchase</strong>" in page.text
        assert await actions(browser) == ["customer.view", "customer.timeline"]


async def test_an_id_of_before_a_merge_leads_to_who_it_is_now(rules: Path) -> None:
    async with browsing(rules) as browser:
        await li(browser)
        await browser.api.engine.customers.update("old", CustomerUpdate(attributes={"a": 1}))
        await browser.api.engine.customers.merge("li", "old")
        page = await browser.get("/console/customers/old")
        assert "old was merged into this customer." in page.text


@pytest.mark.parametrize("name", ["nobody", "%01", "a%2Fb", "%FF", "null", "x" * 300])
async def test_who_is_not_known_has_a_page_that_says_so(rules: Path, name: str) -> None:
    async with browsing(rules) as browser:
        for path in (f"/console/customers/{name}", f"/console/customers/{name}/timeline"):
            assert (await browser.get(path)).status_code == 404
        assert await actions(browser) == []


async def test_an_erased_customer_is_not_known_any_more(rules: Path) -> None:
    async with browsing(rules) as browser:
        await li(browser)
        await browser.api.engine.customers.erase("li")
        page = await browser.get("/console/customers/li")
        assert page.status_code == 404
        assert "was erased" in page.text


async def test_the_timeline_goes_on_where_its_cursor_says_and_shows_one_kind(rules: Path) -> None:
    async with browsing(rules) as browser:
        await li(browser)
        engine = browser.api.engine
        await engine.events.record(
            [Event(type=f"view_{n}", customer_id="li", id=str(n)) for n in range(30)]
        )
        first = await browser.get("/console/customers/li?kinds=event")
        _, _, rest = first.text.partition('rel="next" href="')
        path = rest.partition('"')[0].replace("&amp;", "&")
        assert path.startswith("/console/customers/li?kinds=event&before=")
        later = await browser.get(path.partition("#")[0])
        both = first.text + later.text
        assert all(f"<strong>view_{n}</strong>" in both for n in range(30))
        assert "<strong>offer</strong>" not in both.partition("<ol class")[2]


async def test_a_cursor_of_another_customer_or_none_is_refused_with_a_sentence(rules: Path) -> None:
    async with browsing(rules) as browser:
        await li(browser)
        other = cursor_of("somebody", Place(0, 0, ""))
        for query in (f"before={other}", "before=%F0%9F", "before=AAAA", "kinds=secrets"):
            for path in ("/console/customers/li", "/console/customers/li/timeline"):
                page = await browser.get(f"{path}?{query}")
                assert page.status_code == 400, query
                assert "Begin at the latest" in page.text


async def test_a_dry_run_shows_what_the_api_explains_and_changes_nothing(rules: Path) -> None:
    async with browsing(rules) as browser:
        await li(browser)
        engine = browser.api.engine
        asked = {"placement": "outbound", "customer_id": "li", "dry_run": True, "explain": True}
        answer = (await browser.api.client.post("/v1/decisions", json=asked)).json()
        before = await engine.customers.get("li")
        page = await browser.get("/console/customers/li?placement=outbound&g.reason=all")
        assert page.status_code == 200
        for row in answer["explanation"]:
            assert row["message"] in page.text
            assert row["detail"].replace("'", "&#39;") in page.text
        assert "A dry run" in page.text
        assert (await engine.customers.get("li")).contacts == before.contacts
        assert "customer.preview" in await actions(browser)


async def test_a_dry_run_of_a_time_to_come_asks_the_caps_of_that_time(rules: Path) -> None:
    async with browsing(rules) as browser:
        await li(browser)
        engine = browser.api.engine
        given = await engine.decide(DecisionRequest(placement="outbound", customer_id="li"))
        assert [one.message for one in given.selections] == ["news"]
        now = await browser.get("/console/customers/li?placement=outbound")
        assert "would get nothing" in now.text
        day = (engine.runtime.clock() // 86_400_000_000 + 3) * 86_400
        at = datetime.fromtimestamp(day, UTC).strftime("%Y-%m-%dT%H:%M")
        later = await browser.get(f"/console/customers/li?placement=outbound&at={at}")
        assert "would get <strong>offer</strong>" in later.text


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("at=soon", "This is no time"),
        ("at=2020-01-01T10:00", "This time is over"),
        ("at=9999-12-31T23:59", "more than a year ahead"),
        ("context=%7Ba", "This is no JSON object"),
        ("context=words", "Line 1 is not key=value"),
        ("channel=none", "channels[0]"),
        ("event=" + "x" * 200, "This cannot be decided"),
        ("context=" + "x" * 20_000, "This is too long"),
    ],
)
async def test_what_cannot_be_asked_is_said_at_its_field(
    rules: Path, query: str, sentence: str
) -> None:
    async with browsing(rules) as browser:
        await li(browser)
        page = await browser.get(f"/console/customers/li?placement=outbound&{query}")
        assert page.status_code == 200
        assert sentence in page.text
        page = await browser.get("/console/customers/li?placement=none")
        assert "This cannot be decided" in page.text


async def test_context_and_event_reach_the_texts(rules: Path) -> None:
    async with browsing(rules) as browser:
        await browser.api.engine.customers.update("bo", CustomerUpdate(attributes={"a": 1}))
        await browser.api.engine.customers.set_consents(
            "bo", {"marketing": {"*": ConsentStatement(state="granted")}}, "ann"
        )
        page = await browser.get(
            "/console/customers/bo?placement=outbound&event=cart&properties=cart_value%3D42%0D%0A"
        )
        assert "Offer 42" in page.text


async def test_only_who_may_see_pages_sees_customers(rules: Path, keys: KeysInFile) -> None:
    async with browsing(rules, keys) as browser:
        await li(browser)
        for path in ("/console/customers?q=li", "/console/customers/li"):
            page = await browser.get(path)
            assert page.headers["location"].startswith("/console/sign-in")
        assert (await browser.sign_in(keys.secrets["view-key"])).status_code == 303
        assert (await browser.get("/console/customers/li")).status_code == 200
        noted = await entries(browser.api.engine.runtime.store)
        assert {one.by for one in noted} == {"view-key"}
        assert all(one.target != "li" for one in noted)


async def test_an_archive_that_cannot_be_read_costs_the_timeline_alone(
    rules: Path, tmp_path: Path
) -> None:
    async with browsing(rules, archive=str(tmp_path / "none")) as browser:
        await li(browser)
        page = await browser.get("/console/customers/li")
        assert page.status_code == 200
        assert 'hx-get="/console/customers/li/timeline"' in page.text
        part = await browser.get("/console/customers/li/timeline", **{"hx-request": "true"})
        assert part.status_code == 200
        assert "<html" not in part.text
        assert "The archive cannot be read" in part.text
