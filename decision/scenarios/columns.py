"""What a column of a table means: the place in the scenario that its cells are put at.

A column is a path such as `customer.attributes.country` or `expect.reasons.coupon/push`; a field
that the policy reads or prints, such as `customer.country` or `events.purchase.days_since`; or the
last part of a path where nothing else is called so, such as `channels` or `reason`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple, NoReturn

from decision.core.errors import NextbestError
from decision.core.fields import STATE_FIELD, UnknownField, measured_date, parse_field
from decision.core.policy import Policy
from decision.core.schema import TriggerEvent
from decision.rulebook.content import given_fields
from decision.rulebook.diagnostics import hint_for
from decision.scenarios.arrange_contacts import part_named
from decision.scenarios.schema import Ask, Change, Customer, Expect, Spent, Step, keys_of

Path = tuple[str | int, ...]


_FORMS: Final = {"customer": keys_of(Customer), "ask": keys_of(Ask), "expect": keys_of(Expect)}
_SHORT: Final = {
    **{key: ("customer", key) for key in ("timezone", "reachable", "unreachable", "customer_id")},
    **{key: ("ask", key) for key in ("placement", "channels", "limit", "event")},
    **{
        key: ("expect", key)
        for key in ("outcome", "message", "channel", "messages", "not", "reason", "not_before")
    },
}
"""Columns of one word, and the path that each is short for."""

_SHORT_FAMILIES: Final = {
    "consents": "customer.consents",
    "experiment": "customer.experiments",
    "score": "customer.scores",
    "journey": "customer.journeys",
    "attributes": "customer.attributes",
    "reasons": "expect.reasons",
    "content": "expect.content",
    "fields": "expect.fields",
}
"""First words that stand for the path before them."""

_NESTED: Final = (
    ("customer", "attributes"),
    ("ask", "context"),
    ("ask", "event", "properties"),
    ("expect", "content"),
)
_FLAT: Final = (
    ("customer", "experiments"),
    ("customer", "scores"),
    ("expect", "reasons"),
    ("expect", "fields"),
)


class Column(NamedTuple):
    """What a column means: `path`, and for a field that something is made up for, its name.

    `measure` is such as `events.purchase.days_since`, `contacts.push.count_7d`, `time.hour`,
    `customer.birthday.days_until`, or `customer.state`.
    """

    path: Path
    measure: str = ""


class UnknownColumn(NextbestError, ValueError):
    """A column that leads nowhere; `hint` says what might be meant."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Columns:
    """The columns that tables of a policy may have."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.budgets = frozenset(one.name for one in policy.budgets.all if one.shared)
        contents = [message.content for message in policy.messages.values()]
        given = (name for content in contents for name in given_fields(content))
        acting = policy.journeys.reader.policy.fields.names() if policy.journeys else ()
        read = (*policy.fields.names(), *policy.printed.names(), *acting)
        names = (*read, *given, "customer.language")
        dates = (f"customer.{one[0]}" for name in names if (one := measured_date(name)))
        self.fields = frozenset((*names, *dates))
        derived = (one.of for one in policy.derivations.definitions.values())
        counted = (*policy.measures(), *policy.scores.event_types, *derived)
        self.event_types = frozenset(counted)

    def find(self, name: str, steps: int = 0) -> Column:
        """What a column means, in a scenario with that many steps.

        Raises:
            UnknownColumn: nothing is called so, or it is not clear what is.
        """
        first, _, rest = name.partition(".")
        if first == "steps":
            return self._step(name, rest, steps)
        column = self._find(name)
        if steps and not column.measure and column.path[0] in ("ask", "expect"):
            raise UnknownColumn(
                f'the scenario has steps, and "{name}" does not say which',
                f"write steps.1.{name} for the first",
            )
        return column

    def _step(self, name: str, rest: str, steps: int) -> Column:
        number, _, inner = rest.partition(".")
        if not number.isascii() or not number.isdigit() or not inner:
            raise UnknownColumn(f'there is no column "{name}"', "write steps.1.expect and the like")
        if not 1 <= int(number) <= steps:
            raise UnknownColumn(f'there is no step {number} for "{name}"', f"there are {steps}")
        at: Path = ("steps", int(number) - 1)
        if inner in ("now", "at", "wait", "events", "customer"):
            return Column((*at, inner))
        column = self._find(inner)
        changes = column.path[0] == "customer" and column.path[1] in keys_of(Change)
        if column.path[0] not in ("ask", "expect") and (column.measure or not changes):
            raise UnknownColumn(
                f'"{inner}" does not belong to a step', hint_for(inner, keys_of(Step))
            )
        return Column((*at, *column.path))

    def _find(self, name: str) -> Column:
        first, _, rest = name.partition(".")
        if name in (
            "now",
            "name",
            "ask",
            "expect",
            "customer",
            "spent",
            "coupons",
            "probabilities",
        ):
            return Column((name,))
        if name in _SHORT:
            return Column(_SHORT[name])
        if first in ("events", "contacts", "time") and rest:
            return self._measure(name)
        if name == STATE_FIELD:
            return Column(("expect", "fields", name), STATE_FIELD)
        if name in self.fields and (measured := measured_date(name)):
            return Column(("customer", "attributes", *measured[0].split(".")), name)
        found = self._path(name) or self._family(first, rest) or self._field(first, rest)
        if found is None:
            raise UnknownColumn(f'there is no column "{name}"', hint_for(name, self.known()))
        return Column(found)

    def _family(self, first: str, rest: str) -> Path | None:
        prefix = _SHORT_FAMILIES.get(first)
        return self._path(f"{prefix}.{rest}") if prefix and rest else None

    def _field(self, first: str, rest: str) -> Path | None:
        """A field that the policy reads, as it is written in rules."""
        if f"{first}.{rest}" not in self.fields or not rest:
            return None
        parts = tuple(rest.split("."))
        match first:
            case "customer":
                return "customer", "attributes", *parts
            case "context":
                return "ask", "context", *parts
            case "event" if rest == "type":
                return "ask", "event", "type"
            case "event":
                return "ask", "event", "properties", *parts
        return None

    def _measure(self, name: str) -> Column:
        """A field for which something is made up; its value is expected as well."""
        try:
            field = parse_field(name)
        except UnknownField as error:
            message, _, hint = str(error).partition("; ")
            raise UnknownColumn(message, hint) from None
        for kind in (field.event_type, field.beside):
            if kind is not None and kind not in self.event_types:
                self._unread(name, f'no rule reads events of the type "{kind}"')
        if field.contacts_window and part_named(self.policy, field.channel or "") is None:
            text = f'there is no channel, purpose or category "{field.channel}"'
            raise UnknownColumn(text, hint_for(field.channel or "", self._contacted()))
        if field.calendar is not None and field.calendar not in self._calendars():
            text = f'there is no calendar "{field.calendar}"'
            raise UnknownColumn(text, hint_for(field.calendar, self._calendars()))
        return Column(("expect", "fields", name), name)

    def _unread(self, name: str, message: str) -> NoReturn:
        known = sorted(known for known in self.fields if known.startswith("events."))
        raise UnknownColumn(message, hint_for(name, known))

    def _contacted(self) -> list[str]:
        categories = [one.category for one in self.policy.definition.messages if one.category]
        return [*self.policy.channels, *self.policy.purposes, *dict.fromkeys(categories)]

    def _calendars(self) -> list[str]:
        return [one.name for one in self.policy.definition.calendars]

    def _path(self, name: str) -> Path | None:
        """A path written out, or None where the form has no such place."""
        first, _, rest = name.partition(".")
        if first == "probabilities" and rest:
            return first, rest
        if first == "coupons" and rest in self.policy.coupons:
            return first, rest
        if first == "spent":
            if rest in self.budgets:
                return first, rest
            message, _, span = rest.rpartition(".")
            return (first, message, span) if message and span in keys_of(Spent) else None
        if first not in _FORMS:
            return None
        key, _, inner = rest.partition(".")
        if key not in _FORMS[first]:
            return None
        return self._inside((first, key), inner)

    def _inside(self, at: tuple[str, ...], rest: str) -> Path | None:
        if not rest:
            return at
        if at in _NESTED:
            return *at, *rest.split(".")
        if at in _FLAT:
            return *at, rest
        if at == ("customer", "consents"):
            purposes = (*self.policy.purposes, "*")
            if rest in purposes:
                return *at, rest
            purpose, _, channel = rest.rpartition(".")
            return (*at, purpose, channel) if purpose and channel else (*at, rest)
        if at == ("customer", "journeys"):
            journey, _, key = rest.rpartition(".")
            return (*at, journey, key) if journey else (*at, rest)
        key, _, inner = rest.partition(".")
        if at == ("ask", "event") and key in keys_of(TriggerEvent):
            return self._inside((*at, key), inner)
        return None

    def known(self) -> list[str]:
        """Columns that a table may have: what is like a mistyped one is offered."""
        return list(dict.fromkeys(self._known()))

    def _known(self) -> Iterator[str]:
        policy = self.policy
        yield from ("expect", "now", *_SHORT, "ask", "customer", "name")
        yield from sorted(
            field for field in self.fields if field.partition(".")[0] not in ("placement", "time")
        )
        yield from ("time.hour", "time.weekday", "time.date")
        yield from (f"time.in.{name}" for name in self._calendars())
        yield from (f"consents.{purpose}.*" for purpose in policy.purposes)
        yield from (f"consents.{purpose}" for purpose in policy.purposes)
        yield from (f"{first}.{key}" for first, keys in _FORMS.items() for key in keys)
        yield from (f"experiment.{one.name}" for one in policy.definition.experiments)
        yield from (f"spent.{name}" for name in sorted(self.budgets))
        yield from (f"coupons.{name}" for name in sorted(policy.coupons))
        yield from (
            f"spent.{name}.{span}"
            for name, message in policy.messages.items()
            for span in keys_of(Spent)
            if message.budget is not None and getattr(message.budget, span) is not None
        )
