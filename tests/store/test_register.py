"""The register: numbers once given never change."""

from __future__ import annotations

import pytest

from decision.store.register import Names, Register, RegisterClash
from tests.store.build import EMAIL, PUSH


def test_entries_are_these_exact_bytes() -> None:
    register = Register()
    assert register.names.missing(["城市"]) == ["城市".encode()]
    assert [entry.hex(" ") for entry in register.kinds.missing([PUSH])] == [
        "95 a6 63 6f 75 70 6f 6e a4 70 75 73 68 a9 6d 61 72 6b 65 74 69 6e 67 "
        "a9 72 65 74 65 6e 74 69 6f 6e 92 a4 73 61 6c 65 a3 e6 96 b0"
    ]


def test_what_is_learnt_twice_or_overlapping_is_learnt_once() -> None:
    names = Names()
    names.learn(0, [b"a", b"b"])
    names.learn(0, [b"a", b"b", b"c"])
    names.learn(1, [b"b"])
    assert names.entries == [b"a", b"b", b"c"]
    assert [names.names[number] for number in range(3)] == ["a", "b", "c"]


def test_another_entry_under_a_known_number_is_a_clash() -> None:
    names = Names()
    names.learn(0, [b"a"])
    with pytest.raises(RegisterClash, match=r"number 0 .*b'x'.*b'a'"):
        names.learn(0, [b"x"])


def test_a_kind_keeps_what_it_was() -> None:
    kinds = Register().kinds
    kinds.learn(0, kinds.missing([EMAIL, PUSH, EMAIL]))
    assert kinds.kinds == [EMAIL, PUSH]
    assert kinds.missing([PUSH, PUSH._replace(tags=())]) != []


def test_a_number_is_not_given_for_a_name_that_nobody_asked_to_encode() -> None:
    names = Names()
    assert names.numbers["new"] == "new"
    assert names.take_wanted() == ["new"]
    assert names.take_wanted() == []


def test_a_name_that_is_not_allowed_is_read_by_its_number_and_not_written_by_it() -> None:
    """Earlier versions gave numbers to every name."""
    names = Names(allowed=())
    names.learn(0, [b"anna@example.com", b"city"])
    assert names.names[0] == "anna@example.com"
    assert names.numbers["anna@example.com"] == "anna@example.com"
    assert names.take_wanted() == []
    names.allow({"city", "new"})
    assert (names.numbers["city"], names.numbers["new"]) == (1, "new")
    assert names.take_wanted() == ["new"]
    names.learn(2, [b"new"])
    assert names.numbers["new"] == 2
