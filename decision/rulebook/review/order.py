"""Whether what must have come after what can be so: nothing came after itself.

`events.a.since.b` is true if the last `a` came after the last `b`, and false if it came before it,
at the same time, or never. So a circle of these, with one that is true, is impossible.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache

from decision.core.fields import UnknownField, parse_field
from decision.rulebook.review.domains import FALSE, TRUE, Domain


@lru_cache(10_000)
def since_of(field: str) -> tuple[str, str] | None:
    """The two types of events that a field tells the order of.

    >>> since_of("events.purchase.since.cart_add"), since_of("events.purchase.last_at")
    (('purchase', 'cart_add'), None)
    """
    if not field.startswith("events."):
        return None
    try:
        parsed = parse_field(field)
    except UnknownField:
        return None
    if parsed.beside is None or parsed.event_type is None:
        return None
    return parsed.event_type, parsed.beside


def has_an_order(box: Mapping[str, Domain]) -> bool:
    """Whether the last events of all types can have come in an order that fits the box."""
    after: list[tuple[str, str]] = []
    not_before: defaultdict[str, set[str]] = defaultdict(set)
    for field, domain in box.items():
        pair = since_of(field)
        if pair is None:
            continue
        kind, other = pair
        if domain.kinds == TRUE:
            after.append(pair)
            not_before[kind].add(other)
        elif domain.kinds == FALSE:
            not_before[other].add(kind)
    return not any(_leads(not_before, other, kind) for kind, other in after)


def _leads(not_before: Mapping[str, set[str]], start: str, end: str) -> bool:
    seen, todo = {start}, [start]
    while todo:
        one = todo.pop()
        if one == end:
            return True
        fresh = not_before.get(one, set()) - seen
        seen |= fresh
        todo += fresh
    return False
