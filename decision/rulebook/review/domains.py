"""The values that a field may have while a condition holds, and what each clause leaves of them.

A domain is never smaller than the truth. It is exact for numbers, texts, true, false and a missing
value; for lists and patterns it remembers what was required. So an empty domain proves that no
value is possible; a domain that is not empty proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from decision.core.conditions import Clause, holds
from decision.core.values import MISSING, Value
from decision.rulebook.review.intervals import (
    EVERYTHING,
    NOTHING,
    Intervals,
    complement,
    intersect,
    ordered,
    points,
    values_of,
    whole_numbers,
)

ABSENT: Final = 1
TRUE: Final = 2
FALSE: Final = 4
LIST: Final = 8
OTHER: Final = 16
"""Values of no kind that a clause can name: nested objects, and what is not a number."""
ANY_KIND: Final = ABSENT | TRUE | FALSE | LIST | OTHER

_CONSTANTS: Final = ((ABSENT, MISSING), (TRUE, True), (FALSE, False))


@dataclass(frozen=True, slots=True)
class Demand:
    """A clause about lists, a pattern or a version. Two are equal if they are written alike, so
    that 1, 1.0 and true differ."""

    clause: Clause = field(compare=False)
    text: str

    def met_by(self, value: Value) -> bool:
        """Whether the clause holds for a value."""
        return holds(self.clause, value)


_Demands = frozenset[Demand]
_NONE: Final[_Demands] = frozenset()


class Domain(NamedTuple):
    """A set of values: flags of kinds, numbers and texts.

    Every value meets all demands of `must` and none of `must_not`. With `whole`, all numbers are
    whole.
    """

    kinds: int = 0
    numbers: Intervals = NOTHING
    texts: Intervals = NOTHING
    whole: bool = False
    must: _Demands = _NONE
    must_not: _Demands = _NONE

    @property
    def is_empty(self) -> bool:
        """Whether no value is left."""
        return not (self.kinds or self.numbers or self.texts)


ANYTHING: Final = Domain(ANY_KIND, EVERYTHING, EVERYTHING)


def meet(left: Domain, right: Domain) -> Domain:
    """The values in both."""
    must = left.must | right.must if right.must else left.must
    must_not = left.must_not | right.must_not if right.must_not else left.must_not
    kinds = left.kinds & right.kinds
    numbers = intersect(left.numbers, right.numbers)
    texts = intersect(left.texts, right.texts)
    whole = left.whole or right.whole
    if whole and numbers:
        numbers = whole_numbers(numbers)
    if must or must_not:
        if must & must_not:
            return Domain()
        texts = _fitting(texts, must, must_not)
        if _lists_clash(must, must_not):
            kinds &= ~LIST
    return Domain(kinds, numbers, texts, whole, must, must_not)


def _fitting(texts: Intervals, must: _Demands, must_not: _Demands) -> Intervals:
    """Of single texts those that meet all demands; other sets of texts stay the same."""
    known = values_of(texts)
    if not known:
        return texts
    return points(
        text
        for text in known
        if all(demand.met_by(text) for demand in must)
        and not any(demand.met_by(text) for demand in must_not)
    )


def _lists_clash(must: _Demands, must_not: _Demands) -> bool:
    """Whether one exact list is demanded that does not meet the other demands."""
    for demand in must:
        if demand.clause.op == "eq":
            wanted = demand.clause.value
            if not all(other.met_by(wanted) for other in must):
                return True
            return any(other.met_by(wanted) for other in must_not)
    return False


def domain_of(clause: Clause, positive: bool) -> Domain:
    """The values for which a clause holds, or with `positive` false does not hold."""
    operator = clause.op
    match operator:
        case "ne" | "not_in":
            opposite = Clause(clause.field, {"ne": "eq", "not_in": "in"}[operator], clause.value)
            return domain_of(opposite, not positive)
        case "exists":
            wanted = clause.value is positive
            if wanted:
                return ANYTHING._replace(kinds=ANY_KIND & ~ABSENT)
            return Domain(ABSENT)
        case "eq":
            if isinstance(clause.value, list | tuple):
                return demanded(clause, Domain(LIST), positive)
            found = _constants((clause.value,))
        case "in":
            if any(isinstance(item, list | tuple) for item in clause.value):
                return ANYTHING  # rule files have no such lists
            found = _constants(clause.value)
        case "contains":
            texts = EVERYTHING if isinstance(clause.value, str) else NOTHING
            return demanded(clause, Domain(LIST, texts=texts), positive)
        case "matches":
            return demanded(clause, Domain(texts=EVERYTHING), positive)
        case _:
            part = ordered(operator, clause.value)
            is_text = isinstance(clause.value, str)
            found = Domain(texts=part) if is_text else Domain(numbers=part)
    return found if positive else _others(found)


def demanded(clause: Clause, wanted: Domain, positive: bool) -> Domain:
    """For lists, patterns and versions, only the demand is remembered."""
    demand = frozenset({Demand(clause, f"{clause.op} {clause.value!r}")})
    return wanted._replace(must=demand) if positive else ANYTHING._replace(must_not=demand)


def _constants(values: tuple[Value, ...]) -> Domain:
    kinds = 0
    for flag, constant in _CONSTANTS:
        if any(value is constant for value in values):
            kinds |= flag
    plain = [value for value in values if not isinstance(value, bool)]
    return Domain(
        kinds,
        points(value for value in plain if isinstance(value, int | float)),
        points(value for value in plain if isinstance(value, str)),
    )


def _others(domain: Domain) -> Domain:
    return Domain(ANY_KIND & ~domain.kinds, complement(domain.numbers), complement(domain.texts))
