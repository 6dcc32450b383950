"""`steps:` of a journey."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, get_args

from decision.core.fields import WEEKDAYS
from decision.core.journeys.counts import REFUSALS
from decision.core.journeys.definition import (
    AnyStep,
    Ask,
    Branch,
    End,
    EndReason,
    SetAttributes,
    Split,
    Trigger,
    Wait,
    WaitFor,
    WaitUntil,
    WaitUntilDate,
)
from decision.rulebook import readings
from decision.rulebook.checker import Checker
from decision.rulebook.conditions import read_when
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.journeys.hints import as_wait
from decision.rulebook.journeys.times import read_date_field, read_shift, read_wait
from decision.rulebook.journeys.triggers import trigger_of
from decision.rulebook.mapping_reader import MappingReader
from decision.rulebook.quiet_hours import read_calendar_name, read_weekdays
from decision.rulebook.readings import as_yaml
from decision.rulebook.rules import read_changes
from decision.rulebook.sections import read_variants
from decision.rulebook.selectors import read_filter
from decision.rulebook.yaml_source import Node

KINDS: Final = ("ask", "wait", "wait_for", "branch", "split", "set", "end")
_CALCULATED: Final = ("now", "today", "now()", "+1", "-1")
_ENDS: Final = ("end", "exit", "stop", "finish", "finished", "done")
_OTHER_KEYS: Final = ("of", "hold", "then", "else", "go")
_TAKEN: Final = frozenset(get_args(EndReason)) - {"finished"} | REFUSALS
"""Reasons by which runs end without an `end` step."""


class StepReader:
    """Reads the steps of one journey, by name as `written`."""

    def __init__(self, checker: Checker, written: dict[str, Node]) -> None:
        self.checker = checker
        self.names = list(written)
        self.ends = [
            name
            for name, node in written.items()
            if isinstance(node.value, dict) and "end" in node.value
        ]

    def step(self, name: str, node: Node, what: str) -> AnyStep | None:
        """One step."""
        if node.value is None:
            hint = "write what it does, such as {ask: outbound} or {wait: 2h}"
            self.checker.wrong_type(node, what, "a mapping of keys and values", hint)
            return None
        with self.checker.entry(node, what) as entry:
            given = node.value if isinstance(node.value, dict) else {}
            kinds = [kind for kind in KINDS if kind in given]
            for kind in KINDS:
                entry.get(kind)
            if len(kinds) > 1:
                message = f"{what} has both {kinds[0]} and {kinds[1]}"
                hint = "write a step for each"
                self.checker.error("conflict", given[kinds[1]].key, message, hint)
                for key in _OTHER_KEYS:
                    entry.get(key)
                return None
            if not kinds:
                if isinstance(node.value, dict):
                    message = f"{what} does nothing"
                    entry.lacks(message, f"add one of {', '.join(KINDS)}", *KINDS)
                return None
            base = {"name": name, "source": node.key.label}
            return _READERS[kinds[0]](self, entry, base)

    def go(self, entry: MappingReader, key: str = "go") -> str | None:
        """The name of the step that a key leads to."""
        return entry.read(key, self._target, None)

    def _target(self, checker: Checker, node: Node, what: str) -> str | None:
        name = checker.text(node, what)
        if name is not None and name not in self.names:
            message = f'there is no step "{name}"'
            hint = hint_for(name, self.names)
            if name in _ENDS and (end := next(iter(self.ends), None)):
                hint = f"write {end}"
            elif name in _ENDS:
                hint = f"add a last step {name}: {{end: finished}}"
            checker.error("unknown-name", node.at, message, hint)
            return None
        return name

    def ask(self, entry: MappingReader, base: dict[str, Any]) -> Ask:
        return Ask(
            **base,
            placement=entry.read("ask", _placement, ""),
            of=entry.read("of", read_filter, None),
            hold=entry.read("hold", read_wait, 0),
            go=self.go(entry),
        )

    def wait(self, entry: MappingReader, base: dict[str, Any]) -> AnyStep | None:
        node, what, go = entry.node.value["wait"], entry.label("wait"), self.go(entry)
        if not isinstance(node.value, dict):
            if isinstance(node.value, str) and (meant := as_wait(node.value)):
                self.checker.wrong_type(node, what, "a duration such as 2h", f"write {meant}")
                return None
            lasts = read_wait(self.checker, node, what)
            return None if lasts is None else Wait(**base, lasts=lasts, go=go)
        with self.checker.entry(node, what) as inner:
            until = inner.need("until")
            if until is None:
                for key in ("on", "in", "at", "before", "after"):
                    inner.get(key)
                return None
            label = inner.label("until")
            if _is_date(until):
                field = read_date_field(self.checker, until, label, "customer", "event")
                minute = inner.read("at", Checker.clock, 0)
                shift = read_shift(inner)
                if field is None:
                    return None
                return WaitUntilDate(**base, field=field, minute=minute, shift=shift, go=go)
            weekdays = inner.read("on", read_weekdays, ())
            return WaitUntil(
                **base,
                minute=_time_of_day(self.checker, until, label),
                weekdays=weekdays if len(weekdays) < len(WEEKDAYS) else (),
                calendar=inner.read("in", read_calendar_name, None),
                go=go,
            )

    def wait_for(self, entry: MappingReader, base: dict[str, Any]) -> WaitFor | None:
        node = entry.node.value["wait_for"]
        go = self.go(entry)
        then, otherwise = self.go(entry, "then"), self.go(entry, "else")
        with self.checker.entry(node, entry.label("wait_for")) as inner:
            trigger = trigger_of(inner)
            within = inner.require("within", read_wait, 0)
        if trigger is None:
            return None
        return WaitFor(
            **base,
            trigger=trigger,
            within=within,
            then=then,
            otherwise=otherwise,
            go=go,
        )

    def branch(self, entry: MappingReader, base: dict[str, Any]) -> Branch:
        return Branch(**base, ways=entry.read("branch", self._ways, ()), go=self.go(entry))

    def _ways(self, checker: Checker, node: Node, what: str) -> tuple[tuple[Trigger, str], ...]:
        if not isinstance(node.value, list) or not node.value:
            hint = "write [{when: {customer.tier: gold}, go: vip}, {go: other}]"
            if isinstance(node.value, dict) and node.value.keys() <= {"when", "go"}:
                hint = f"write [{{{as_yaml(node.plain())}}}]"
            checker.wrong_type(node, what, "a list of conditions, each with go", hint)
            return ()
        found = []
        for item in node.value:
            with checker.entry(item, f"a way of {what}") as entry:
                when = read_when(entry)
                go = entry.require("go", self._target, None)
            sources = checker.places.clause_sources(when)
            way = Trigger(name="", source=item.at.label, when=when, clause_sources=sources)
            if go is not None:
                found.append((way, go))
        return tuple(found)

    def split(self, entry: MappingReader, base: dict[str, Any]) -> Split | None:
        node = entry.node.value["split"]
        if shares := _shares(node):
            hint = f"write {{seed: {base['name']}-1, variants: {{{as_yaml(shares)}}}}}"
            self.checker.wrong_type(node, entry.label("split"), "a seed and variants", hint)
            entry.get("go")
            return None
        with self.checker.entry(node, entry.label("split")) as inner:
            seed = inner.require("seed", Checker.text, "")
            variants = inner.require("variants", read_variants, {})
        ways = entry.require("go", self._by_variant, {}, list(variants))
        return Split(**base, seed=seed, variants=variants, ways=ways)

    def _by_variant(
        self, checker: Checker, node: Node, what: str, variants: list[str]
    ) -> dict[str, str]:
        if not isinstance(node.value, dict):
            shown = ", ".join(f"{name}: {self.names[-1]}" for name in variants)
            checker.wrong_type(node, what, "a mapping of variants and steps", f"write {{{shown}}}")
            return {}
        found: dict[str, str] = {}
        for variant, item in node.value.items():
            if variants and variant not in variants:
                message = f'{what} cannot have "{variant}", which is no variant'
                checker.error("unknown-name", item.key, message, hint_for(variant, variants))
            elif (step := self._target(checker, item, f"{variant} in {what}")) is not None:
                found[variant] = step
        for variant in variants:
            if variant not in node.value:
                message = f'{what} does not say where variant "{variant}" goes'
                hint = f"add {variant}: {self.names[-1]}"
                checker.error("conflict", node.key, message, hint)
        return found

    def set(self, entry: MappingReader, base: dict[str, Any]) -> SetAttributes:
        changes = entry.read("set", read_changes, {})
        for field, value in changes.items():
            if value in _CALCULATED:
                place = entry.node.value["set"].value[field].at
                message = f'{entry.what} sets {field} to the text "{value}"'
                hint = "nothing is calculated: write a value; when it was is journey.….since"
                self.checker.warn(place, message, hint, "doubtful-value")
        values = {field.removeprefix("customer."): value for field, value in changes.items()}
        return SetAttributes(**base, values=values, go=self.go(entry))

    def end(self, entry: MappingReader, base: dict[str, Any]) -> End:
        return End(**base, reason=entry.read("end", _reason, "finished"), go=self.go(entry))


def _time_of_day(checker: Checker, node: Node, what: str) -> int:
    """Local minutes; what is no time gets a hint by what it is."""
    value, hint = node.value, ""
    if isinstance(value, str) and not readings.clock(value):
        if readings.day(value):
            hint = (
                "a fixed day is one of a calendar, calendars: "
                f'{{day: {{dates: {readings.day(value)}}}}}: write {{until: "09:00", in: day}}'
            )
        elif meant := as_wait(value):
            hint = f"write {meant}"
        elif value in checker.names["calendars"]:
            hint = f'write {{until: "09:00", in: {value}}}'
        elif re.fullmatch(r"[A-Za-z][\w-]*", value):
            hint = f"write customer.{value}"
        elif value.startswith(("events.", "context.", "journey.")):
            hint = "write a date of the customer, such as customer.renewal"
    if hint:
        message = f'{what}: "{value}" is neither a time of day nor a date of the customer'
        checker.error("bad-value", node.at, message, hint)
        return 0
    return checker.clock(node, what) or 0


def _shares(node: Node) -> dict[str, Any]:
    """Variants that stand where `seed` and `variants` are needed."""
    value = node.plain()
    if not isinstance(value, dict) or value.keys() & {"seed", "variants"}:
        return {}
    return (
        value if value and all(isinstance(one, str | int | float) for one in value.values()) else {}
    )


def _is_date(until: Node) -> bool:
    """Whether a wait is for a date, and not for a time of day, even if it is written wrongly."""
    value = until.value
    return isinstance(value, str) and value.partition(".")[0] in ("customer", "event")


def _placement(checker: Checker, node: Node, what: str) -> str | None:
    name = node.value
    if isinstance(name, str) and name not in checker.names["placements"]:
        meant = ""
        if name in checker.names["messages"]:
            known = next(iter(checker.names["placements"]), "outbound")
            meant = f"write ask: {known}, of: {{message: {name}}}"
        checker.reference(name, "placements", node.at, meant)
        return None
    return checker.name(node, what, "placements")


def _reason(checker: Checker, node: Node, what: str) -> str | None:
    if node.value is None or isinstance(node.value, bool):
        checker.wrong_type(node, what, "a reason, which is a word", "write finished")
        return None
    name = checker.text(node, what)
    if name is None:
        return None
    if name in _TAKEN:
        message = f'{what} cannot be "{name}", which says that a run ended in another way'
        checker.error("bad-name", node.at, message, "write finished, or a word of your own")
        return None
    checker.usable_name(name, node.at, "reason")
    return name


_READERS: Final[
    dict[str, Callable[[StepReader, MappingReader, dict[str, Any]], AnyStep | None]]
] = {
    "ask": StepReader.ask,
    "wait": StepReader.wait,
    "wait_for": StepReader.wait_for,
    "branch": StepReader.branch,
    "split": StepReader.split,
    "set": StepReader.set,
    "end": StepReader.end,
}
