"""Decision ids say their time and partition, and the rest of them is random."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from decision.core.identifiers import decision_id, fresh_decision_id, parse_decision_id

MILLIS = st.integers(0, (1 << 48) - 1)
PARTITIONS = st.integers(0, 255)


@given(MILLIS, PARTITIONS, st.binary(min_size=15, max_size=15))
def test_a_fresh_id_is_that_of_its_time_its_partition_and_72_random_bits(
    millis: int, partition: int, randomness: bytes
) -> None:
    """What is read from it gives the same id by the plain definition."""
    fresh = fresh_decision_id(millis, partition, randomness)
    read = parse_decision_id(fresh)
    assert read[:2] == (millis, partition)
    assert decision_id(*read) == fresh


def test_every_random_letter_is_equally_likely() -> None:
    """Of the 256 values of a byte, each of the 32 letters has 8; of the first, 2 bits are used."""
    for place in range(1, 15):
        made = (
            fresh_decision_id(7, 3, bytes(place) + bytes([byte]) + bytes(14 - place))
            for byte in range(256)
        )
        counted = Counter(one[11 + place] for one in made)
        assert set(counted.values()) == {8}
        assert len(counted) == 32
