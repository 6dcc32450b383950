"""`journeys:`: what starts one, its steps, and what ends it."""

from __future__ import annotations

import re
from typing import Any, cast

from decision.core.clock import DAY
from decision.core.journeys.definition import (
    AnyStep,
    DateStart,
    Journey,
    Limits,
    ScheduleStart,
    Start,
)
from decision.rulebook.checker import Checker
from decision.rulebook.conditions import read_when
from decision.rulebook.diagnostics import hint_for
from decision.rulebook.journeys.starts import NOTHING, read_start
from decision.rulebook.journeys.steps import StepReader
from decision.rulebook.journeys.times import read_again, read_limits, read_skip_after
from decision.rulebook.journeys.triggers import read_trigger
from decision.rulebook.readings import as_yaml
from decision.rulebook.yaml_source import Node


def read_journey(checker: Checker, name: str, node: Node) -> Journey:
    """One of `journeys:`."""
    with checker.entry(node, f'journey "{name}"') as entry:
        written = entry.get("skip_after")
        skip_after: int | None = DAY
        if written is not None:
            skip_after = read_skip_after(checker, written, entry.label("skip_after"))
        names = _names(entry.need("steps"))
        start = cast(Start, entry.require("start", read_start, NOTHING))
        again = entry.read("again", read_again, None)
        if entry.get("again") is None and isinstance(start, DateStart | ScheduleStart):
            again = 0  # each time it comes
        return Journey(
            name=name,
            source=node.key.label,
            start=start,
            when=(when := read_when(entry)),
            clause_sources=checker.places.clause_sources(when),
            key=entry.read("key", _key, None),
            again=again,
            goal=entry.read("goal", read_trigger, None),
            stop=entry.read("stop", read_trigger, None),
            skip_after=skip_after,
            limits=entry.read("limits", read_limits, Limits()),
            moved=entry.read("moved", _moved, {}, names),
            steps=entry.read("steps", _steps, (), name),
        )


def _names(node: Node | None) -> list[str]:
    return list(node.value) if node is not None and isinstance(node.value, dict) else []


def _steps(checker: Checker, node: Node, what: str, journey: str) -> tuple[AnyStep, ...]:
    if not isinstance(node.value, dict) or not node.value:
        hint = _with_names(node.plain())
        checker.wrong_type(node, what, "a mapping of names and steps", hint)
        return ()
    reader = StepReader(checker, node.value)
    found = []
    for name, item in node.value.items():
        checker.usable_name(name, item.key, "step")
        found.append(reader.step(name, item, f'step "{name}" of journey "{journey}"'))
    return tuple(step for step in found if step is not None)


def _with_names(value: Any) -> str:
    """A hint for steps that were written as a list."""
    named: dict[str, Any] = {}
    for one in value if isinstance(value, list) else ():
        if isinstance(one, dict) and isinstance(name := one.get("name", one.get("id")), str):
            named[name] = {key: kept for key, kept in one.items() if key not in ("name", "id")}
        elif isinstance(one, dict) and len(one) == 1 and isinstance(next(iter(one.values())), dict):
            named |= one
        elif isinstance(one, dict):
            named[f"step-{len(named) + 1}"] = one
    fix = as_yaml(named) if named else "hello: {ask: outbound}"
    return f"write {{{fix}}}" if len(fix) <= 100 else "write a name before each: hello: {ask: …}"


def _key(checker: Checker, node: Node, what: str) -> str | None:
    name = checker.text(node, what)
    if name is not None and (not name.startswith("event.") or name in ("event.", "event.type")):
        message = f'{what} cannot be "{name}": it is a property of the event that starts a run'
        hint = "write a property such as event.cart_id; left out, a customer has one run at a time"
        if re.fullmatch(r"[A-Za-z][\w-]*", name):
            hint = f"write event.{name}"
        checker.error("bad-value", node.at, message, hint)
        return None
    return name


def _moved(checker: Checker, node: Node, what: str, names: list[str]) -> dict[str, str]:
    if not isinstance(node.value, dict):
        hint = "write {old: new}, with the step that is gone and the one that takes its runs"
        checker.wrong_type(node, what, "a mapping of steps", hint)
        return {}
    found: dict[str, str] = {}
    for old, item in node.value.items():
        new = checker.text(item, f"{old} in {what}")
        if old in names:
            message = f'{what} moves runs from step "{old}", which is still there'
            checker.error("conflict", item.key, message, "delete the line, or the step")
        elif new is not None and new not in (*names, *node.value):
            checker.error(
                "unknown-name", item.at, f'there is no step "{new}"', hint_for(new, names)
            )
        elif new is not None:
            found[old] = new
    return found
