"""What is remembered of the last event of a type is of one event, in any order of arrival."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from decision.archive.histories import AppliedEvent, fold
from decision.core import event_effects
from decision.core.clock import SECOND, from_micros
from decision.core.definition import DerivedEvent
from decision.core.document import Document, EventHistory
from decision.core.event_effects import Occurrence
from decision.core.events import Measure, merge_histories, record
from decision.core.identifiers import rank_of
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.store.codec import decode_or_refuse, pack_document
from decision.store.register import Register
from tests.core.small import NOON, customer, definition

FIELDS = [
    "events.cart.last_name",
    "events.cart.last_sku",
    "events.line.last_name",
    "events.line.last_sku",
]
NAMES = ("name", "sku")


def policy() -> Policy:
    lines = DerivedEvent(name="line", of="cart", each="items")
    return compile_policy(msgspec.structs.replace(definition(), events=(lines,)), reads=FIELDS)


POLICY = policy()
properties = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["tea", "cup", None]),
        "sku": st.sampled_from(["A1", "B2", 3, None]),
        "items": st.lists(
            st.fixed_dictionaries({}, optional={"name": st.just("pot"), "sku": st.integers(0, 2)}),
            max_size=3,
        ),
    },
)
carts = st.lists(st.tuples(st.integers(0, 3), properties), min_size=1, max_size=4)


def occurrences(given: list[tuple[int, dict[str, Any]]]) -> list[Occurrence]:
    return [
        Occurrence(id=f"e-{index}", type="cart", at=NOON - before * SECOND, properties=what)
        for index, (before, what) in enumerate(given)
    ]


def kept(happened: list[Occurrence], document: Document | None = None) -> Document:
    document = customer(events={}) if document is None else document
    for one in happened:
        event_effects.apply(document, one, POLICY, POLICY.measures(), NOON)
    return document


def last(document: Document) -> dict[str, dict[str, Any]]:
    return {kind: history.last for kind, history in document.events.items()}


def expected(happened: list[Occurrence]) -> dict[str, dict[str, Any]]:
    """The oracle: the latest event and its last line, looked for among all of them."""
    found: dict[str, dict[str, Any]] = {}
    ordered = sorted(happened, key=lambda one: (one.at, rank_of(one.id)))
    for one in ordered:
        found["cart"] = one.properties
        for line in one.properties.get("items", ()):
            found["line"] = {**one.properties, **line}
    return {
        kind: {name: what[name] for name in NAMES if what.get(name) is not None}
        for kind, what in found.items()
    }


@given(carts)
def test_all_that_is_remembered_is_of_the_latest_event_whatever_arrived_first(
    given: list[tuple[int, dict[str, Any]]],
) -> None:
    """Also of its last line, and of events at the same time of one of them."""
    happened = occurrences(given)
    for order in permutations(happened):
        assert last(kept(list(order))) == expected(happened)


@given(carts, carts)
def test_merged_customers_remember_what_one_with_all_events_would(
    own: list[tuple[int, dict[str, Any]]], others: list[tuple[int, dict[str, Any]]]
) -> None:
    """Whichever of the two is kept, and also where the document was stored in between."""
    happened = occurrences([*own, *others])
    parts = happened[: len(own)], happened[len(own) :]
    for first, second in (parts, parts[::-1]):
        into, other = stored(kept(first)), stored(kept(second))
        for kind in {*into.events, *other.events}:
            merge_histories(
                into.events.setdefault(kind, EventHistory(last={}, buckets=[], days=[])),
                other.events.get(kind, EventHistory(last={}, buckets=[], days=[])),
            )
        assert last(into) == expected(happened)


@given(carts)
def test_a_rebuilt_history_remembers_what_the_kept_one_does(
    given: list[tuple[int, dict[str, Any]]],
) -> None:
    happened = occurrences(given)
    rows = [
        AppliedEvent((index, 0), "c", one.type, one.at, NOON, one.properties, one.id)
        for index, one in enumerate(reversed(happened))
    ]
    rebuilt = fold(rows, POLICY.measures(), POLICY, POLICY.zone)
    assert last(rebuilt) == expected(happened)


def stored(document: Document) -> Document:
    """The document as it is read again."""
    return decode_or_refuse("c", pack_document(document, Register()), Register())[0]


def test_a_document_of_before_remembers_what_it_did_until_the_next_event() -> None:
    """It has no rank: an event at the same time is the later one."""
    zone, measure = from_micros(0).tzinfo, Measure(last=NAMES)
    history = EventHistory(total=2, last_at=NOON, last={"name": "tea", "sku": "B2"})
    assert zone is not None
    record(history, measure, NOON - 1, {"name": "cup"}, NOON, zone, 9)
    assert history.last == {"name": "tea", "sku": "B2"}
    record(history, measure, NOON, {"name": "cup"}, NOON, zone, 9)
    assert history.last == {"name": "cup"}
