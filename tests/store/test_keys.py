"""The key format is a contract: these strings must never change."""

from __future__ import annotations

import pytest

from decision.core.identifiers import decision_id
from decision.store.keys import Keys, event_digest


def test_a_customers_keys_are_these_exact_strings() -> None:
    assert [*Keys().customer("c-1024")] == [
        "nb:{p114}:c:c-1024",
        "nb:{p114}:log",
        "nb:{p114}:r:c-1024",
        "nb:{p114}:e:c-1024",
    ]
    assert Keys().erased("c-1024", "p-1-2") == "nb:{p114}:x:p-1-2"


def test_the_other_keys_are_these_exact_strings() -> None:
    keys = Keys("shop:")
    assert keys.outbox("c-1024") == "shop:{p114}:o:c-1024"
    assert keys.due(114, "email") == "shop:{p114}:due:email"
    assert keys.held(114) == "shop:{p114}:held"
    assert keys.timers(114) == ("shop:{p114}:wake", "shop:{p114}:fars", "shop:{p114}:runs")
    assert keys.far(114, "d20780", "c-") == "shop:{p114}:far:d20780:c-"
    assert keys.provider_ids("c-1024") == "shop:{p114}:m:c-1024"
    assert keys.provider_id("texts", "SM12") == "shop:{p199}:i:texts:SM12"
    assert keys.slots("sms") == "shop:{outbound}:slots:sms"
    assert keys.outcomes("sms") == "shop:{outbound}:outcomes:sms"
    assert keys.fresh == "shop:{outbound}:fresh"
    assert keys.paused == "shop:{outbound}:paused"
    assert keys.log(0) == "shop:{p0}:log"
    assert keys.alias("email", "li@mail.cn") == "shop:{p179}:a:email:li@mail.cn"
    assert keys.budget("coupon:2026-11-21") == "shop:{budget}:n:coupon:2026-11-21"
    assert keys.budget_leases == "shop:{budget}:leases"
    assert keys.given("6f1a") == "shop:{budget}:given:6f1a"
    assert keys.token(decision_id(0, 17, 0)) == f"shop:{{p17}}:t:{decision_id(0, 17, 0)}"
    assert keys.leases(17) == "shop:{p17}:leases"
    assert keys.budget_ends(17) == "shop:{p17}:ends"
    assert keys.pool("spring-10") == "shop:{coupon:spring-10}:"
    assert keys.pools == "shop:{coupons}:pools"
    assert keys.names == "shop:{register}:names"
    assert keys.kinds == "shop:{register}:kinds"
    assert keys.blob("policy/1") == "shop:{blob}:policy/1"
    assert keys.health("mark") == "shop:{health}:mark"
    assert keys.history("published") == "shop:{history}:published"
    assert keys.drafts == "shop:{history}-drafts"
    assert keys.draft_texts("d-1") == "shop:{history}-draft:d-1"
    assert keys.turn("sweep") == "shop:{turn}:sweep"
    assert keys.shares("archive") == "shop:{turn}-shares:archive"
    assert keys.session("ab12") == "shop:{session}:ab12"


def test_an_event_id_is_remembered_by_these_exact_bytes() -> None:
    assert event_digest("e1").hex() == "afdd4403c41069df839dbe2249f98aee"


def test_no_two_aliases_share_a_key() -> None:
    keys = Keys()
    pairs = [("a:b", "c"), ("a", "b:c"), ("a%3Ab", "c"), ("a%", "b"), ("a", "%b")]
    assert len({keys.alias(*pair) for pair in pairs}) == len(pairs)


def test_a_brace_in_an_id_does_not_move_a_customer_to_another_slot() -> None:
    key = Keys().customer("{x}").document
    assert key[key.index("{") + 1 : key.index("}")].startswith("p")


def test_a_prefix_with_a_brace_is_refused() -> None:
    with pytest.raises(ValueError, match="brace"):
        Keys("a{b}:")
