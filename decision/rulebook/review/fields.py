"""The values that each field can have, for any customer at any moment."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from decision.core.bucketing import BUCKETS
from decision.core.definition import Experiment, Score
from decision.core.fields import STATE_FIELD, WEEKDAYS, UnknownField, parse_field
from decision.core.policy import variant_at
from decision.core.values import Value
from decision.rulebook.review.domains import ABSENT, ANYTHING, FALSE, OTHER, TRUE, Domain
from decision.rulebook.review.intervals import EVERYTHING, Intervals, ordered, points

_COUNTS: Final[Intervals] = ordered("gte", 0)
_HOURS: Final = Domain(numbers=points(range(24)), whole=True)
_WEEKDAYS: Final = Domain(texts=points(WEEKDAYS))
_DATES: Final = Domain(texts=((((1, "0001-01-01", 0)), ((1, "9999-12-31", 1))),))
_ACTIVE: Final = re.compile(r"active_days_([0-9]+)d")


class FieldDomains:
    """The values that each field of one policy can have.

    `customer.state` is one of `states`, or missing if `leftover` is true. `experiments` are those
    with variants; `together` is the field of one that shares its seed with others → the fields of
    all of them, each with variant → mask of the buckets of customers that have it.
    """

    def __init__(
        self,
        placements: Iterable[str] = (),
        states: Iterable[str] = (),
        leftover: bool = True,
        experiments: Iterable[Experiment] = (),
        scores: Iterable[Score] = (),
    ) -> None:
        self._known: dict[str, Domain] = {
            "placement": Domain(texts=points(placements)),
            STATE_FIELD: Domain(ABSENT if leftover else 0, texts=points(states)),
            "time.hour": _HOURS,
            "time.weekday": _WEEKDAYS,
            "time.date": _DATES,
            "event.type": Domain(ABSENT, texts=EVERYTHING),
        }
        for score in scores:
            rises = all(not isinstance(one, str) and one >= 0 for one in score.adds.values())
            numbers = _COUNTS if rises else EVERYTHING
            self._known[f"score.{score.name}"] = Domain(numbers=numbers)
        self.together: dict[str, dict[str, dict[Value, int]]] = {}
        by_seed: defaultdict[str, list[Experiment]] = defaultdict(list)
        for one in experiments:
            self._known[f"experiment.{one.name}"] = Domain(texts=points(one.variants))
            by_seed[one.seed].append(one)
        for sharing in by_seed.values():
            if len(sharing) > 1:
                group = {f"experiment.{one.name}": buckets_of(one) for one in sharing}
                self.together |= dict.fromkeys(group, group)

    def domain(self, field: str) -> Domain:
        """The values that the field can have."""
        found = self._known.get(field)
        if found is None:
            found = self._known[field] = _of_family(field)
        return found


def buckets_of(experiment: Experiment) -> dict[Value, int]:
    """Variant → mask of the buckets of customers that have it."""
    masks: dict[Value, int] = {}
    begin = 0
    while begin < BUCKETS:
        name, end = variant_at(experiment, begin / BUCKETS), _end_of(experiment, begin)
        masks[name] = (1 << end) - (1 << begin)
        begin = end
    return masks


def _end_of(experiment: Experiment, begin: int) -> int:
    """The first bucket after this one that has another variant: those of one are in a row."""
    name = variant_at(experiment, begin / BUCKETS)

    def differs(place: int) -> bool:
        return variant_at(experiment, place / BUCKETS) != name

    return bisect_left(range(BUCKETS), True, begin, key=differs)


def _of_family(field: str) -> Domain:
    family, _, rest = field.partition(".")
    measure = rest.rpartition(".")[2]
    if family == "contacts":
        return Domain(numbers=_COUNTS, whole=True)
    if family == "journey":
        return Domain(ABSENT, texts=EVERYTHING)
    if field.startswith("time.in."):
        return Domain(TRUE | FALSE)
    if family != "events":  # also a measure of a date: an object may have a part of that name
        return ANYTHING
    try:
        parsed = parse_field(field)
    except UnknownField:  # has an error already
        return ANYTHING
    if parsed.beside is not None:
        return Domain(ABSENT | FALSE | TRUE)
    if parsed.channel is not None:
        return Domain(numbers=_COUNTS, whole=True)
    if measure == "last_at":
        return Domain(ABSENT, texts=EVERYTHING)
    if measure == "days_since":
        return Domain(ABSENT, _COUNTS, whole=True)
    if measure.startswith("count"):
        return Domain(numbers=_COUNTS, whole=True)
    if measure.startswith("sum_"):
        return Domain(OTHER, EVERYTHING)
    if found := _ACTIVE.fullmatch(measure):
        return Domain(numbers=points(range(int(found[1]) + 1)), whole=True)
    return ANYTHING
