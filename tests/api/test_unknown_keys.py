"""A key that a body cannot have is answered with the key that was meant, or where it goes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from decision.core.errors import InputError
from decision.core.schema import CustomerUpdate, DecisionRequest, Event
from decision.decoding.json import JsonDecoder

EVENT = {"type": "purchase", "customer_id": "c-1"}
REQUEST = {"placement": "home", "customer_id": "c-1"}


def refused(kind: type[Any], body: dict[str, Any]) -> str:
    with pytest.raises(InputError) as error:
        JsonDecoder(kind).decode(msgspec.json.encode(body))
    return str(error.value)


@pytest.mark.parametrize("word", ["amount", "rate", "cat", "data", "date", "state", "matter"])
def test_a_word_of_the_caller_is_not_taken_for_a_short_key(word: str) -> None:
    said = refused(Event, {**EVENT, word: 1})
    assert "did you mean" not in said
    assert said.endswith("; a value of your own goes into properties")


@pytest.mark.parametrize(
    ("word", "key"),
    [("ats", "at"), ("At", "at"), ("ID", "id"), ("typ", "type"), ("Value", "value")],
)
def test_a_slip_is_taken_for_the_key(word: str, key: str) -> None:
    said = refused(Event, {**EVENT, word: 1})
    assert said.endswith(f'; did you mean "{key}"?')


def test_each_body_says_where_values_of_the_caller_go() -> None:
    assert refused(DecisionRequest, {**REQUEST, "basket": 1}).endswith("goes into context")
    nested = refused(DecisionRequest, {**REQUEST, "event": {"type": "x", "basket": 1}})
    assert nested.startswith("event.basket:") and nested.endswith("goes into properties")
    assert refused(CustomerUpdate, {"basket": 1}).endswith("goes into attributes")
