"""Pages of messages: found, previewed for somebody, with what holds for them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from decision.console.html_text import text_of_html
from decision.console.samples import parsed_sample
from decision.core.clock import HOUR
from decision.core.schema import CustomerUpdate
from decision.store import MemoryStore
from tests.console.away import Unreachable
from tests.console.conftest import KeysInFile, browsing

pytestmark = pytest.mark.anyio

LONG = "周" * 120
RULES = f"""
settings: {{timezone: Asia/Shanghai, currency: CNY, exploration: "off"}}
purposes: {{marketing: {{consent: opt_in}}, service: {{consent: not_required}}}}
channels: {{push: {{cost: 0.01, max_length: {{title: 20}}}}, email: {{}}}}
placements: {{crm: {{channels: [push, email]}}, app: {{channels: [push]}}}}
caps:
  weekly: {{of: {{purpose: marketing}}, per: message, at_most: 2, within: 7d}}
  letters: {{of: {{channel: email}}, at_most: 1, within: calendar day, when: {{customer.tier: gold}}}}
budgets: {{spring: {{of: {{tags: sale}}, at_most: 50}}}}
messages:
  sale:
    purpose: marketing
    category: offers
    tags: [sale]
    channels: [push, email]
    value: 4.5
    when: {{customer.tier: gold, event.cart_value: {{gte: 10}}}}
    budget: {{total: 10}}
    content:
      title: "Hi {{{{ customer.first_name }}}}, 10% off"
      email:
        html: "<h1>Hi {{{{ customer.first_name }}}}</h1><style>p {{}}</style><p>See <b>you</b></p>"
  over: {{purpose: service, channels: [push], active: {{until: 2020-01-01}}, content: {{title: Old}}}}
  soon: {{purpose: service, channels: [push], active: {{from: 2099-01-01}}, content: {{title: New}}}}
  {LONG}:
    purpose: service
    channels: [email]
    placements: [crm]
    content: {{title: "<script>alert(1)</script>", data: {{a: ["<b>", 1]}}}}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "rules.yaml").write_text(RULES)
    return folder


async def test_a_card_says_what_holds_for_a_message_and_where(rules: Path) -> None:
    async with browsing(rules) as browser:
        page = await browser.get("/console/messages?text=off+hi")
        assert page.status_code == 200
        assert "1 message" in page.text and 'href="/console/messages/sale"' in page.text
        assert 'href="/console/rules/files/rules.yaml#L11"' in page.text
        assert "customer.tier = gold and event.cart_value ≥ 10" in page.text
        assert ">weekly<" in page.text and ">letters<" in page.text
        assert "0 of 10 times" in page.text and "spring: 0 of 50 times" in page.text
        assert "Not known here" in page.text and "<code>customer.first_name</code>" in page.text
        page = await browser.get("/console/messages/sale")
        assert "at most 2 within 7d, per message" in page.text
        assert "at most 1 within the calendar day, where customer.tier = gold" in page.text


async def test_filters_keep_what_they_name(rules: Path) -> None:
    async with browsing(rules) as browser:
        for query, names in {
            "": {"sale", "over", "soon", LONG},
            "state=ended": {"over"},
            "state=not_yet": {"soon"},
            "state=active&purpose=service": {LONG},
            "channel=email&tag=sale": {"sale"},
            "placement=app": {"sale", "over", "soon"},
            "category=offers": {"sale"},
            "text=SCRIPT": {LONG},
            "text=none": set(),
            "placement=none": set(),
            "order=given&page=99": {"sale", "over", "soon", LONG},
        }.items():
            page = await browser.get(f"/console/messages?{query}")
            assert page.status_code == 200
            found = page.text.count('<article class="card"')
            assert found == len(names), query
            for name in names - {LONG}:
                assert f'href="/console/messages/{name}' in page.text


async def test_html_and_long_names_are_text(rules: Path) -> None:
    async with browsing(rules) as browser:
        for path in ("/console/messages", f"/console/messages/{LONG}"):
            page = await browser.get(path)
            assert page.status_code == 200
            assert LONG in page.text
            assert "<script>alert" not in page.text and "&lt;script&gt;alert(1)" in page.text
            assert "&#34;&lt;b&gt;&#34;" in page.text
        odd = "<img src=x onerror=alert(1)>"
        page = await browser.client.get(
            "/console/messages/sale", params={"sample": f"first_name={odd}", "customer": odd}
        )
        assert "<img src=x" not in page.text and "Nothing is stored of this customer" in page.text


