"""A decision's page: what it came to, why, and what it would be by the rules in force now."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from decision.core.clock import from_micros
from decision.core.schema import ConsentStatement, DecisionRequest, Event
from decision.engine import build_snapshot
from decision.rulebook.reader import load_files
from decision.server.audit import entries
from decision.store import MemoryStore
from tests.api.conftest import RULES
from tests.console.conftest import Browser, KeysInFile, browsing

pytestmark = pytest.mark.anyio

PATH = "/console/decisions/"


async def decided(browser: Browser, customer: str = "li", placement: str = "outbound") -> str:
    """A decision about a customer who agrees to everything."""
    engine = browser.api.engine
    said = ConsentStatement(state="granted")
    await engine.customers.set_consents(customer, {"marketing": {"*": said}}, "ann")
    asked = DecisionRequest(placement=placement, customer_id=customer)
    return (await engine.decide(asked)).decision_id


async def use(browser: Browser, text: str) -> None:
    engine = browser.api.engine
    definition = load_files({"rules.yaml": text}).definition
    assert definition is not None
    now = from_micros(engine.runtime.clock())
    engine.use(await build_snapshot(definition, None, engine.runtime.store, now))


async def test_one_sentence_says_what_was_given_and_why(rules: Path) -> None:
    async with browsing(rules) as browser:
        page = await browser.get(PATH + await decided(browser))
        assert page.status_code == 200
        assert "got <strong>offer</strong> by " in page.text
        assert "it came before" in page.text
        assert 'href="/console/customers/li"' in page.text
        chinese = await browser.get(PATH + await decided(browser), **{"accept-language": "zh"})
        assert "得到 <strong>" in chinese.text


async def test_silence_is_said_with_its_reasons_and_when_it_ends(rules: Path) -> None:
    async with browsing(rules) as browser:
        for _ in range(2):
            await decided(browser)
        page = await browser.get(PATH + await decided(browser))
        assert "got nothing, because no message was left (contact cap reached" in page.text
        assert "Earliest again at" in page.text


async def test_the_grid_is_the_explanation_of_the_api(rules: Path) -> None:
    async with browsing(rules) as browser:
        decision_id = await decided(browser)
        answer = (await browser.client.get(f"/v1/decisions/{decision_id}")).json()
        page = await browser.get(f"{PATH}{decision_id}?g.reason=all")
        _, _, grid = page.text.partition('id="grid"')
        rows = re.findall(r'<tr[^>]*>\s*<th scope="row" class="long">(.*?)</tr>', grid, re.DOTALL)
        assert len(rows) == len(answer["explanation"])
        for one in answer["explanation"]:
            [row] = [
                row for row in rows if f">{one['message']}</a></th><td>{one['channel']}</td>" in row
            ]
            assert one["detail"] in row
            assert one["source"] in row


async def test_the_grid_is_filtered_by_its_address(rules: Path) -> None:
    async with browsing(rules) as browser:
        decision_id = await decided(browser)
        path = PATH + decision_id
        for query, found in (
            ("g.reason=chosen", 1),
            ("g.reason=all&g.channel=email", 2),
            ("g.reason=all&g.message=HELL", 1),
            ("g.message=%3Cb%3E&g.page=99999", 0),
        ):
            page = await browser.get(f"{path}?{query}")
            assert f"{found} of 4 candidates" in page.text, query
            assert "<b>" not in page.text


async def test_what_came_of_it_is_shown(rules: Path) -> None:
    async with browsing(rules) as browser:
        decision_id = await decided(browser)
        await browser.api.engine.events.record(
            [
                Event(type="message.clicked", customer_id="li", decision_id=decision_id),
                Event(type="unrelated", customer_id="li", properties={"about": decision_id}),
            ]
        )
        page = await browser.get(PATH + decision_id)
        assert "<strong>message.clicked</strong>" in page.text
        assert "<strong>unrelated</strong>" not in page.text
        assert "confirmed" in page.text


async def test_the_rules_of_now_are_asked_about_what_it_saw(rules: Path) -> None:
    """A decision of the same rules is the same; of others it says what differs."""
    async with browsing(rules) as browser:
        decision_id = await decided(browser)
        assert "The same rules are in force." in (await browser.get(PATH + decision_id)).text
        await use(browser, RULES + "\n# a comment\n")
        assert "It would come to the same." in (await browser.get(PATH + decision_id)).text
        await use(browser, RULES.replace("value: 5", "value: 50"))
        page = await browser.get(PATH + decision_id)
        assert "It would be:" in page.text
        assert "Candidates that would fare differently" in page.text
        await use(browser, RULES.replace("outbound", "inbound"))
        page = await browser.get(PATH + decision_id)
        assert "do not have the placement outbound any more" in page.text


@pytest.mark.parametrize("name", ["x", "0" * 26, "8" * 26, "%FF", "I" * 26, "a%2Fb", "x" * 2000])
async def test_an_id_that_is_none_or_not_there_is_a_sentence(rules: Path, name: str) -> None:
    async with browsing(rules) as browser:
        page = await browser.client.get(PATH + name, follow_redirects=True)
        assert page.status_code == 404
        assert await entries(browser.api.engine.runtime.store) == []


async def test_an_id_in_small_letters_leads_to_the_decision(rules: Path) -> None:
    async with browsing(rules) as browser:
        decision_id = await decided(browser)
        page = await browser.client.get(PATH + decision_id.lower(), follow_redirects=True)
        assert page.status_code == 200


async def test_a_decision_of_somebody_erased_is_gone(rules: Path) -> None:
    async with browsing(rules) as browser:
        decision_id = await decided(browser)
        await browser.api.engine.customers.erase("li")
        page = await browser.get(PATH + decision_id)
        assert page.status_code == 404
        assert "its customer was erased" in page.text


async def test_an_archive_that_is_not_there_is_a_sentence(rules: Path, tmp_path: Path) -> None:
    async with browsing(rules, archive=str(tmp_path / "none")) as browser:
        page = await browser.get(PATH + "0" * 26)
        assert page.status_code in (404, 503)
        decision_id = await decided(browser)
        page = await browser.get(PATH + decision_id)
        assert page.status_code == 200
        assert "The archive could not be read" in page.text


async def test_a_decision_whose_policy_is_not_kept_has_its_outcome(rules: Path) -> None:
    async with browsing(rules) as browser:
        decision_id = await decided(browser)
        store, version = (
            browser.api.engine.runtime.store,
            browser.api.engine.snapshot.policy_version,
        )
        assert isinstance(store, MemoryStore)
        del store._blobs[f"policy:{version}"]
        await use(browser, RULES + "\n# another\n")
        page = await browser.get(PATH + decision_id)
        assert page.status_code == 200
        assert "Why is not known any more" in page.text
        assert "got <strong>offer</strong>" in page.text


async def test_a_look_is_an_entry_of_the_audit_and_needs_a_scope(
    rules: Path, keys: KeysInFile
) -> None:
    async with browsing(rules, keys) as browser:
        decision_id = await decided(browser)
        assert (await browser.get(PATH + decision_id)).status_code == 303
        await browser.sign_in(keys.secrets["view-key"])
        await browser.get(PATH + decision_id)
        entry = (await entries(browser.api.engine.runtime.store))[-1]
        assert (entry.action, entry.by) == ("customer.decision", "view-key")


async def test_names_of_customers_are_text(rules: Path) -> None:
    async with browsing(rules) as browser:
        for customer in ("<b>&'\"", "周" * 200):
            page = await browser.get(PATH + await decided(browser, customer))
            assert page.status_code == 200
            assert "<b>&" not in page.text


async def test_ten_thousand_candidates_are_a_small_page(rules: Path) -> None:
    names = "\n".join(
        f"  m{n}: {{purpose: marketing, channels: [push, email], value: {1 + n % 9},"
        f" content: {{title: Hello {n}}}}}"
        for n in range(5_000)
    )
    text = RULES.partition("messages:")[0] + "messages:\n" + names + "\n"
    text = text.replace(", fallback: hello", "")
    (rules / "rules.yaml").write_text(text)
    async with browsing(rules) as browser:
        decision_id = await decided(browser)
        for query in ("", "?g.reason=outranked&g.page=7"):
            page = await browser.get(PATH + decision_id + query)
            assert page.status_code == 200
            assert "of 10,000 candidates" in page.text
            assert len(gzip.compress(page.content)) < 30_000
