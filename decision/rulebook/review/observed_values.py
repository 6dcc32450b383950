"""Values in a sample of real data that rules cannot read as the version, date or number they need.

They are of the right type, so only looking at each of them shows it: birthdays as a spreadsheet
writes them (2008/2/29), versions with words (iOS 3.9.0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC
from typing import Any, Final

from decision.core.caps import number_of
from decision.core.conditions import VERSION_OPERATORS, Clause, Condition, clauses
from decision.core.definition import DerivedEvent, FieldLimit
from decision.core.derived import customer_of
from decision.core.fields import local_date, measured_date
from decision.core.values import in_words
from decision.core.versions import is_version
from decision.rulebook import readings
from decision.rulebook.comparisons import version_in
from decision.rulebook.local_filters import is_date, to_number
from decision.rulebook.review.observed_types import (
    Finding,
    ObservedFields,
    Unread,
    paths_of,
    type_of,
)

READERS: Final[dict[str, Callable[[Any], bool]]] = {
    "version": is_version,
    "date": lambda value: local_date(value, UTC) is not None,
    "printed date": is_date,
    "number": lambda value: to_number(value) is not None,
    "limit": lambda value: number_of(value) is not None,
    "list": lambda value: isinstance(value, list | tuple),
    "customer": lambda value: customer_of(value) is not None,
}
"""What rules take a value for → whether they can."""

_ORDERED: Final = ("gt", "gte", "lt", "lte")


class Tally:
    """What the values of one path are."""

    def __init__(self) -> None:
        self.types: set[str] = set()
        self.count = 0
        self.unread: dict[str, tuple[int, Any]] = {}

    def add(self, value: Any) -> None:
        """Takes in one value, which is not null."""
        self.types.add(type_of(value))
        self.count += 1
        for kind, can_read in READERS.items():
            if not can_read(value):
                count, example = self.unread.get(kind, (0, value))
                self.unread[kind] = count + 1, example


def unread_in(tallies: Mapping[str, Tally]) -> dict[str, dict[str, Unread]]:
    """Of each of `READERS`, path → how many values it cannot read."""
    nothing = (0, None)
    return {
        kind: {
            path: Unread(count, tally.count, example)
            for path, tally in tallies.items()
            for count, example in [tally.unread.get(kind, nothing)]
        }
        for kind in READERS
    }


def _of(paths: Iterable[str], kind: str, known: ObservedFields) -> Unread | None:
    """What a reader cannot read of some paths, all together."""
    table = known.unread.get(kind, {})
    found = [table[path] for path in paths if path in table]
    examples = [one.example for one in found if one.count]
    if not examples:
        return None
    return Unread(sum(one.count for one in found), sum(one.of for one in found), examples[0])


def _said(name: str, what: str, unread: Unread, known: ObservedFields) -> str:
    """`customer.birthday is no date in 3 of 40 values among …, such as "2008/2/29"`."""
    many = f"{unread.count:,} of {unread.of:,} value{'s' if unread.of > 1 else ''}"
    return f"{name} is no {what} in {many} among {known.sample}, such as {in_words(unread.example)}"


def _as_date(example: Any) -> str:
    """How to fix a value that is no date."""
    text = example if isinstance(example, str) else in_words(example)
    if found := readings.day(text) or readings.moment(text, UTC)[:10]:
        return f"store it as {found}"
    return "store a date as 2026-11-21, a time with its offset"


def _as_number(example: Any) -> str:
    """How to fix a value that is no number."""
    digits = readings.number(example) if isinstance(example, str) else ""
    return f"store it as {digits}" if digits else "store digits alone"


def unread_by_condition(condition: Condition, known: ObservedFields) -> dict[str, Finding]:
    """Field → what is no version or no date among its values, where the condition needs one."""
    tree = list(clauses(condition))
    sorted_out = {clause.field for clause in tree if clause.op == "matches"}
    found: dict[str, Finding] = {}
    for clause in tree:
        for field in {clause.field, clause.operand or clause.field} - sorted_out:
            unread = _unread(clause, field, known)
            if unread is not None:
                found.setdefault(field, unread)
    return found


def _unread(clause: Clause, field: str, known: ObservedFields) -> Finding | None:
    """What is no version or no date among the values of one field of a clause."""
    if measured := measured_date(field):
        found = no_date(f"customer.{measured[0]}", f"{field} has no value", known)
        return found and found._replace(name=field)
    if clause.op in VERSION_OPERATORS:
        return _no_version(clause, field, known)
    if clause.op in _ORDERED and _is_day(clause.value):
        return no_date(field, f"{clause.op} compares letters", known)
    return None


def _is_day(value: Any) -> bool:
    return isinstance(value, str) and local_date(value, UTC) is not None


def no_date(name: str, result: str, known: ObservedFields) -> Finding | None:
    """What is no date among the values of a field that is read as one."""
    unread = _of(paths_of(name, known), "date", known)
    if unread is None:
        return None
    message = f"{_said(name, 'date', unread, known)}, so {result} there"
    return Finding(name, message, _as_date(unread.example), "unread-value")


def _no_version(clause: Clause, field: str, known: ObservedFields) -> Finding | None:
    unread = _of(paths_of(field, known), "version", known)
    if unread is None:
        return None
    example = unread.example
    message = _said(field, "version", unread, known)
    if isinstance(example, float):
        message += ": 3.10 and 3.1 are one number"
        fix = "store versions as text; for a CSV file, load it with --text and the column's name"
        return Finding(field, message, fix, "unread-value")
    message += "; such texts are compared letter by letter, and are mostly after all versions"
    found = version_in(example) if isinstance(example, str) else ""
    fix = f'store it as "{found}"' if found else "store nothing where there is no version"
    if field == clause.field:
        other = clause.operand
        wanted = f"{{field: {other}}}" if other else readings.in_quotes(str(clause.value))
        fix += f'; until then, write {{{clause.op}: {wanted}, matches: "^v?[0-9]"}}'
    return Finding(field, message, fix, "unread-value")


def no_limit(limit: FieldLimit, known: ObservedFields) -> Finding | None:
    """A cap's number from a field that is sometimes no whole number of at least 0."""
    unread = _of(paths_of(limit.field, known), "limit", known)
    if unread is None:
        return None
    said = _said(limit.field, "whole number", unread, known)
    message = f"{said}, so {limit.default} counts there"
    return Finding(limit.field, message, f"store whole numbers in {limit.field}", "unread-value")


