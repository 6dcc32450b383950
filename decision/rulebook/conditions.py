"""`when:` as written → the tree of clauses that the core evaluates."""

from __future__ import annotations

import re
from datetime import date
from typing import Any, Final, TypeVar

import re2

from decision.core.clock import time_text
from decision.core.conditions import (
    ALWAYS,
    OPERATORS,
    VERSION_OPERATORS,
    All,
    AnyOf,
    Clause,
    Condition,
    Not,
    compiled_pattern,
)
from decision.core.fields import (
    DATE_MEASURES,
    STATE_FIELD,
    WEEKDAYS,
    Field,
    UnknownField,
    parse_field,
)
from decision.core.values import in_words
from decision.rulebook import readings
from decision.rulebook.checker import NOUNS, Checker, MappingReader
from decision.rulebook.collector import kind_of
from decision.rulebook.comparisons import IN_WORDS, read_operand, read_version
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.doubtful import doubtful, doubtful_name, meant, meant_field, wildcard
from decision.rulebook.readings import as_yaml
from decision.rulebook.sent_events import not_derived
from decision.rulebook.yaml_source import INVALID, Node, Place

C = TypeVar("C", bound=Condition)

_MEANT: Final = {
    written: operator
    for operator, several in (
        ("eq", ("=", "==", "is", "equal", "equals", "equal_to", "等于")),
        ("ne", ("!=", "<>", "is_not", "not", "not_equal", "neq", "不等于")),
        ("gt", (">", "more_than", "greater_than", "greater", "after", "above", "大于")),
        ("gte", (">=", "at_least", "min", "from", "since", "ge")),
        ("lt", ("<", "less_than", "less", "before", "below", "小于")),
        ("lte", ("<=", "at_most", "max", "to", "until", "le")),
        ("in", ("one_of",)),
        ("not_in", ("not in", "none_of", "nin")),
        ("contains", ("has", "includes", "contain", "include", "包含")),
        ("matches", ("regex", "match", "like")),
        ("exists", ("is_set", "present")),
        ("vgt", ("version_gt", "v>")),
        ("vgte", ("version_gte", "v>=")),
        ("vlt", ("version_lt", "v<")),
        ("vlte", ("version_lte", "v<=")),
        ("veq", ("version", "semver", "version_eq", "v=")),
        ("vne", ("version_ne", "v!=")),
    )
    for written in several
}
"""What people write → the operator they mean."""

_STARTS: Final = ("starts_with", "startswith", "begins_with", "prefix", "开头是")
_JOINED: Final = {"or": "any", "and": "all", "oder": "any", "und": "all", "或": "any", "且": "all"}
_EQUALS: Final = re.compile(r"([a-z]+\.[\w.-]+?)\s*((?:[<>!=]=?|is\s).*)")
"""A comparison without a colon: `customer.age >= 30`."""
_NAME: Final = re.compile(r"[a-z]+\.[\w.-]+")

_SELECTED: Final = {
    **{key: key for key in ("messages", "tags", "category", "purpose", "channel")},
    "message": "messages",
    "tag": "tags",
}
"""What people write in a condition, and what it is called where messages are chosen."""

LARGEST_PATTERN: Final = 4_000
"""Instructions of RE2's program for a pattern: what searching costs for each byte, at worst."""

_EXACT: Final = frozenset({"eq", "ne", "in", "not_in"})
_ORDERED: Final = frozenset({"gt", "gte", "lt", "lte"})
_KINDS: Final[dict[str, tuple[tuple[type, ...], tuple[str, ...], str]]] = {
    "number": ((int, float), ("gt", "gte", "lt", "lte"), "write digits, without quotes"),
    "text": (
        (str,),
        ("gt", "gte", "lt", "lte", "contains", "matches"),
        "write text; put digits, true and false in quotes",
    ),
    "time": (
        (str,),
        ("gt", "gte", "lt", "lte"),
        "write a time such as 2026-11-21T10:00:00+08:00",
    ),
    "boolean": ((bool,), (), "write true or false, without quotes"),
}
"""Kind of a field → the types of its values, the operators that it has besides `_EXACT`, and how to
write a value."""


def read_when(entry: MappingReader, key: str = "when", default: Condition = ALWAYS) -> Condition:
    """The condition under `when`, or another key; `default` if it is missing or has an error."""
    node = entry.get(key)
    if node is None:
        return default
    return _ConditionReader(entry.checker, entry.label(key)).mapping(node) or default


