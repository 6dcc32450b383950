"""Sets of candidates or rules as bit masks: bit i of an integer stands for index i.

A set operation costs about the same for ten as for a thousand.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
Key = TypeVar("Key", bound=Hashable)


def mask_of(indices: Iterable[int]) -> int:
    """The mask of some indices.

    >>> mask_of([0, 2])
    5
    """
    mask = 0
    for index in indices:
        mask |= 1 << index
    return mask


def mask_where(flags: Iterable[bool]) -> int:
    """The mask of the indices that have a true flag."""
    return mask_of(index for index, flag in enumerate(flags) if flag)


def masks_by(keys: Iterable[Iterable[Key]]) -> dict[Key, int]:
    """Key → the mask of the indices that have it; `keys` are those of each index.

    >>> masks_by([("push",), ("email",), ("push",)])
    {'push': 5, 'email': 2}
    """
    masks: dict[Key, int] = {}
    for index, own in enumerate(keys):
        for key in own:
            masks[key] = masks.get(key, 0) | 1 << index
    return masks


def union(masks: Iterable[int]) -> int:
    """The indices that are in any of the masks."""
    found = 0
    for mask in masks:
        found |= mask
    return found


def indices(mask: int) -> list[int]:
    """The indices of a non-negative mask, ascending.

    >>> indices(5)
    [0, 2]
    """
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found


def positions(mask: int) -> Indices:
    """`indices` as an array, to pick rows by."""
    return _bits(mask_bytes(mask)).nonzero()[0]


def _bits(octets: bytes) -> NDArray[np.uint8]:
    """Each bit of a mask; with arguments by place, which numpy reads faster."""
    return np.unpackbits(np.frombuffer(octets, np.uint8), None, None, "little")


def mask_of_array(indices: Indices) -> int:
    """`mask_of` an array of indices, which are not negative.

    >>> mask_of_array(np.array([0, 2]))
    5
    """
    if not len(indices):
        return 0
    flags = np.zeros(int(indices[indices.argmax()]) + 1, dtype=np.bool_)
    flags[indices] = True
    return mask_from_bytes(np.packbits(flags, bitorder="little").tobytes())


def among(indices: Indices, mask: int) -> Indices:
    """The places of those indices, which ascend, that are in a non-negative mask.

    >>> among(np.array([0, 2, 7]), 0b10000001).tolist()
    [0, 2]
    """
    if not len(indices):
        return np.empty(0, dtype=np.intp)
    length = max(mask.bit_length(), indices.item(-1) + 1)
    return _bits(mask.to_bytes((length + 7) // 8, "little")).take(indices).nonzero()[0]


def mask_bytes(mask: int) -> bytes:
    """A non-negative mask as little-endian bytes, as short as they can be."""
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")


def mask_from_bytes(data: bytes) -> int:
    """The mask of `mask_bytes`."""
    return int.from_bytes(data, "little")
