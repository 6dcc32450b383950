"""Comparisons that are valid, and probably not what was meant."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, Final

from decision.core.fields import DATE_MEASURES, UnknownField, parse_field

_ORDERED: Final = ("gt", "gte", "lt", "lte")
_FIELD: Final = re.compile(
    r"[{\s]*(?:field\s*:?\s+)?([a-z]+\.[^\s{}]+)(?:\s*[}|][^{]*|\s+[-+*/×]\s.*)?", re.DOTALL
)
"""The name of a field as people write it in a text: bare, in braces, calculated with."""
_DIGITS: Final = re.compile(r"\s*(-?[0-9]{1,9})\s*(?:d|days?)?\s*")
_VERSION: Final = re.compile(r"[vV]?[0-9]+\.[0-9]+\.[0-9]+([-+.][0-9A-Za-z.+-]*)?")


def meant(operator: str, value: Any, kind: str = "") -> str:
    """A hint where the name of a field was written as a text, or a number with its unit.

    `kind` is that of the field. Empty where nothing is clear.

    >>> meant("gt", "customer.limit + 1")
    'to compare with the field, write {gt: {field: customer.limit}}'
    >>> meant("eq", "order.shipped"), meant("eq", "field of tea")
    ('', '')
    """
    if kind == "number" and isinstance(value, str) and (digits := _DIGITS.fullmatch(value)):
        return f"write {digits[1]}, without quotes and units"
    found = _FIELD.fullmatch(value) if isinstance(value, str) and len(value) < 200 else None
    if found is None:
        return ""
    try:
        parse_field(found[1])
    except UnknownField:
        return ""
    if operator in ("in", "not_in"):
        return f"to compare with the field, write any: [{{…: {{eq: {{field: {found[1]}}}}}}}, …]"
    return f"to compare with the field, write {{{operator}: {{field: {found[1]}}}}}"


def doubtful(operator: str, value: Any) -> tuple[str, str] | None:
    """What is doubtful about a text that a field is compared with, and a hint."""
    if operator in ("contains", "matches") or not isinstance(value, str):
        return None
    if hint := meant(operator, value):
        return f'"{value}" is compared as a text, letter by letter', hint
    if operator in _ORDERED and _VERSION.fullmatch(value):
        return (
            f'"{value}" is compared as a text; as texts, "2.10.0" is less than "2.9.0"',
            f'for versions, write {{v{operator}: "{value}"}}',
        )
    return None


def doubtful_name(name: str) -> tuple[str, str] | None:
    """What is doubtful about the name of a field: it is nearly a measure of a date.

    >>> doubtful_name("customer.birthday.days_untill")[1]
    'did you mean "customer.birthday.days_until"?'
    """
    family, _, rest = name.partition(".")
    start, _, last = rest.rpartition(".")
    if not start or start.partition(".")[0] == "segment":
        return None
    if family in ("event", "context") and last in DATE_MEASURES:
        message = f"{name} is a value of exactly that name; only dates of customers have measures"
        return message, "store the date as an attribute of the customer"
    if family != "customer" or last in DATE_MEASURES:
        return None
    near = get_close_matches(last, DATE_MEASURES, 1, 0.75)
    if not near:
        return None
    message = f"{name} is an attribute of exactly that name"
    return message, f'did you mean "customer.{start}.{near[0]}"?'