def check_field(checker: Checker, name: str, place: Place) -> None:
    """Checks that what a field names exists: its experiment, channel or message event."""
    _ConditionReader(checker, "content").known_field(name, place)


def _between(value: Any) -> str:
    if isinstance(value, list) and len(value) == 2:
        return f"write {{{as_yaml({'gte': value[0], 'lte': value[1]})}}}"
    return "write {gte: 30, lte: 40}"


def _mapping(value: Any) -> str:
    """The condition that was written as a list, or as a text."""
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return f"write {{{as_yaml({'all': value})}}}, or any: […] if one is enough"
    if isinstance(value, str) and "." in value and (found := _EQUALS.fullmatch(value)):
        return f"write {{{as_yaml({found[1]: readings.comparison(found[2])})}}}"
    if isinstance(value, str) and _NAME.fullmatch(value):
        return f"write {{{value}: true}}"
    return "write {customer.tier: gold}"


def check_contacts(checker: Checker) -> None:
    """Checks the names in `contacts.<name>.…`, once all categories are known."""
    sections = ("channels", "purposes", "categories")
    known = {name for section in sections for name in checker.names[section]}
    for field, name, place in checker.contacts_named:
        found = [section for section in sections if name in checker.names[section]]
        if len(found) > 1:
            nouns = [NOUNS[section] for section in found]
            message = f'{field} counts the {nouns[0]} "{name}", not the {nouns[-1]} of that name'
            checker.warn(place, message, f"rename the {nouns[0]} or the {nouns[-1]}")
        elif not found and checker.complete:
            message = f'there is no channel, purpose or category "{name}"'
            checker.error("unknown-name", place, message, hint_for(name, known))


