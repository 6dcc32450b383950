"""How long a log without an archive reaches back is told as well of a new log as of a full one."""

from __future__ import annotations

import doctest

import pytest

from decision.server.health import log_watch
from decision.server.health.log_watch import entry_size


def test_every_example_gives_what_it_shows() -> None:
    assert doctest.testmod(log_watch).failed == 0


@pytest.mark.parametrize("entries", [0, 1, 2, 20, 1_000])
def test_the_room_that_new_partitions_take_is_not_the_size_of_an_entry(entries: int) -> None:
    """Redis gives the first entry of a stream the room of many: 4,736 bytes for two."""
    assert entry_size(min(entries, 256) * 4_736, entries) == entry_size(0, 0)


def test_the_size_of_large_entries_is_seen_once_there_are_many() -> None:
    assert entry_size(256 * 2_000_000, 256 * 1_000) == 2_000
