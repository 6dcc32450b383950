"""Measures of dates that do not see what a rule sets."""

from __future__ import annotations

from decision.core.conditions import Clause, clauses
from decision.core.fields import measured_date
from decision.rulebook.review.context import ReviewContext, conditions_of


def review_dates(context: ReviewContext) -> None:
    """Warns of measures of an attribute that a rule sets: they count from what is stored."""
    setters = {field: rule.name for rule in context.definition.rules for field in rule.set}
    for section, owner, _, condition in conditions_of(context.definition):
        read: dict[str, Clause] = {}
        for clause in clauses(condition):
            read.setdefault(clause.field, clause)
            read.setdefault(clause.operand or "", clause)
        for name, clause in read.items():
            attribute, _ = measured_date(name) or ("", "")
            setter = setters.get(f"customer.{attribute}")
            if setter is not None:
                context.report.warn(
                    context.places.condition(clause, section, owner),
                    f"{name} is counted from the {attribute} that is stored, not from what "
                    f'rule "{setter}" sets',
                    "store the attribute, or read another one",
                )
