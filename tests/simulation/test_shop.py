"""The simulated shop: the same seed gives the same shop, and its truth can be learned."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from decision.core.calendar import zone
from decision.core.candidates import CandidateInfo
from decision.core.clock import DAY, HOUR, to_micros
from decision.core.definition import Settings
from decision.core.fields import FieldTable, Situation
from decision.scoring.loading import load_model
from decision.scoring.notes import text_of
from decision.scoring.scorers import bind, fields_read
from decision.simulation.people import CHANNELS
from decision.simulation.sample_model import make_sample_model, sample_spec
from decision.simulation.shop import DEFAULT_NOW, Shop

CANDIDATES = [
    CandidateInfo(f"{category}-{channel}", channel, category, purpose, tags, 5.0)
    for category, purpose, tags in (
        ("cart", "marketing", ("cart",)),
        ("retention", "marketing", ("coupon",)),
        ("季节", "marketing", ("gift", "coupon")),
        ("advice", "tips", ()),
        ("care", "service", ()),
    )
    for channel in ("in_app", "push", "email", "wechat")
]


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop(7, 1_500)


def test_the_bytes_of_a_shop_never_change(tmp_path: Path) -> None:
    """Pinned: on every Python, a seed means the same customers."""
    path = tmp_path / "customers.ndjson"
    Shop(7, 200).export_customers(path)
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] == "8167c27375dccff4"


def test_a_larger_shop_begins_with_the_customers_of_a_smaller_one(shop: Shop) -> None:
    assert Shop(7, 20).customers == shop.customers[:20]
    assert Shop(8, 20).customers != shop.customers[:20]


def test_customers_are_exported_as_load_reads_them(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "customers.ndjson"
    shop.export_customers(path)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 1_500 == len({line["customer_id"] for line in lines})
    for line in lines:
        assert line.keys() - {"reachable"} == {
            "customer_id",
            "attributes",
            "timezone",
            "aliases",
            "consents",
            "events",
        }
        assert len(line["attributes"]) >= 12
        assert set(line.get("reachable", [])) <= set(CHANNELS)
        assert all(
            state in ("granted", "denied")
            for p in line["consents"].values()
            for state in p.values()
        )
        times = [to_micros(datetime.fromisoformat(event["at"])) for event in line["events"]]
        assert times == sorted(times)
        assert all(DEFAULT_NOW - 90 * DAY < at < DEFAULT_NOW for at in times)
    kinds = {event["type"] for line in lines for event in line["events"]}
    assert {
        "app_open",
        "page_view",
        "cart_add",
        "purchase",
        "wechat.message",
        "wechat.scan",
    } <= kinds
    assert any("\u4e00" <= line["attributes"]["first_name"][0] <= "\u9fff" for line in lines)
    assert len({line["timezone"] for line in lines}) > 5


def test_history_ends_when_it_is_told_to() -> None:
    later = Shop(7, 30, DEFAULT_NOW + 400 * DAY)
    assert (
        max(event.at for each in later.customers for event in each.events) > DEFAULT_NOW + 390 * DAY
    )


def test_probabilities_fit_any_policy_and_stay_in_bounds(shop: Shop) -> None:
    odd = CandidateInfo("全新", "carrier-pigeon", "", "unheard-of", ("x", "y", "z"), 0.0)
    for customer in shop.customers[:100]:
        for candidate in (*CANDIDATES, odd):
            found = shop.response_probability(customer, candidate, DEFAULT_NOW)
            assert 0.001 <= found <= 0.7
            assert found == shop.response_probability(customer, candidate, DEFAULT_NOW)


def test_contacts_tire(shop: Shop) -> None:
    for customer in shop.customers[:50]:
        row = [
            shop.response_probability(customer, CANDIDATES[1], DEFAULT_NOW, recent)
            for recent in range(6)
        ]
        assert row == sorted(row, reverse=True)
    assert row[0] > row[5]


def test_a_push_at_night_annoys(shop: Shop) -> None:
    night, day = DEFAULT_NOW + 16 * HOUR, DEFAULT_NOW + 4 * HOUR  # 2 and 14 o'clock in Shanghai
    chinese = [each for each in shop.customers if each.timezone == "Asia/Shanghai"][:40]
    for customer in chinese:
        push, banner = CANDIDATES[1], CANDIDATES[0]
        by_day = shop.response_probability(customer, push, day)
        at_night = shop.response_probability(customer, push, night)
        assert at_night < by_day or by_day == 0.001
        assert shop.response_probability(customer, banner, night) == shop.response_probability(
            customer, banner, day
        )


def test_responses_come_as_often_as_their_probability_says(shop: Shop) -> None:
    expected = got = 0.0
    for place, customer in enumerate(shop.customers):
        for candidate in CANDIDATES:
            now = DEFAULT_NOW + place
            expected += shop.response_probability(customer, candidate, now)
            got += shop.respond(customer, candidate, now)
    assert got == pytest.approx(expected, rel=0.07)
    customer = shop.customers[0]
    answers = {shop.respond(customer, CANDIDATES[0], DEFAULT_NOW) for _ in range(5)}
    assert len(answers) == 1


def test_the_log_of_a_random_policy_is_read_through_the_serving_features(shop: Shop) -> None:
    features = sample_spec().features
    log = shop.log_of_random_policy(CANDIDATES, 500, features)
    assert len(log) == 500 and log.time is not None
    assert set(log.columns) <= {feature.name for feature in features}
    assert set(log.message) == {each.message for each in CANDIDATES}
    assert (log.time >= DEFAULT_NOW).all() and (log.time < DEFAULT_NOW + DAY).all()
    opens = list(log.columns["events.app_open.active_days_28d"])
    assert max(opens) > 15
    again = shop.log_of_random_policy(CANDIDATES, 500, features)
    assert again.label.tolist() == log.label.tolist() and again.columns == log.columns


def test_the_sample_model_learns_much_of_the_truth(tmp_path: Path) -> None:
    """On customers it never saw, the message it likes best truly earns far more than a random one."""
    folder = make_sample_model(CANDIDATES, tmp_path, seed=7)
    model = load_model(folder)
    assert model.engine == "compiled"
    notes = model.manifest.training.notes  # the shop knows everything of its customers
    told = [text_of(note) for note in notes]
    others = [note for note in told if not note.startswith("no row that is fitted lacks")]
    assert others == ["'message.value' is the same in all 12,800 rows that are fitted"]
    fields = FieldTable(fields_read(model))
    scorer = bind(model, CANDIDATES, fields, Settings())
    shop = Shop(7, 4_500)
    everything = np.arange(len(CANDIDATES))
    chosen = random = best = 0.0
    now = DEFAULT_NOW + 6 * HOUR
    for index in range(4_000, 4_500):  # the model was trained on the first 4,000
        customer = shop.customers[index]
        document = shop.document(index, fields.measures())
        situation = Situation(
            document,
            "outbound",
            now,
            zone(customer.timezone),
            context={"device": customer.attributes["device"]},
        )
        scores = scorer.score(everything, fields.read(situation), document, now)
        truth = [shop.response_probability(customer, each, now) for each in CANDIDATES]
        chosen += truth[int(scores.argmax())]
        random += sum(truth) / len(truth)
        best += max(truth)
    assert chosen > 2 * random
    assert chosen > 0.6 * best
