"""Slots of a cluster: which one a command is about, and which node has it.

https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from decision.core.identifiers import PARTITIONS
from decision.store.pipelined_connection import Argument, Command

SLOTS: Final = 16_384

Place = tuple[str, int]
"""Host and port of a node."""

_KEY_AT: Final[dict[Argument, int]] = {
    "EVALSHA": 3,
    "EVAL": 3,
    "XINFO": 2,
    "XGROUP": 2,
    "MEMORY": 2,
}
"""Where a command has its first key, if not at 1."""

_KEYLESS: Final = frozenset(
    {"TIME", "INFO", "SCAN", "PING", "ECHO", "ROLE", "CLIENT", "SCRIPT", "CONFIG", "CLUSTER"}
    | {"BGREWRITEAOF", "WAIT", "SELECT"}
)


class _Slots(dict[str, int]):
    """Slot by hash tag; there are a few hundred of them."""

    def __missing__(self, tag: str) -> int:
        self[tag] = slot = crc_hqx(tag.encode(), 0) % SLOTS
        return slot


_slots: Final = _Slots()


def slot_of_key(key: str) -> int:
    """The slot of a key, by what is in its first braces.

    >>> slot_of_key("nb:{p0}:log"), slot_of_key("shop:{p0}:c:ann")
    (2937, 2937)
    """
    begin = key.find("{") + 1
    end = key.find("}", begin)
    if begin and end > begin:
        return _slots[key[begin:end]]
    return crc_hqx(key.encode(), 0) % SLOTS


HOME: Final = slot_of_key("{health}")
"""The slot whose node is asked for what is about no key, such as the time."""


def slot_of(command: Command) -> int:
    """The slot of a command; its other keys, if it has some, are of the same one.

    >>> slot_of(("EVALSHA", "d1", 1, "nb:{p0}:log")), slot_of(("TIME",)) == HOME
    (2937, True)
    """
    name = command[0]
    if name in _KEYLESS:
        return HOME
    key = command[_KEY_AT.get(name, 1)]
    return slot_of_key(key.decode("latin-1") if isinstance(key, bytes) else str(key))


class View(NamedTuple):
    """What a node knows of its cluster: slots (first, last) with the place of their primary.

    `ids` are those of all nodes that are named. Of two views the one with the later `epoch` counts.
    """

    epoch: int
    ranges: list[tuple[int, int, Place]]
    ids: frozenset[bytes]


def view_of(slots: Sequence[Any], info: bytes, asked: Place) -> View:
    """The replies to `CLUSTER SLOTS` and `CLUSTER INFO` of the node at a place.

    A node whose own host is not known to it is where it was asked.
    """
    ranges, ids = [], set[bytes]()
    for first, last, primary, *replicas in slots:
        host = (primary[0] or b"").decode()
        ranges.append((first, last, (host if host not in ("", "?") else asked[0], primary[1])))
        ids.update(node[2] for node in (primary, *replicas) if len(node) > 2)
    epoch = 0
    for line in info.decode().splitlines():
        if line.startswith("cluster_current_epoch:"):
            epoch = int(line.partition(":")[2])
    return View(epoch, ranges, frozenset(ids))


def place_in(error: str, asked: Place) -> Place:
    """Where `MOVED` or `ASK` of the node at a place leads to.

    >>> place_in("MOVED 7 10.0.0.9:7001", ("10.0.0.8", 7000))
    ('10.0.0.9', 7001)
    >>> place_in("ASK 7 :7001", ("10.0.0.8", 7000))
    ('10.0.0.8', 7001)
    """
    host, _, port = error.split()[2].rpartition(":")
    return (host if host not in ("", "?") else asked[0]), int(port)


def uncovered(view: View) -> list[str]:
    """The slots that no node has, as `5-10` or `7`.

    >>> uncovered(View(1, [(0, 4, ("a", 1)), (6, 16_000, ("b", 1))], frozenset()))
    ['5', '16001-16383']
    """
    found, following = [], 0
    for first, last in _in_order(view.ranges):
        if first > following:
            found.append(_named(following, first - 1))
        following = max(following, last + 1)
    if following < SLOTS:
        found.append(_named(following, SLOTS - 1))
    return found


def even_ranges(nodes: int) -> list[tuple[int, int]]:
    """Slots (first, last) for each of so many nodes, with as many of our partitions as the others.

    >>> even_ranges(3)
    [(0, 5685), (5686, 10837), (10838, 16383)]
    """
    own = sorted(slot_of_key(f"{{p{number}}}") for number in range(PARTITIONS))
    begins = [0, *(own[PARTITIONS * node // nodes] for node in range(1, nodes)), SLOTS]
    return [(first, after - 1) for first, after in pairwise(begins)]


def _in_order(ranges: Iterable[tuple[int, int, Place]]) -> Iterator[tuple[int, int]]:
    return iter(sorted((first, last) for first, last, _ in ranges))


def _named(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
