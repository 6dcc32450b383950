"""Which slot a command is about, and what nodes say of their slots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from decision.core.identifiers import PARTITIONS
from decision.store.cluster.slots import SLOTS, even_ranges, slot_of_key, uncovered, view_of
from decision.store.keys import Keys

PARTS = st.text(st.sampled_from("ab{}:新\0"), max_size=6)


@given(PARTS, PARTS, PARTS)
def test_a_key_has_the_slot_that_redis_py_gives_it(a: str, b: str, c: str) -> None:
    for key in (a + b + c, f"{a}{{{b}}}{c}"):
        assert slot_of_key(key) == key_slot(key.encode())


def test_our_partitions_are_as_many_slots() -> None:
    keys = Keys()
    slots = {slot_of_key(keys.log(number)) for number in range(PARTITIONS)}
    assert len(slots) == PARTITIONS
    thirds = [sum(slot * 3 // SLOTS == third for slot in slots) for third in range(3)]
    assert thirds == [83, 89, 84]  # as docs/operating.md says


@pytest.mark.parametrize("nodes", [1, 3, 10, 256])
def test_slots_can_be_given_so_that_partitions_are_spread_evenly(nodes: int) -> None:
    keys = Keys()
    slots = [slot_of_key(keys.log(number)) for number in range(PARTITIONS)]
    ranges = even_ranges(nodes)
    assert [first for first, _ in ranges[1:]] == [last + 1 for _, last in ranges[:-1]]
    assert ranges[0][0] == 0 and ranges[-1][1] == SLOTS - 1
    counts = [sum(first <= slot <= last for slot in slots) for first, last in ranges]
    assert max(counts) - min(counts) <= 1


def test_slots_that_no_node_has_are_named() -> None:
    reply = [[0, 5, [b"a", 1, b"x", []]], [7, 16_383, [None, 2, b"y", []], [b"c", 3, b"z", []]]]
    view = view_of(reply, b"cluster_state:ok\r\ncluster_current_epoch:12\r\n", ("own", 9))
    assert view.epoch == 12 and view.ids == {b"x", b"y", b"z"}
    assert view.ranges[1][2] == ("own", 2)
    assert uncovered(view) == ["6"]
