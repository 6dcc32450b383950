"""What a decision's record keeps of the candidates that were scored.

As bytes of the log, a candidate's response probability (and its uplift) is exact, because deciding
again starts from them. Priority and selection probability follow from those, so deciding again
gives them exactly, and float32 is enough for whoever reads the log and does not decide again.
Selection probabilities keep their sum exactly, because the chance of silence is what it leaves of
one: the largest has the rest. Which candidates these are is a bit mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from struct import Struct
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from decision.core.arbitration import Floats, Scores
from decision.core.masks import mask_bytes, mask_of_array

_SUM: Final = Struct("<d")
_PLACES: Final = np.dtype("<u2")
_SHORT: Final = np.dtype("<f4")
_LONG: Final = np.dtype("<f8")
_EACH: Final = 8 + 4 + 4
"""Bytes of a candidate, without its uplift."""
_WIDEST: Final = 1 << 13
"""The most bytes of a mask: indices have 16 bits."""


class LoggedScores(msgspec.Struct, array_like=True, frozen=True):
    """The survivors, packed: candidate indices as little-endian u16, which ascend, the figures as
    float64.

    `uplift` is empty unless a model said it.
    """

    candidates: bytes = b""
    probability: bytes = b""
    priority: bytes = b""
    selection: bytes = b""
    uplift: bytes = b""


_NOTHING: Final = LoggedScores()


class JoinedScores(NamedTuple):
    """The survivors of many decisions, one decision after another, as arrays.

    `decision` is the number of a survivor's decision among them, `candidate` its index; `uplift` is
    NaN where no model said it.
    """

    decision: Any
    candidate: Any
    probability: Any
    priority: Any
    selection: Any
    uplift: Any


def short_scores(scores: LoggedScores) -> tuple[bytes, bytes]:
    """The mask of the candidates, and their figures, as the log keeps them.

    >>> every = [np.array([0.25]).tobytes()] * 3
    >>> [len(part) for part in short_scores(LoggedScores(b"\\x05\\x00", *every))]
    [1, 24]
    """
    if not scores.candidates:
        return b"", b""
    return _shorten(
        mask_of_array(np.frombuffer(scores.candidates, _PLACES)),
        np.frombuffer(scores.probability),
        np.frombuffer(scores.priority),
        np.frombuffer(scores.selection),
        np.frombuffer(scores.uplift) if scores.uplift else None,
    )


def shorten(scores: Scores) -> tuple[bytes, bytes]:
    """The same of scores that are not packed yet."""
    if not scores.mask:
        return b"", b""
    figures = scores.probability, scores.priority, scores.selection, scores.uplift
    return _shorten(scores.mask, *figures)


def _shorten(
    mask: int,
    probability: Floats,
    priority: Floats,
    selection: Floats,
    uplift: Floats | None,
) -> tuple[bytes, bytes]:
    parts = (
        probability.tobytes(),
        b"" if uplift is None else uplift.tobytes(),
        priority.astype(_SHORT).tobytes(),
        selection.astype(_SHORT).tobytes(),
        _SUM.pack(fsum(selection.tolist())),
    )
    return mask_bytes(mask), b"".join(parts)


def long_scores(mask: bytes, figures: bytes) -> LoggedScores:
    """The scores of `short_scores`, of which it made these parts.

    Raises:
        MsgspecError: they do not fit together.
    """
    if not mask and not figures:
        return _NOTHING
    flags = np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")
    candidates = flags.nonzero()[0]
    number, size = len(candidates), len(figures) - _SUM.size
    if not number or size not in (number * _EACH, number * (_EACH + 8)):
        raise msgspec.ValidationError(f"{len(figures)} bytes are no figures of {number} candidates")
    exact = size - 8 * number
    with np.errstate(invalid="ignore"):  # of damaged bytes, which may be any NaN
        wide = np.frombuffer(figures, _SHORT, 2 * number, exact).astype(_LONG)
    priority, selection = wide[:number], wide[number:]
    largest = int(selection.argmax())
    (total,) = _SUM.unpack_from(figures, size)
    selection[largest] = 0.0
    selection[largest] = total - selection.sum()
    return LoggedScores(
        candidates.astype(_PLACES).tobytes(),
        figures[: 8 * number],
        priority.tobytes(),
        selection.tobytes(),
        figures[8 * number : exact],
    )


def join_scores(masks: Sequence[bytes], figures: Sequence[bytes]) -> JoinedScores:
    """The scores of many decisions at once, to the bit those that `long_scores` gives of each.

    Raises:
        MsgspecError: those of a decision do not fit together.
    """
    widest = max(map(len, masks), default=0)
    if widest > _WIDEST:  # of a damaged one, all others would take as much room
        raise msgspec.ValidationError(f"a mask of {widest} bytes is of too many candidates")
    decision, candidate = unpack_masks(masks, 8 * widest).nonzero()
    counts = np.bincount(decision, minlength=len(masks))
    sizes = np.fromiter(map(len, figures), np.int64, len(figures))
    first = np.cumsum(counts) - counts
    found = np.full((4, len(decision)), np.nan)
    for number, size in set(zip(counts.tolist(), sizes.tolist(), strict=True)) - {(0, 0)}:
        alike = np.flatnonzero((counts == number) & (sizes == size))
        exact = size - _SUM.size - 8 * number
        if not number or exact not in (8 * number, 16 * number):
            raise msgspec.ValidationError(f"{size} bytes are no figures of {number} candidates")
        raw = np.frombuffer(b"".join([figures[place] for place in alike.tolist()]), np.uint8)
        rows = raw.reshape(len(alike), size)
        places = first[alike, np.newaxis] + np.arange(number)
        long = rows[:, :exact].view(_LONG)
        with np.errstate(invalid="ignore"):  # of damaged bytes, which may be any NaN
            short = rows[:, exact : -_SUM.size].view(_SHORT).astype(_LONG)
        selection, each = short[:, number:], np.arange(len(alike))
        largest = selection.argmax(axis=1)
        selection[each, largest] = 0.0
        selection[each, largest] = rows[:, -_SUM.size :].view(_LONG)[:, 0] - selection.sum(axis=1)
        found[0, places] = long[:, :number]
        found[1, places] = short[:, :number]
        found[2, places] = selection
        if exact > 8 * number:
            found[3, places] = long[:, number:]
    return JoinedScores(decision, candidate, *found)


def unpack_masks(masks: Sequence[bytes], width: int) -> Any:
    """The first `width` bits of each mask: an array of booleans, with a row per mask."""
    length = max(1, (width + 7) // 8)
    packed = np.array(masks, f"S{length}").view(np.uint8).reshape(len(masks), length)
    return np.unpackbits(packed, axis=1, count=width, bitorder="little").view(np.bool_)


def unpack_uplift(logged: LoggedScores) -> dict[int, float]:
    """Candidate → what it adds over silence; empty where no model said it."""
    if not logged.uplift:
        return {}
    places = np.frombuffer(logged.candidates, "<u2").tolist()
    return dict(zip(places, np.frombuffer(logged.uplift).tolist(), strict=True))


def unpack_scores(logged: LoggedScores) -> list[tuple[int, float, float, float]]:
    """(candidate, response probability, priority, selection probability) of each survivor."""
    return list(
        zip(
            np.frombuffer(logged.candidates, "<u2").tolist(),
            np.frombuffer(logged.probability).tolist(),
            np.frombuffer(logged.priority).tolist(),
            np.frombuffer(logged.selection).tolist(),
            strict=True,
        )
    )
