"""The link in mails: one click opts out, opening it changes nothing, no answer says who is known."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.api import unsubscribe
from decision.api.app import create_app
from decision.core.errors import StoreUnavailable
from decision.engine import Engine
from decision.gateways.unsubscribe import OptOut, UnsubscribeLinks, _mac
from decision.server.settings import ServerSettings
from decision.store import MemoryStore
from tests.api.conftest import Api, running

pytestmark = pytest.mark.anyio
SECRET = "a secret of enough characters"
FILE = "gateways: {x: {type: file, path: '${NOT_SET}'}}\nunsubscribe: {url: 'http://localhost', secret: %s}\n"
LINKS = UnsubscribeLinks("http://localhost", [SECRET])
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
async def api(rules: Path, tmp_path: Path) -> AsyncIterator[Api]:
    path = tmp_path / "gateways.yaml"
    path.write_text(FILE % f"'{SECRET}'")
    # Anybody may click, from anywhere, and has no key.
    keys = tmp_path / "keys.yaml"
    keys.write_text("[]")
    async with running(
        rules, peer="203.0.113.5", gateways=str(path), api_keys_file=str(keys)
    ) as found:
        yield found


def link(customer: str = "c-1", **changed: Any) -> str:
    fields: dict[str, Any] = {
        "decision_id": "01JD8Z4X9Q0000000000000000",
        "message": "news",
        "channel": "email",
        "purpose": "marketing",
        "customer_id": customer,
    }
    return LINKS.link(OptOut(**{**fields, **changed}))


async def made(api: Api, customer: str = "c-1") -> str:
    """The link in a mail that the customer was really sent."""
    from decision.core.schema import DecisionRequest

    await api.engine.customers.set_consents(customer, {"marketing": {"*": "granted"}})
    decision = await api.engine.decide(
        DecisionRequest(placement="outbound", customer_id=customer, channels=["email"])
    )
    (selection,) = decision.selections
    return link(customer, decision_id=decision.decision_id, message=selection.message)


async def consents(api: Api, customer: str = "c-1") -> Any:
    found = (await api.engine.customers.get(customer)).consents
    return {
        purpose: {channel: one.state for channel, one in channels.items()}
        for purpose, channels in found.items()
    }


async def test_one_click_denies_the_purpose_on_the_channel_at_once(api: Api) -> None:
    url = await made(api)
    answer = await api.client.post(url, data=ONE_CLICK)
    assert answer.status_code == 200 and "You are unsubscribed." in answer.text
    assert (await consents(api))["marketing"]["email"] == "denied"


async def test_opening_the_link_changes_nothing(api: Api) -> None:
    url = await made(api)
    before = await consents(api)
    answer = await api.client.get(url)
    assert answer.status_code == 200 and "<form method=post>" in answer.text
    assert (await api.client.head(url)).status_code == 200
    assert await consents(api) == before
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "form-action 'self'" in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "c-1" not in answer.text and "news" not in answer.text


async def test_nothing_in_an_answer_says_whether_the_customer_exists(api: Api) -> None:
    known = await made(api)
    unknown = link("nobody")
    for method in ("GET", "POST"):
        one, other = [await api.client.request(method, url) for url in (known, unknown)]
        hide = ("x-request-id", "date")
        assert [one.status_code, one.content] == [other.status_code, other.content]
        assert {k: v for k, v in one.headers.items() if k not in hide} == {
            k: v for k, v in other.headers.items() if k not in hide
        }


async def test_clicking_twice_is_one_event_and_opting_out_after_opting_in_counts(api: Api) -> None:
    url = await made(api)
    for _ in range(2):
        assert (await api.client.post(url, data=ONE_CLICK)).status_code == 200
    now = api.engine.runtime.clock
    api.engine.runtime.clock = lambda: now() + 120_000_000
    await api.engine.customers.set_consents("c-1", {"marketing": {"email": "granted"}})
    assert (await consents(api))["marketing"]["email"] == "granted"
    assert (await api.client.post(url, data=ONE_CLICK)).status_code == 200
    assert (await consents(api))["marketing"]["email"] == "denied"


@pytest.mark.parametrize(
    "changed",
    [
        {"purpose": "gone"},
        {"channel": "gone"},
        {"purpose": "gone", "channel": "gone", "message": "gone"},
        {"message": "m" * 128},
        {"decision_id": "01JD8ZZZZZZZZZZZZZZZZZZZZZ"},
        {"decision_id": "no decision"},
    ],
)
async def test_a_wish_is_kept_whatever_the_policy_has_become(api: Api, changed: Any) -> None:
    await made(api)
    assert (await api.client.post(link(**changed), data=ONE_CLICK)).status_code == 200
    denied = (await consents(api))["marketing"]
    assert "denied" in (denied.get("email"), denied.get("*"))


async def test_the_link_of_somebody_who_was_merged_opts_out_whom_they_are_now(api: Api) -> None:
    url = await made(api, "anon-9")
    await api.engine.customers.set_consents("c-1", {"marketing": {"*": "granted"}})
    await api.engine.customers.merge("c-1", "anon-9")
    assert (await api.client.post(url, data=ONE_CLICK)).status_code == 200
    assert (await consents(api))["marketing"]["email"] == "denied"


async def test_the_very_next_decision_respects_the_click(api: Api) -> None:
    url = await made(api)
    assert (await api.client.post(url, data=ONE_CLICK)).status_code == 200
    answer = await api.client.post("/v1/decisions", json={})
    assert answer.status_code == 401  # those who ask need a key; who opts out does not
    from decision.core.schema import DecisionRequest

    decision = await api.engine.decide(
        DecisionRequest(placement="outbound", customer_id="c-1", channels=["email"])
    )
    assert (decision.outcome, decision.reason) == ("none", "no_consent")


async def test_a_link_that_is_not_ours_is_not_found(api: Api) -> None:
    good = await made(api)
    other = UnsubscribeLinks("http://localhost", ["another secret of enough signs"])
    wrong = [good + "A", good[:-1], good[:-5] + "AAAAA", "http://localhost/v1/unsubscribe/x"]
    wrong.append(
        other.link(OptOut(customer_id="c-1", decision_id="", message="", channel="", purpose=""))
    )
    for url in wrong:
        for method in ("GET", "POST"):
            answer = await api.client.request(method, url)
            assert answer.status_code == 404, (url, answer.text)
            assert answer.json()["detail"] == "this link is not valid"
    page = await api.client.get(good + "A", headers={"accept": "text/html,*/*"})
    assert page.status_code == 404 and "This link is not valid" in page.text
    assert (await consents(api))["marketing"]["*"] == "granted"


async def test_guessing_is_limited_by_address_and_a_link_by_itself(api: Api) -> None:
    good = await made(api)
    for _ in range(unsubscribe._OF_WRONG_ONES.amount):
        assert (await api.client.post(good + "A")).status_code == 404
    answer = await api.client.post(good + "A")
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
    for _ in range(unsubscribe._OF_A_LINK.amount):
        assert (await api.client.post(good)).status_code == 200
    assert (await api.client.post(good)).status_code == 429
    assert (await api.client.post(link("c-2"))).status_code == 200


async def test_a_body_that_is_too_large_is_refused(api: Api) -> None:
    assert (await api.client.post(link(), content=b"x" * 9000)).status_code == 413
    assert (await api.client.post(link(), content=b"\x00" * 8000)).status_code == 200


async def test_while_the_store_is_unavailable_the_provider_is_told_to_come_back(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(api.engine.runtime.store, "read", unavailable)
    answer = await api.client.post(link(), data=ONE_CLICK)
    assert answer.status_code == 503 and "retry-after" in answer.headers


@pytest.mark.parametrize(
    ("language", "accept", "said"),
    [
        (None, "", "Unsubscribe"),
        ("zh-CN", "en", "退订"),
        (None, "de, zh;q=0.5", "退订"),
        ("de", "", "Unsubscribe"),
    ],
)
async def test_the_page_is_in_the_language_of_the_mail(
    api: Api, language: str | None, accept: str, said: str
) -> None:
    page = await api.client.get(link(language=language), headers={"accept-language": accept})
    assert f"<h1>{said}</h1>" in page.text


async def test_without_the_setting_no_link_is_valid(rules: Path) -> None:
    async with running(rules) as api:
        assert (await api.client.post(link())).status_code == 404


async def test_with_a_secret_that_is_not_set_the_server_starts_and_links_are_503(
    tmp_path: Path,
) -> None:
    path = tmp_path / "gateways.yaml"
    path.write_text(FILE % "'${UNSUBSCRIBE_SECRET_NOT_SET}'")
    app = create_app(Engine(MemoryStore()), ServerSettings(gateways=str(path)))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for answer in (
            await client.get("/v1/unsubscribe/x"),
            await client.post("/v1/unsubscribe/x"),
        ):
            assert answer.status_code == 503 and answer.headers["retry-after"] == "60"


TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)


@given(TEXT, TEXT, TEXT, TEXT, st.none() | TEXT)
def test_a_link_gives_back_what_it_was_made_of(
    customer: str, message: str, channel: str, purpose: str, language: str | None
) -> None:
    one = OptOut(
        customer_id=customer, decision_id="d", message=message, channel=channel,
        purpose=purpose, language=language,
    )  # fmt: skip
    token = LINKS.link(one).rpartition("/")[2]
    assert LINKS.read(token) == one and token.replace("-", "").replace("_", "").isalnum()
    rotated = UnsubscribeLinks("http://localhost", ["the newest secret of them all", SECRET])
    assert rotated.read(token) == one and rotated.link(one) != LINKS.link(one)


def test_links_that_were_sent_before_stay_valid() -> None:
    """Whatever the shape of a link has become: these are in mails already."""
    for customer in ("c-1", "客" * 256):
        body = msgspec.msgpack.encode([customer, "d", "news", "email", "marketing", "zh"])
        token = base64.urlsafe_b64encode(_mac(LINKS._keys[0], body) + body).rstrip(b"=").decode()
        found = LINKS.read(token)
        assert found is not None and found.customer_id == customer


async def test_a_link_with_the_longest_id_opts_out(api: Api) -> None:
    customer = "\U0001f375客" * 128
    url = await made(api, customer)
    answer = await api.client.post(url, data=ONE_CLICK)
    assert answer.status_code == 200
    assert (await consents(api, customer))["marketing"]["email"] == "denied"


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.hex()))
def test_reading_any_token_never_fails(token: str) -> None:
    assert LINKS.read(token) is None
