"""The description says which fields an answer always has."""

from __future__ import annotations

import msgspec

from decision.api.answer_fields import always_sent


class Inner(msgspec.Struct):
    a: int
    b: str | None = None
    c: list[int] = []
    d: int | msgspec.UnsetType = msgspec.UNSET


class Answer(msgspec.Struct, omit_defaults=True):
    rows: dict[str, list[Inner | None]]
    self: Answer | None = None


class Asked(msgspec.Struct):
    a: int = 1


def test_a_default_is_sent_unless_it_is_left_out_or_unset() -> None:
    assert always_sent([], [Answer]) == {"Inner": ["a", "b", "c"]}


def test_what_is_part_of_a_request_stays_as_it_is() -> None:
    assert always_sent([Asked], [Asked, list[Inner]]) == {"Inner": ["a", "b", "c"]}