class _ConditionReader:
    def __init__(self, checker: Checker, what: str) -> None:
        self.checker = checker
        self.what = what

    def mapping(self, node: Node) -> Condition | None:
        """All keys of a mapping must be true; {} is always true."""
        if not isinstance(node.value, dict):
            hint = "write {} if it always applies" if node.value is None else _mapping(node.plain())
            wanted = "a mapping of fields and values"
            self.checker.wrong_type(node, self.what, wanted, hint)
            return None
        parts: list[Condition] = []
        for key, value in node.value.items():
            match key:
                case "all":
                    parts.append(self.written(All(self.several(value, key)), value.key))
                case "any":
                    parts.append(self.written(AnyOf(self.several(value, key)), value.key))
                case "not":
                    inner = self.mapping(value) or ALWAYS
                    parts.append(self.written(Not(inner), value.key))
                case _ if key.lower() in _JOINED:
                    self.joined(key, value)
                case _:
                    parts.extend(self.field(key, value))
        if not parts:
            return ALWAYS
        return parts[0] if len(parts) == 1 else self.written(All(tuple(parts)), node.at)

    def written(self, condition: C, place: Place) -> C:
        """The condition, remembered with its place."""
        self.checker.places.record(condition, place)
        return condition

    def several(self, node: Node, key: str) -> tuple[Condition, ...]:
        if not isinstance(node.value, list):
            hint = f"write {key}: [{{…}}, {{…}}]"
            self.checker.wrong_type(node, f"{key} in {self.what}", "a list of conditions", hint)
            return ()
        if not node.value:
            message = f"{key} in {self.what} is an empty list"
            self.checker.error("bad-value", node.at, message, "add a condition, or delete the key")
        found = [self.mapping(item) for item in node.value]
        return tuple(part for part in found if part is not None)

    def joined(self, key: str, node: Node) -> None:
        """An error about `or`, and what to write instead."""
        meant = _JOINED[key.lower()]
        hint = f"write {meant}: [{{…}}, {{…}}]"
        if isinstance(node.value, list):
            hint = f"write {as_yaml({meant: node.plain()})}"
        elif isinstance(node.value, dict):
            hint = (
                f"write {as_yaml({meant: [{one: it.plain()} for one, it in node.value.items()]})}"
            )
        self.checker.error("unknown-key", node.key, f'"{key}" is not a key of conditions', hint)

    def field(self, name: str, node: Node) -> list[Clause]:
        """The clauses that one field's value means."""
        checker = self.checker
        field = self.known_field(name, node.key)
        value = node.value
        if value is INVALID:
            return []
        if value is None:
            hint = f"add a value, or write {name}: {{exists: false}} if the field must be missing"
            if compared := _EQUALS.fullmatch(name):
                operator = readings.comparison(compared[2])
                bare = operator.get("eq", None)
                hint = f"write {as_yaml({compared[1]: operator if bare is None else bare})}"
            checker.error("bad-value", node.key, f"{name} in {self.what} has no value", hint)
            return []
        if isinstance(value, list):
            hint = f"write {as_yaml({name: {'in': node.plain()}})}"
            if any(isinstance(item.value, dict) for item in value):
                rows = [item.plain() for item in value]
                if any(not str(key).count(".") for row in rows for key in row or ()):
                    rows = [{name: row} for row in rows]
                hint = f"for alternatives, write {as_yaml({'any': rows})}"
            wanted = "one value, or operators such as {in: […]}"
            checker.wrong_type(node, f"{name} in {self.what}", wanted, hint)
            return []
        if not isinstance(value, dict):
            return self.operator(field, name, "eq", node, f"{name} in {self.what}", node.key)
        if not value:
            hint = f"use one of {', '.join(OPERATORS)}"
            checker.error("bad-value", node.at, f"{name} in {self.what} has no operator", hint)
        found: list[Clause] = []
        for operator, operand in value.items():
            if operator not in OPERATORS:
                meant = _MEANT.get(operator)
                hint = f'did you mean "{meant}"?' if meant else hint_for(operator, OPERATORS)
                if operator == "field":
                    hint = f"write {{eq: {{field: {operand.value}}}}}"
                elif operator == "not" and isinstance(operand.value, dict):
                    hint = f"write {as_yaml({'not': {name: operand.plain()}})}"
                elif meant:
                    shown = operand.plain()
                    if operator == "like" and isinstance(shown, str):
                        shown = wildcard(shown, "%")["matches"]
                    hint += f"; write {{{as_yaml({meant: shown})}}}"
                elif operator in DATE_MEASURES and name.startswith("customer."):
                    hint = f"write {name}.{operator}: …"
                elif operator in _STARTS and isinstance(operand.value, str):
                    hint = f"write {{{as_yaml(wildcard(f'{operand.value}*', '*'))}}}"
                elif operator == "between":
                    hint = _between(operand.plain())
                elif operator.isdigit() and operand.value is None:
                    hint = "numbers have no comma; write 10000 or 12.5"
                message = f'there is no operator "{operator}"'
                checker.error("unknown-operator", operand.key, message, hint)
                continue
            what = f"{operator} of {name} in {self.what}"
            found.extend(self.operator(field, name, operator, operand, what, node.key))
        self.range(name, found, node)
        return found

    def known_field(self, name: str, place: Place) -> Field | None:
        """The field; one that cannot exist gets an error."""
        checker = self.checker
        if name in OPERATORS:
            message = f'"{name}" is an operator; write a field here'
            checker.error("unknown-field", place, message, f"write field: {{{name}: …}}")
            return None
        try:
            field = parse_field(name)
        except UnknownField as error:
            message, _, hint = str(error).partition("; ")
            message = message.replace(repr(name), f'"{name}"')
            of_event = self.what.startswith("when of derived event ")
            if measured := meant_field(name):
                hint = f"write {measured}"
                if "_90d" in measured and "90d" not in name:
                    hint += "; 90d is the longest window"
            elif name in _SELECTED and not of_event:
                hint = (
                    "a condition is about the customer and the request; to choose messages, use "
                    f"{_SELECTED[name]} under exclude, allow_only or boost of a rule"
                )
            elif hint.startswith("did you mean") and "…" in hint:
                near = hint.removeprefix("did you mean ").partition(".")[0]
                hint += f" write {near}.{name.partition('.')[2]}"
            elif of_event and hint.startswith("fields start") and "." in name:
                hint = f"write event.{name.partition('.')[2]}"
            elif hint.startswith("fields start") and name.rpartition(".")[2] in (
                name,
                *DATE_MEASURES,
            ):
                hint = f'did you mean "{"event" if of_event else "customer"}.{name}"?'
            checker.error("unknown-field", place, message, hint)
            return None
        if doubt := doubtful_name(name):
            checker.warn(place, *doubt, "doubtful-comparison")
        if field.experiment is not None:
            self.experiment(field.experiment, place)
        elif field.score is not None:
            checker.reference(field.score, "scores", place)
        elif field.calendar is not None:
            checker.reference(field.calendar, "calendars", place)
        elif field.contacts_window:
            checker.contacts_named.append((name, field.channel or "", place))
        elif field.event_type is not None:
            checker.event_type(field.event_type, place)
            if field.channel is not None:
                checker.reference(field.channel, "channels", place)
            if field.beside is not None:
                checker.event_type(field.beside, place)
            elif ".since." in name:
                message = f"{name} is a measure of events of the type {field.event_type}"
                hint = "give the event another name to ask whether something came after it"
                checker.warn(place, message, hint)
        elif name == STATE_FIELD and self.what.startswith("when of state "):
            message = "a state cannot use customer.state, because the states decide it"
            checker.error("unknown-field", place, message, "use other fields")
        elif name == STATE_FIELD and not checker.names["states"] and checker.complete:
            message = "customer.state has no value, because there are no states"
            checker.error("unknown-field", place, message, "define them under states:")
        return field

    def experiment(self, name: str, place: Place) -> None:
        checker = self.checker
        if checker.reference(name, "experiments", place) and name not in checker.variants:
            message = f'experiment "{name}" has no variants, so experiment.{name} has no value'
            checker.error(
                "unknown-field", place, message, "give the experiment variants instead of a share"
            )

    def operator(
        self, field: Field | None, name: str, operator: str, node: Node, what: str, place: Place
    ) -> list[Clause]:
        """One clause, or none if the value is wrong; `place` is that of its field."""
        if isinstance(node.value, dict):
            value = read_operand(self.checker, field, operator, node, what, self.known_field)
        else:
            value = self.value(operator, what, node)
            if value is not INVALID and field is not None and not self.fits(field, operator, node):
                return []
            if field is not None and field.kind == "time" and operator != "exists":
                value = INVALID if value is INVALID else self.times(node, what)
        if value is INVALID:
            return []
        if field is not None and field.kind == "any":
            self.doubts(name, operator, node)
        clause = Clause(name, operator, value)
        self.checker.places.record_clause(clause, place, node)
        return [clause]

    def doubts(self, name: str, operator: str, node: Node) -> None:
        """Warns of values that are probably not what was meant."""
        for item in node.value if isinstance(node.value, list) else [node]:
            if doubt := doubtful(operator, item.value, item.quoted, name):
                self.checker.warn(item.at, *doubt, "doubtful-comparison")

    def value(self, operator: str, what: str, node: Node) -> Any:
        """The operand as the core needs it, or INVALID after an error."""
        checker, value = self.checker, node.value
        match operator:
            case "in" | "not_in":
                if not isinstance(value, list):
                    items = re.split("[,，、;；]\\s*", value) if isinstance(value, str) else [value]
                    hint = "write [a, b]" if value is None else f"write {as_yaml(items)}"
                    if isinstance(value, str) and value in checker.names["calendars"]:
                        hint = f"write {as_yaml({f'time.in.{value}': operator == 'in'})}"
                    checker.wrong_type(node, what, "a list", hint)
                    return INVALID
                if not value:
                    checker.error("bad-value", node.at, f"{what} is an empty list", "add a value")
                    return INVALID
                return self.constants(node, what)
            case "exists":
                if not isinstance(value, bool):
                    checker.wrong_type(node, what, "true or false")
                    return INVALID
                return value
            case "matches":
                return self.pattern(node, what)
            case "gt" | "gte" | "lt" | "lte":
                if isinstance(value, bool) or not isinstance(value, int | float | str):
                    checker.wrong_type(node, what, "a number or text")
                    return INVALID
                return value
            case _ if operator in VERSION_OPERATORS:
                return read_version(self.checker, operator, node, what)
            case "eq" | "ne" if isinstance(value, list):
                return self.constants(node, what)
        return self.constant(node, what)

    def times(self, node: Node, what: str) -> Any:
        """Times as fields have them; INVALID after an error."""
        items = node.value if isinstance(node.value, list) else [node]
        found = [self.checker.moment(item, what) for item in items]
        texts = tuple(time_text(one) for one in found if one is not None)
        if len(texts) < len(found):
            return INVALID
        return texts if isinstance(node.value, list) else texts[0]

    def constants(self, node: Node, what: str) -> Any:
        found = [self.constant(item, f"an item of {what}") for item in node.value]
        return INVALID if any(item is INVALID for item in found) else tuple(found)

    def constant(self, node: Node, what: str) -> Any:
        value = node.value
        if value is INVALID or (value is not None and not isinstance(value, dict | list)):
            return value
        hint = "write {exists: false} if the field must be missing" if value is None else ""
        if isinstance(value, dict) and "field" in value:
            hint = "for alternatives, write any: [{customer.a: {eq: {field: customer.b}}}, …]"
        self.checker.wrong_type(node, what, "text, a number, true or false", hint)
        return INVALID

    def pattern(self, node: Node, what: str) -> Any:
        value = node.value
        if not isinstance(value, str):
            self.checker.wrong_type(node, what, "a regular expression, in quotes")
            return INVALID
        try:
            size = compiled_pattern(value).programsize
        except re2.error as error:
            reason = error.args[0] if error.args else "unknown"
            text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
            message = f"{what} is not a valid regular expression: {text}"
            hint = "use the syntax of RE2, which has no look-around and no back-references"
            self.checker.error("bad-pattern", node.at, message, hint)
            return INVALID
        if size > LARGEST_PATTERN and not self.checker.again:
            message = (
                f"{what} is a regular expression that takes too long: it has {size:,} steps; "
                f"{LARGEST_PATTERN:,} are allowed"
            )
            hint = "use smaller numbers in {…}, or write any: [{…}, {…}] with a part in each"
            self.checker.error("bad-pattern", node.at, message, hint)
            return INVALID
        return value

    def fits(self, field: Field, operator: str, node: Node) -> bool:
        """Checks that the field can have values of this type."""
        if operator == "exists" or field.kind == "any":
            return True
        name, kind = field.name, field.kind
        types, usable, fix = _KINDS[kind]
        words = IN_WORDS[kind]
        if operator not in (*_EXACT, *usable):
            message = f'"{operator}" cannot be used with {name}, which is {words}'
            hint = f"use {', '.join(['eq', *usable])} or in"
            self.checker.error("wrong-type", node.key, message, hint)
            return False
        good = True
        for item in node.value if operator in ("in", "not_in") else [node]:
            value = item.value
            if not isinstance(value, types) or isinstance(value, bool) is not (kind == "boolean"):
                message = f"{name} is {words}; it cannot be {kind_of(value)}"
                hint = meant(operator, value, kind) or fix
                if name == "time.weekday" and (day := readings.weekday(str(value))):
                    hint = f"write {day}"
                elif name == "time.hour" and (clock := readings.clock(str(value))):
                    hint = f"write {int(clock[:2])}"
                self.checker.error("wrong-type", item.at, message, hint)
                good = False
            elif operator in _EXACT or (name == "time.date" and operator in _ORDERED):
                self.known_value(name, item)
        return good

    def known_value(self, name: str, node: Node) -> None:
        """Checks that a state, placement, variant, day or hour exists."""
        checker, value, place = self.checker, node.value, node.at
        match name:
            case "customer.state":
                if checker.names["states"]:
                    checker.reference(value, "states", place)
            case "placement":
                checker.reference(value, "placements", place)
            case "event.type":
                checker.event_type(value, place)
                not_derived(checker, value, place, "event.type cannot be", "event.type: ")
            case "time.weekday":
                if value not in WEEKDAYS:
                    message = f'time.weekday cannot be "{value}"'
                    meant = readings.weekday(value)
                    hint = f"write {meant}" if meant else hint_for(value, WEEKDAYS)
                    checker.error("unknown-name", place, message, hint)
            case "time.hour":
                if not 0 <= value <= 23 or value != int(value):
                    message = f"time.hour cannot be {in_words(value)}"
                    checker.error("bad-value", place, message, "write a whole number from 0 to 23")
            case "time.date":
                if not _is_date(value):
                    message = f'time.date cannot be "{value}", which is not a date'
                    found = readings.day(value)
                    hint = f'write "{found}"' if found else "write it like 2026-11-21"
                    first, dots, last = value.partition("..")
                    if dots and (start := readings.day(first)) and (end := readings.day(last)):
                        hint = f"write {{{as_yaml({'gte': start, 'lte': end})}}}"
                    checker.error("bad-value", place, message, hint)
            case _ if name.startswith("experiment."):
                variants = checker.variants.get(name.removeprefix("experiment."))
                if variants and value not in variants:
                    message = f'{name} cannot be "{value}"'
                    checker.error("unknown-name", place, message, hint_for(value, variants))

    def range(self, name: str, found: list[Clause], node: Node) -> None:
        """Checks that some value is between two bounds."""
        lows = [part for part in found if part.op in ("gt", "gte")]
        highs = [part for part in found if part.op in ("lt", "lte")]
        for low in lows:
            for high in highs:
                a, b = low.value, high.value
                if isinstance(a, str) is not isinstance(b, str) or low.operand or high.operand:
                    continue
                if a > b or (a == b and (low.op, high.op) != ("gte", "lte")):
                    message = f"no value is both {low.op} {in_words(a)} and {high.op} {in_words(b)}"
                    hint = "change one of them, or write any: [{…}, {…}] if one is enough"
                    self.checker.error(
                        "bad-value", node.at, f"{name} in {self.what}: {message}", hint
                    )


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
