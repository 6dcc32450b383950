"""What every store must do: tell all that it keeps of a customer beside the document."""

from __future__ import annotations

import pytest

from decision.core.coupons import WantedCode
from decision.core.identifiers import decision_id, decision_tag, partition_of
from decision.core.looking import Kept
from decision.core.ports import Store
from decision.core.provider_ids import DeliveredTo
from tests.store.build import commit_of

pytestmark = pytest.mark.anyio

LASTS = 10**12


async def test_answers_event_ids_and_provider_ids_are_told(store: Store) -> None:
    assert await store.kept_of("c-1") == Kept()
    found = await store.read("c-1")
    found.document.attributes = {"a": 1}
    commit = commit_of(
        found, "profile", request_id="r-1", answer=b'{"x":1}', answer_lasts=LASTS,
        event_ids=["e-1", "e-2"], event_ids_last=LASTS,
    )  # fmt: skip
    await store.commit(commit)
    await store.claim_answer("c-1", "r-1", commit.id, "other")
    to = DeliveredTo(customer_id="c-1", decision_id="d", message="m", channel="email")
    assert await store.note_provider_id("mail", "id\x00with: all", to)
    kept = await store.kept_of("c-1")
    assert (kept.answers, kept.event_ids) == ({"r-1": b'{"x":1}'}, 2)
    assert kept.provider_ids == [("mail", "id\x00with: all")]
    assert await store.kept_of("c-2") == Kept()


async def test_the_codes_of_a_customer_s_decisions_are_told_and_no_others(store: Store) -> None:
    mine, other = decision_id(1, partition_of("c-1"), 1), decision_id(1, 0, 2)
    assert partition_of("c-1") != 0
    await store.add_codes("spring", ["A 1", "B", "C"])
    for token, *names in ((mine, "m", "n"), (other, "m")):
        wanted = [WantedCode(name, None, None, 0) for name in names]
        await store.take_codes("spring", wanted, token, now=0, lasts=LASTS)
    tags = [decision_tag(mine), decision_tag(other)]
    found = await store.codes_of("spring", tags, [partition_of("c-1")])
    assert sorted(found) == [f"{mine}/m", f"{mine}/n"]
    assert set(found.values()) < {"A 1", "B", "C"}
    assert await store.codes_of("summer", tags, [partition_of("c-1")]) == {}