async def test_texts_are_those_of_the_customer_or_of_what_is_written_down(rules: Path) -> None:
    async with browsing(rules) as browser:
        given = CustomerUpdate(attributes={"first_name": "安<i>", "tier": "gold"})
        await browser.api.engine.customers.update("c-1", given)
        page = await browser.get("/console/messages/sale?customer=c-1")
        assert "Hi 安&lt;i&gt;, 10% off" in page.text
        assert "16 of 20 characters" in page.text
        assert "&lt;h1&gt;Hi 安&amp;lt;i&amp;gt;&lt;/h1&gt;" in page.text  # escaped, as is sent
        assert "event.cart_value is missing, must be at least 10" in page.text
        page = await browser.client.get(
            "/console/messages/sale",
            params={"customer": "c-1", "sample": "event.cart_value=12\r\nfirst_name=Somebody Long"},
        )
        assert "The condition holds" in page.text
        assert "It would not be given:" in page.text
        assert "title has 25 characters, may have 20" in page.text
        for bad in ("null", "\x07", "x" * 5000):
            page = await browser.client.get("/console/messages", params={"customer": bad})
            assert page.status_code == 200


async def test_how_often_it_was_given_and_why_not_is_shown(rules: Path) -> None:
    store = MemoryStore()
    async with browsing(rules, store=store) as browser:
        hour = browser.api.engine.runtime.clock() // HOUR
        await store.add_counts(f"h{hour}", {"s\0sale\0push": 4, "s\0sale\0email": 3}, 500, 10**9)
        page = await browser.get("/console/messages?order=given")
        assert "7 in 7 days" in page.text
        assert page.text.index(">sale</a>") < page.text.index(">over</a>")
        assert "<svg" in (await browser.get("/console/messages/sale")).text
        for _ in range(3):
            await browser.api.decide(customer_id="c-1", placement="crm")
        part = await browser.get("/console/messages/sale/fate", **{"hx-request": "true"})
        assert part.status_code == 200 and "<html" not in part.text
        assert "condition of the message does not hold" in part.text or "extra" in part.text
        assert (await browser.get("/console/messages/none")).status_code == 404
        assert (await browser.get("/console/messages/none/fate")).status_code == 404


async def test_without_the_store_texts_are_shown_and_the_rest_is_said_to_be_missing(
    rules: Path,
) -> None:
    store = Unreachable()
    async with browsing(rules, store=store) as browser:
        store.down = True
        for path in ("/console/messages?customer=c-1", "/console/messages/sale"):
            page = await browser.get(path)
            assert page.status_code == 200
            assert "10% off" in page.text and "The store does not answer" in page.text


@pytest.mark.parametrize("number", [500, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_very_many_messages_are_a_light_page(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    text = RULES.partition("budgets:")[0] + "messages:\n"
    content = "x" * 100
    text += "".join(
        f"  m{n}: {{purpose: service, channels: [push, email], tags: [t{n}], "
        f"content: {{title: 'T{n}', body: '{content}'}}}}\n"
        for n in range(number)
    )
    (folder / "rules.yaml").write_text(text)
    async with browsing(folder) as browser:
        pages = -(-number // 24)
        page = await browser.get(f"/console/messages?page={pages}&text=t")
        assert f"{number:,} messages" in page.text and f"Page {pages} of {pages}" in page.text
        assert f">m{number - 1}<" in page.text and ">m23<" not in page.text
        assert len(gzip.compress(page.content)) < 50_000
        page = await browser.get("/console/messages?tag=t77")
        assert page.text.count("<article") == 1


async def test_pages_of_messages_are_for_those_who_may_look(rules: Path, keys: KeysInFile) -> None:
    async with browsing(rules, keys) as browser:
        page = await browser.get("/console/messages")
        assert page.status_code == 303
        await browser.sign_in(keys.secrets["view-key"])
        assert (await browser.get("/console/messages")).status_code == 200


def test_what_is_written_down_is_read_line_by_line() -> None:
    given = 'a=1\nb = "1"\nc.d=[1]\nevent.type=buy\ncontext.x==\n=\nnone\nf=01\ng='
    assert parsed_sample(given) == {
        "customer": {"a": 1, "b": "1", "c.d": [1], "f": "01", "g": ""},
        "event": {"type": "buy"},
        "context": {"x": "="},
    }


def test_an_email_is_read_without_what_no_reader_sees() -> None:
    assert text_of_html("<p>a<br>b</p><script>x</script><img alt='c'>&lt;") == "a\nb\n[c] <"
    assert text_of_html("<p <<b>x</p></style>") != ""
