"""What a customer's document keeps of journeys and moments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from decision.core.values import Value

MOST_RUNS: Final = 64
"""Of one customer, in all journeys. Beyond them none starts: it is refused, logged and counted."""

MOST_PARTIALS: Final = 64
"""Partial matches of one customer, in all moments. Beyond them the oldest are forgotten."""

MOST_STARTED: Final = 256
"""Times of last starts that are kept of one customer. Beyond them the oldest of runs with a key are
forgotten, so that the same key could start once more."""

MOST_KEPT: Final = 2_048
"""Bytes of properties that a run or a partial match keeps of its first event. What does not fit any
more, in the order of the event, is left out."""

MOST_KEPT_IN_ALL: Final = 32_768
"""Bytes of such properties of one customer, of all runs, and as many of all partial matches. Beyond
them no run starts that has any: it is refused, logged and counted. The oldest partial matches are
forgotten."""

MOST_STEPS: Final = 100
"""How many steps a run takes without a wait, with those of the runs by which it started or went on;
then it ends as `loop`."""

MOST_CHAINS: Final = 64
"""Chains of asks that are kept of one customer, see `core.journeys.chains`; the latest."""

TOO_LATE: Final = 24 * 3_600_000_000
"""Microseconds: an event that is older when it arrives starts no run and no partial match. One
that is older than a run by so much is neither its goal nor what it waits for."""


class Run(msgspec.Struct, array_like=True, omit_defaults=True):
    """One way through a journey. Times are microseconds.

    `id` is the same whoever starts it: a digest of customer, journey, key and what started it.
    `visit` counts the steps entered, so it names the stay in `step`, which began at `entered`.
    Where that is 0, it stands before `step`, and enters it when it is looked at next. `hurried`
    counts the steps entered since it last waited, with those of the runs by which it started or
    went on. `wake` is when it goes on by itself, or was to. `passed` is when the latest wait until
    a local time was over.
    `asks` is how often the step has asked in this stay.
    `event` and `about` are the type and properties of the event that started it. `chain` is the
    name of the `Chain` by which it started or went on; 0: none.
    """

    id: str
    key: str
    started: int
    step: str
    entered: int
    wake: int
    visit: int = 0
    asks: int = 0
    event: str = ""
    about: dict[str, Value] = {}
    hurried: int = 0
    passed: int = 0
    chain: int = 0


class Partial(msgspec.Struct, array_like=True, omit_defaults=True):
    """A pattern that has begun: `element` is the one that is looked for, `times` how often it came.

    `first_at` and `last_at` (microseconds) are those of the first and the latest event taken;
    `first_id` and `about` the first one's id and properties. Of events of one time, `began` and
    `took` are the places of these two in the order in which they came.
    """

    element: int
    times: int
    first_at: int
    last_at: int
    first_id: str
    about: dict[str, Value] = {}
    began: int = 0
    took: int = 0


class Chain(msgspec.Struct, array_like=True, frozen=True):
    """Asks that follow from each other: `decisions` are the tags of those that gave a message, the
    `last` one at that time in microseconds."""

    last: int
    decisions: list[int]

    @property
    def name(self) -> int:
        """What names it: its first decision."""
        return self.decisions[0]


class JourneyState(msgspec.Struct, omit_defaults=True):
    """`runs` is journey → those under way, by start; `partials` moment → those open, by start.

    `started` is journey NUL key → when the last run started, as long as `again` asks for it.
    `looked` is up to when starts by date and schedule are done; 0: never looked at.
    `armed` are the far buckets of timers in which an entry of this customer may stand, see
    `core.timers`. `held` are journeys whose runs were found due and do not go on, see `Gate`.
    `chains` are kept where reports on messages may start runs. All empty: `Document.journeys` is
    None.
    """

    runs: dict[str, list[Run]] = {}
    partials: dict[str, list[Partial]] = {}
    started: dict[str, int] = {}
    looked: int = 0
    armed: list[str] = []
    held: list[str] = []
    chains: list[Chain] = []


def kept(properties: Mapping[str, Any]) -> dict[str, Value]:
    """The properties of a first event that stay with what it began, see `MOST_KEPT`.

    >>> kept({"sku": "tea", "note": "x" * 5000, "price": 3})
    {'sku': 'tea', 'price': 3}
    """
    left = MOST_KEPT
    found: dict[str, Value] = {}
    for name, value in properties.items():
        size = len(msgspec.msgpack.encode((name, value)))
        if size <= left:
            left -= size
            found[name] = value
    return found


def size_kept(ones: Iterable[Run | Partial]) -> int:
    """Bytes of the properties that some keep."""
    return sum(len(msgspec.msgpack.encode(one.about)) for one in ones if one.about)


def has_abouts(state: JourneyState) -> bool:
    """Whether runs or partial matches keep properties, or there are chains."""
    if state.chains:
        return True
    if not (state.runs or state.partials):
        return False
    runs = any(one.about for ones in state.runs.values() for one in ones)
    return runs or any(one.about for ones in state.partials.values() for one in ones)


def without_abouts(state: JourneyState) -> JourneyState:
    """The same state without these: a decision needs none, and each would log them."""
    bare = msgspec.structs.replace
    return bare(
        state,
        runs={name: [bare(one, about={}) for one in ones] for name, ones in state.runs.items()},
        partials={
            name: [bare(one, about={}) for one in ones] for name, ones in state.partials.items()
        },
        chains=[],
    )
