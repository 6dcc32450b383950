"""What is made up for the cells of a table: the past by which fields have the values asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from decision.core.conditions import All, AnyOf, Clause, Condition
from decision.core.fields import STATE_FIELD, measured_date, parse_field
from decision.core.policy import Policy
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.yaml_source import Node
from decision.scenarios.arrange import Arrangement, CannotArrange
from decision.scenarios.arrange_contacts import contacts_for
from decision.scenarios.arrange_time import date_for, moment_for
from decision.scenarios.columns import Columns, Path, UnknownColumn
from decision.scenarios.laid import Laid, like, node_of

_EVENTS: Final = ("customer", "events")
_CONTACTS: Final = ("customer", "contacts")


class MadeUp:
    """Puts into a scenario what gives fields the values of `cells`; complains in its source.

    The first decision is expected to see these values, unless time goes by before it: what is made
    up may contradict itself.
    """

    def __init__(self, laid: Laid, columns: Columns, cells: Mapping[str, Node], steps: int) -> None:
        self.laid = laid
        self.columns = columns
        self.policy = columns.policy
        self.source = laid.source
        self.first: Path = ("steps", 0) if steps else ()
        self.cells = dict(cells)

    def put(self) -> None:
        """Puts all of it."""
        if not self.first or self.laid.at((*self.first, "ask")) is not None:
            for name, cell in self.cells.items():
                self.laid.put((*self.first, "expect", "fields", name), cell)
        if STATE_FIELD in self.cells:
            self.put_state(self.cells.pop(STATE_FIELD))
        families: dict[str, dict[str, Node]] = {}
        for name, cell in self.cells.items():
            families.setdefault(name.partition(".")[0], {})[name] = cell
        if "time" in families:  # before all that depends on now
            self.put_moment(families["time"])
        for name, cell in families.get("customer", {}).items():
            if measured := measured_date(name):
                self.put_date(*measured, cell)
        if "contacts" in families:
            self.put_contacts(families["contacts"])
        if "events" in families:
            self.put_events(families["events"])

    def put_state(self, cell: Node) -> None:
        try:
            wanted = fields_of_state(self.policy, str(cell.value))
        except CannotArrange as error:
            states = [state.name for state in self.policy.definition.states]
            hint = hint_for(str(cell.value), states) if str(cell.value) not in states else ""
            self.source.report("unknown-name", cell.at[1:], str(error), hint)
            return
        for name, value in wanted.items():
            made = node_of(cell, value)
            try:
                column = self.columns.find(name)
            except UnknownColumn:  # such as the calendar of another policy
                continue
            if column.measure:
                self.cells.setdefault(name, made)
                continue
            path = (*self.first, *column.path) if column.path[0] == "ask" else column.path
            if self.laid.at(path) is None:
                self.laid.put(path, made)

    def put_moment(self, cells: dict[str, Node]) -> None:
        first, now = next(iter(cells.values())), self.laid.moment()
        if now is not None:
            with self.complaining(first):
                moment = moment_for(self.policy, _plain(cells), now, self.laid.zone())
                self.laid.put(("now",), like(first, moment.isoformat()))

    def put_date(self, attribute: str, measure: str, cell: Node) -> None:
        """A date in the attribute, of which the measure has the cell's value; null: none."""
        path: Path = ("customer", "attributes", *attribute.split("."))
        moment = self.laid.moment()
        if cell.value is None:
            self.laid.drop(path)
        elif moment is not None:
            with self.complaining(cell):
                today = moment.astimezone(self.laid.zone()).date()
                self.laid.put(path, like(cell, date_for(measure, cell.plain(), today)))

    def put_contacts(self, cells: dict[str, Node]) -> None:
        first, now, past = next(iter(cells.values())), self.laid.moment(), self.past(_CONTACTS)
        if past:
            self.twice(first, "contacts are also given under customer.contacts")
        elif now is not None:
            with self.complaining(first):
                made = contacts_for(self.policy, _plain(cells), now)
                self.laid.put(_CONTACTS, node_of(first, made))

    def put_events(self, cells: dict[str, Node]) -> None:
        """The events of all types: what came since what is about two of them."""
        by_type: dict[str, dict[str, Node]] = {}
        related: list[tuple[str, str, Node]] = []
        for name, cell in cells.items():
            field = parse_field(name)
            kind = field.event_type or ""
            by_type.setdefault(kind, {})[name.removeprefix(f"events.{kind}.")] = cell
            if field.beside is not None:
                related.append((kind, field.beside, cell))
        first, now, past = next(iter(cells.values())), self.laid.moment(), self.past(_EVENTS)
        places = {other: cell for _, other, cell in related}
        places |= {kind: next(iter(own.values())) for kind, own in by_type.items()}
        for given in (one.plain() for one in past):
            known = given.get("type") if isinstance(given, dict) else None
            if isinstance(known, str) and known in places:
                text = f"events of the type {known} are also given under customer.events"
                self.twice(places[known], text)
                return
        if now is None:
            return
        made: dict[str, Arrangement] = {}
        for kind, cell in places.items():
            with self.complaining(cell):
                wanted = _plain(by_type.get(kind, {}))
                made[kind] = Arrangement(kind, wanted, now, self.laid.zone())
        for kind, other, cell in related:
            with self.complaining(cell):
                if kind in made and other in made:
                    made[kind].relate(made[other])
        with self.complaining(first):
            found = [event for one in made.values() for event in one.written()]
            self.laid.put(_EVENTS, like(first, [*past, *(node_of(first, one) for one in found)]))

    def past(self, path: Path) -> list[Node]:
        """What of the past is given already."""
        found = self.laid.at(path)
        return found.value if found is not None and isinstance(found.value, list) else []

    @contextmanager
    def complaining(self, cell: Node) -> Iterator[None]:
        """Reports at a cell that what it asks for cannot be made."""
        try:
            yield
        except CannotArrange as error:
            self.source.report("bad-value", cell.at[1:], str(error))
        except OverflowError:
            text = "needs a time before the year 1 or after 9999"
            self.source.report("bad-value", cell.at[1:], text, "change now, or this value")

    def twice(self, cell: Node, message: str) -> None:
        self.source.report("conflict", cell.key[1:], message, "keep one of the two")


def _plain(cells: Mapping[str, Node]) -> dict[str, Any]:
    return {name: cell.plain() for name, cell in cells.items()}


def fields_of_state(policy: Policy, name: str) -> dict[str, Any]:
    """Values of fields that put a customer into a state, as far as its own condition says.

    Raises:
        CannotArrange: no values can be read from such a condition.
    """
    state = next((one for one in policy.definition.states if one.name == name), None)
    if state is None:
        raise CannotArrange(f'there is no state "{name}"')
    return dict(_values(state.when, name))


def _values(condition: Condition, state: str) -> list[tuple[str, Any]]:
    match condition:
        case All(parts):
            return [pair for part in parts for pair in _values(part, state)]
        case AnyOf(parts) if parts:
            return _values(parts[0], state)
        case Clause() if condition.operand is not None:
            pass
        case Clause(field, "eq" | "gte" | "veq" | "vgte", value):
            return [(field, value)]
        case Clause(field, "in", (first, *_)):
            return [(field, first)]
        case Clause(field, "gt", int(value)):
            return [(field, value + 1)]
        case Clause(_, "lt" | "lte" | "ne" | "not_in", _):
            return []
    raise CannotArrange(
        f"no customer in state {state} can be made up; give events and attributes instead"
    )
