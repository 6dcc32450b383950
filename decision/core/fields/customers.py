"""`customer.…`: what is stored about the customer, and the state that follows from it."""

from __future__ import annotations

from decision.core.fields.dates import date_field, measured_date
from decision.core.fields.situation import Field, Situation, at_path
from decision.core.values import MISSING, Value

STATE_FIELD = "customer.state"


def customer_field(name: str, rest: str) -> Field:
    """The field of an attribute, of a measure of its date, or the customer's state, which the
    decision fills in."""
    if name == STATE_FIELD:
        return Field(name, lambda s: MISSING, "text")
    if measured := measured_date(name):
        return date_field(name, *measured)
    if "." in rest:
        return Field(name, lambda s: at_path(s.document.attributes, rest))

    def read(situation: Situation) -> Value:  # as `at_path`
        found: Value = situation.document.attributes.get(rest)
        return MISSING if found is None else found

    return Field(name, read, attribute=rest)
