"""Whether a condition can ever hold, and whether one follows from another.

Negations are moved down to the clauses, where they are exact; the clauses of each field are
combined in one domain; alternatives are tried one after another. If that takes too long, the
answer is "it can hold". So *never* and *always* are proofs, and *can hold* proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from decision.core.conditions import VERSION_OPERATORS, All, AnyOf, Clause, Condition, Not
from decision.core.masks import union
from decision.core.values import Value
from decision.rulebook.review.comparisons import compared
from decision.rulebook.review.domains import Domain, domain_of, meet
from decision.rulebook.review.fields import FieldDomains
from decision.rulebook.review.intervals import values_of
from decision.rulebook.review.order import has_an_order, since_of

_STEPS: Final = 200
_STEPS_PER_CLAUSE: Final = 20

Box = dict[str, Domain]
"""Field → values that are still possible."""

_Signed = tuple[Condition, bool]


class Solver:
    """Answers questions about the conditions of one policy.

    Nested alternatives can take very long, so the work on one definition is limited: `allow` gives
    it a number of steps in proportion to its size, which all questions share until the next call.
    When they are used up, everything can hold.
    """

    def __init__(self, fields: FieldDomains) -> None:
        self.fields = fields
        self._domains: dict[tuple[str, str, str, bool], Domain] = {}
        self._steps = 0
        self.allow(1_000)

    def allow(self, size: int) -> None:
        """Gives the next questions a number of steps in proportion to `size` clauses."""
        self._steps = _STEPS + _STEPS_PER_CLAUSE * size

    def can_hold(self, *conditions: Condition, but: Iterable[Condition] = ()) -> bool:
        """Whether all of the conditions may hold at once while none of `but` does."""
        signed = [(one, True) for one in conditions] + [(one, False) for one in but]
        return self._search(signed, {})

    def never(self, condition: Condition) -> bool:
        """Whether it is certain that the condition cannot hold."""
        return not self.can_hold(condition)

    def always(self, condition: Condition) -> bool:
        """Whether it is certain that the condition holds whatever happens."""
        return not self.can_hold(but=[condition])

    def implies(self, condition: Condition, other: Condition) -> bool:
        """Whether it is certain that the other holds wherever the condition does."""
        return not self.can_hold(condition, but=[other])

    def _search(self, todo: Sequence[_Signed], box: Box) -> bool:
        """Whether all of `todo` is possible within the box, which is changed."""
        stack = list(todo)
        choices: list[_Signed] = []
        comparisons: list[tuple[Clause, bool]] = []
        while stack:
            condition, positive = stack.pop()
            self._steps -= 1
            if self._steps < 0:
                return True
            match condition:
                case Clause() if condition.operand is not None:
                    comparisons.append((condition, positive))  # when more is known of both fields
                case Clause():
                    if not self._narrow(box, condition, positive):
                        return False
                case Not(part):
                    stack.append((part, not positive))
                case All(parts) | AnyOf(parts):
                    if isinstance(condition, All) is positive or len(parts) == 1:
                        stack.extend((part, positive) for part in parts)
                    elif not parts:
                        return False
                    else:
                        choices.append((condition, positive))
        if not all(self._narrow(box, one, positive) for one, positive in comparisons):
            return False
        if not choices:
            return True
        choices.sort(key=_width)
        (first, positive), rest = choices[0], choices[1:]
        assert isinstance(first, All | AnyOf)
        return any(self._search([*rest, (part, positive)], dict(box)) for part in first.parts)

    def _narrow(self, box: Box, clause: Clause, positive: bool) -> bool:
        """Narrows the box to what the clause allows; whether anything is left."""
        if clause.operand is not None or clause.op in VERSION_OPERATORS:
            left = compared(clause, positive, lambda field: self._left(box, field))
            return all(self._keep(box, name, allowed) for name, allowed in left)
        field = clause.field
        key = (field, clause.op, repr(clause.value), positive)
        allowed = self._domains.get(key)
        if allowed is None:
            allowed = self._domains[key] = domain_of(clause, positive)
        return self._keep(box, field, allowed)

    def _left(self, box: Box, field: str) -> Domain:
        """What a field can be within the box."""
        found = box.get(field)
        return self.fields.domain(field) if found is None else found

    def _keep(self, box: Box, field: str, allowed: Domain) -> bool:
        """Narrows a field of the box; whether anything is left."""
        box[field] = left = meet(self._left(box, field), allowed)
        together = self.fields.together.get(field)
        return (
            not left.is_empty
            and (together is None or _is_somebody_in(box, together))
            and (since_of(field) is None or has_an_order(box))
        )


def _is_somebody_in(box: Box, together: Mapping[str, Mapping[Value, int]]) -> bool:
    """Whether some customers have variants within the box in all experiments of one seed."""
    left = -1
    for field, buckets in together.items():
        if field in box:
            left &= union(buckets.get(name, 0) for name in values_of(box[field].texts) or ())
    return left != 0


def _width(choice: _Signed) -> int:
    return len(choice[0].parts) if isinstance(choice[0], All | AnyOf) else 0
