"""What comparisons of two fields, and of versions, leave possible.

Any two values stand to each other in exactly one of five ways, and each comparison allows some of
them. So the ways that are left are kept for each pair of fields as the kinds of a domain, under a
name that no field has. What `in` and `contains` find is not looked into: it is the same wherever it
is asked. Versions are ordered by their keys, which are kept as texts under such a name, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from decision.core.conditions import VERSION_OPERATORS, Clause
from decision.core.versions import version_key
from decision.rulebook.review.domains import (
    ABSENT,
    ANY_KIND,
    ANYTHING,
    LIST,
    OTHER,
    Domain,
    demanded,
    meet,
)
from decision.rulebook.review.intervals import EVERYTHING, NOTHING, complement, ordered, points

LESS: Final = 1
SAME: Final = 2
"""Equal, and of a type that has an order: two numbers, or two texts."""
MORE: Final = 4
ALIKE: Final = 8
"""Equal, and of another type: true or false, lists, objects."""
UNLIKE: Final = 16
"""Neither equal nor ordered: one is missing, or the types differ."""

_ALLOWED: Final = {
    "eq": SAME | ALIKE,
    "gt": MORE,
    "gte": MORE | SAME,
    "lt": LESS,
    "lte": LESS | SAME,
}
_OPPOSITES: Final = {"ne": "eq", "not_in": "in", "vne": "veq"}
_SORTED: Final = Domain(numbers=EVERYTHING, texts=EVERYTHING)
_PRESENT: Final = ANYTHING._replace(kinds=ANY_KIND & ~ABSENT)

DomainOf = Callable[[str], Domain]


def compared(clause: Clause, positive: bool, domain: DomainOf) -> Iterator[tuple[str, Domain]]:
    """What is left of the fields of a comparison, and of how they stand to each other.

    `clause` compares two fields, or versions. `domain` is what a field can be so far. The names
    are those of fields, and those under which the rest is kept.
    """
    op = _OPPOSITES.get(clause.op, clause.op)
    positive = positive is (op == clause.op)
    one, other = clause.field, clause.operand
    if other is None:
        yield from _version(Clause(one, op, clause.value), positive)
    elif one == other:
        yield one, _with_itself(op, positive)
    elif op in VERSION_OPERATORS:
        yield f"\0versions{_pair(one, other)}", Domain(_ways(op[1:], positive, one, other))
        if positive:
            yield from ((one, _SORTED), (other, _SORTED))
    elif op in _ALLOWED:
        ways = _ways(op, positive, one, other) & _possible(domain(one), domain(other))
        yield _pair(one, other), Domain(ways)
        if positive:
            both = meet(domain(one), domain(other)) if op == "eq" else _SORTED
            yield from ((one, meet(both, _PRESENT)), (other, meet(both, _PRESENT)))
    else:
        yield f"\0{op}\0{one}\0{other}", Domain(1 if positive else 2)
        if positive:
            yield from ((one, _PRESENT), (other, Domain(LIST) if op == "in" else _PRESENT))


def _pair(one: str, other: str) -> str:
    first, last = sorted((one, other))
    return f"\0{first}\0{last}"


def _ways(op: str, positive: bool, one: str, other: str) -> int:
    """The ways in which the first of the two, in order of their names, may stand to the other."""
    found = _ALLOWED[op]
    if one > other:
        turned = (MORE if found & LESS else 0) | (LESS if found & MORE else 0)
        found = turned | found & ~(LESS | MORE)
    return found if positive else ANY_KIND & ~found


def _possible(left: Domain, right: Domain) -> int:
    """The ways in which values of two domains can stand to each other."""
    found = ANY_KIND
    if not left.kinds & right.kinds & ~ABSENT:
        found &= ~ALIKE
    if not (left.kinds or right.kinds):
        only_numbers = not (left.texts or right.texts)
        only_texts = not (left.numbers or right.numbers)
        if only_numbers or only_texts:
            found &= ~UNLIKE
    return found


def _with_itself(op: str, positive: bool) -> Domain:
    """What a field can be that is compared with itself.

    What is missing or not a number does not equal itself, nor does a list with such an item.
    """
    match op:
        case "eq":
            return _PRESENT if positive else Domain(ABSENT | LIST | OTHER)
        case "gte" | "lte":
            return _SORTED if positive else Domain(ANY_KIND)
        case "contains":
            return Domain(texts=EVERYTHING) if positive else Domain(ANY_KIND, EVERYTHING)
        case "veq" | "vgte" | "vlte":
            return _SORTED if positive else ANYTHING
    return ANYTHING if not positive else Domain()


def _version(clause: Clause, positive: bool) -> Iterator[tuple[str, Domain]]:
    """What is left of a field whose version is compared with a constant, and of its version."""
    key = version_key(clause.value)
    keys = NOTHING
    if key is not None:
        keys = points([key]) if clause.op == "veq" else ordered(clause.op[1:], key)
    left = Domain(texts=keys) if positive else Domain(ABSENT, texts=complement(keys))
    yield f"\0version\0{clause.field}", left
    yield clause.field, demanded(clause, _SORTED, positive)