def unread_by_derived(one: DerivedEvent, known: ObservedFields) -> Iterator[tuple[str, Finding]]:
    """(key, what is no list, or no customer id) of a derived event."""
    for key, name, kind, what, result in (
        ("each", one.each, "list", "list", "such events are refused"),
        ("for", one.for_customer, "customer", "customer id", "it counts for nobody there"),
    ):
        if name is None or (key == "for" and one.each is not None):
            continue
        unread = _of([f"events.{one.of}.{name}"], kind, known)
        if unread is not None:
            message = f"{_said(f'event.{name}', what, unread, known)}: {result}"
            fix = f"send a list, such as {name}: [{{sku: a-1}}]"
            if key == "for":
                fix = "send the id as text"
                if isinstance(unread.example, list | tuple):
                    fix = f"for each in the list, write each: {name}, for: event.value"
            yield key, Finding(name, message, fix, "unread-value")


def unread_by_filter(name: str, filtered: str, known: ObservedFields) -> Finding | None:
    """What a text prints through `date`, `money` or `number`, and is sometimes none."""
    kind, what = ("printed date", "date") if filtered == "date" else ("number", "number")
    unread = _of(paths_of(name, known), kind, known)
    if unread is None:
        return None
    message = f"{_said(name, what, unread, known)}, so {filtered} prints nothing there"
    fix = _as_date(unread.example) if what == "date" else _as_number(unread.example)
    return Finding(name, message, fix, "unread-value")
