"""Identifiers: what is one, and that every door takes it alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.analytics.storing import store_segments
from decision.core.errors import InputError
from decision.core.schema import Alias, CustomerUpdate, DecisionRequest, Event
from decision.engine.identity import BLANKS, clean_id
from decision.engine.loading import CustomerRow, Loading
from decision.engine.transaction import commit_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine(make_engine):
    return await make_engine()


@pytest.mark.parametrize(
    "text",
    [
        *("007", "1e5", "1.10", "true", "2026-01-02", "0", "-", "北京 1", "Zoë", "a\u00a0b"),
        *("👩\u200d👩\u200d👧", "می\u200cخواهم", "\U0001f3f4\U000e0067\U000e007f", "\ue000"),
    ],
)
def test_an_identifier_stays_letter_by_letter_without_the_blanks_around_it(text: str) -> None:
    assert clean_id("x", text) == text
    for blank in BLANKS:
        assert clean_id("x", f"{blank}{text}{blank}") == text


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "\u3000\u00a0", "null", "NULL", " null ", "undefined", "None", "NaN", "nan"),
        *("[object Object]", "a\nb", "a\n", "a\x00", "\x7f", "a\u2028b", "a\ud800", "a\u202eb"),
        *("a\u200bb", "a\ufeffb", "a\u200fb", "a\tb"),
    ],
)
def test_what_names_nobody_or_cannot_be_seen_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        clean_id("x", text)


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    try:
        found = clean_id("x", text)
    except InputError:
        return
    assert clean_id("x", found) == found


async def test_every_door_knows_a_customer_by_the_same_id(engine) -> None:
    customers = engine.customers
    await customers.update(" c-1", CustomerUpdate(aliases={"phone": "\u3000007 "}))
    await Loading(engine.runtime).put(CustomerRow(customer_id="c-1\u00a0", attributes={"a": 1}))
    await customers.set_consents("\tc-1", {"marketing": {"*": "granted"}})
    await engine.events.record([Event(type="app_open", customer_id="c-1 ")])
    await engine.events.record([Event(type="app_open", alias=Alias("phone", " 007"))])
    for named in ({"customer_id": " c-1"}, {"alias": Alias("phone ", "007\u00a0")}):
        answer = await engine.decide(DecisionRequest(placement="outbound", dry_run=True, **named))
        assert (answer.customer_id, answer.outcome) == ("c-1", "selected")
    found = await customers.get("c-1\u3000")
    assert (found.attributes, found.aliases) == ({"a": 1}, {"phone": ["007"]})
    assert found.events["app_open"].count == 2
    assert await customers.erase(" c-1 ") == ["c-1"]


@pytest.mark.parametrize("word", ["null", "undefined", "NaN", "[object Object]", " "])
async def test_every_door_refuses_a_word_for_nothing(engine, word: str) -> None:
    customers, loading = engine.customers, Loading(engine.runtime)
    alias, update = Alias("email", word), CustomerUpdate(aliases={"email": word})
    for call in (
        lambda: customers.update(word, CustomerUpdate()),
        lambda: customers.update("c-1", update),
        lambda: customers.set_consents(word, {}),
        lambda: customers.merge(word, "c-2"),
        lambda: loading.put(CustomerRow(customer_id=word)),
        lambda: loading.put(CustomerRow(customer_id="c-1", aliases={"email": word})),
        lambda: engine.decide(DecisionRequest(placement="outbound", customer_id=word)),
        lambda: engine.decide(DecisionRequest(placement="outbound", alias=alias)),
        lambda: engine.decide(
            DecisionRequest(placement="outbound", customer_id="c-1", request_id=word)
        ),
    ):
        with pytest.raises(InputError):
            await call()
    answer = await engine.events.record(
        [
            Event(type="x", customer_id=word),
            Event(type="x", alias=alias),
            Event(type="x", customer_id="c-1", id=word),
        ]
    )
    assert len(answer.rejected) == 3


@pytest.mark.parametrize("stored", ["null", " c-1", "c-1\u00a0"])
async def test_what_an_earlier_version_stored_can_be_erased(engine, stored: str) -> None:
    store = engine.runtime.store
    await _stored(engine, stored)
    assert stored in await engine.customers.erase(stored)
    assert not (await store.read(stored)).document.exists


async def test_what_an_earlier_version_stored_with_blanks_can_be_merged(engine) -> None:
    await _stored(engine, " c-1")
    await engine.customers.update("c-1", CustomerUpdate(attributes={"a": 1}))
    merged = await engine.customers.merge("c-1", " c-1")
    assert (merged.merged, merged.attributes) == ([" c-1"], {"a": 1, "old": True})


async def _stored(engine, customer_id: str) -> None:
    """Stores a customer as a version did that took ids as they came."""
    found = await engine.runtime.store.read(customer_id)
    found.document.attributes = {"old": True}
    write_id = engine.runtime.new_id(customer_id)
    await engine.runtime.store.commit(commit_of(found, write_id, ("profile",)))


@pytest.mark.parametrize("lowercase", [False, True])
async def test_addresses_are_compared_in_lower_case_at_every_door_where_that_is_set(
    make_engine, lowercase: bool
) -> None:
    engine = await make_engine(lowercase_emails=lowercase)
    row = CustomerRow(customer_id="c-1", aliases={"email": "Ann@X.example ", "device": "Ab"})
    await Loading(engine.runtime).put(row)
    await engine.customers.update("c-2", CustomerUpdate(aliases={"email": "BEN@x.example"}))

    async def who(kind: str, value: str) -> str:
        request = DecisionRequest(placement="outbound", alias=Alias(kind, value), dry_run=True)
        return (await engine.decide(request)).customer_id

    assert await who("device", "Ab") == "c-1"
    assert await who("device", "ab") == "device:ab"
    assert (await who("email", " aNN@x.example") == "c-1") is lowercase
    assert (await who("email", "ben@X.example") == "c-2") is lowercase
    await engine.events.record([Event(type="app_open", alias=Alias("email", "ANN@x.example"))])
    found = (await engine.customers.get("c-1")).events
    assert ("app_open" in found) is lowercase


async def test_segments_of_an_id_that_is_refused_by_now_are_left_out(engine) -> None:
    class Found:
        def attributes(self):
            return iter([("null", {"rfm": 1}), (" c-1", {"rfm": 2})])

    await engine.customers.update("c-1", CustomerUpdate(attributes={"a": 1}))
    assert await store_segments(engine, Found()) == (1, 1)
