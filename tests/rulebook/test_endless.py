"""Journeys that go on without end in no time are found before they are live."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from decision.core.document import Document
from decision.core.event_effects import Occurrence
from decision.core.journeys.advance import after_ask
from decision.core.journeys.compiled import Journeys
from decision.core.journeys.proceed import proceed
from decision.core.journeys.react import look, react
from decision.core.policy_builder import compile_policy
from decision.rulebook.reader import load_files

SHOP = """\
settings: {timezone: UTC, currency: EUR}
purposes: {service: {consent: not_required}}
channels: {push: {}}
placements: {crm: {channels: [push], delivery: gateway}}
messages: {hello: {purpose: service, channels: [push]}}
"""
LOOPS = {"endless-loop", "possible-loop"}


def codes(rules: str) -> set[str]:
    """Which of both the checker says of journeys."""
    found = load_files({"rules.yaml": SHOP + rules})
    assert {one.code for one in found.diagnostics if one.severity == "error"} <= LOOPS, found
    return {one.code for one in found.diagnostics} & LOOPS


TOGGLES = """\
journeys:
  x: {start: {segment: x}, again: always, steps: {a: {set: {customer.segment.x: false}}, b: {set: {customer.segment.y: true}}}}
  y: {start: {segment: y}, again: always, steps: {a: {set: {customer.segment.y: false}}, b: {set: {customer.segment.x: true}}}}
"""


def test_all_members_of_a_circle_are_named_with_their_places() -> None:
    said = load_files({"rules.yaml": SHOP + TOGGLES}).diagnostics
    (found,) = [one for one in said if one.code in LOOPS]
    assert (found.code, found.line) == ("endless-loop", 7)
    for place in ("x.a (rules/rules.yaml:7)", "y.b (rules/rules.yaml:8)"):
        assert place in found.message
    assert found.hint.startswith("put a wait between them")


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("steps: {a: {set: {customer.segment.x", "steps: {w: {ask: crm}, a: {set: {customer.segment.x", {"endless-loop"}),
        ("again: always, steps: {a: {set: {customer.segment.x", "again: 1h, steps: {a: {set: {customer.segment.x", set()),
        ("again: always, steps: {a: {set: {customer.segment.x", "steps: {a: {set: {customer.segment.x", set()),
        ("steps: {a: {set: {customer.segment.x", "steps: {w: {wait: 1h}, a: {set: {customer.segment.x", set()),
        ("b: {set: {customer.segment.y: true}}}", "b: {set: {customer.segment.y: true}}, w: {wait: 1h}}", set()),
        ("a: {set: {customer.segment.x: false}}, ", "", set()),  # never becomes true again
        ("{segment: x}", "{segment: x}, when: {customer.segment.y: true}", set()),
        ("{segment: x}", "{segment: x}, when: {customer.segment.y: false}", {"endless-loop"}),
        ("{segment: x}", "{segment: x}, when: {customer.tier: gold}", {"endless-loop"}),
        ("{segment: x}", "{when: {customer.segment.x: true}}", {"endless-loop"}),
        ("{segment: x}", "{when: {customer.state: new}}", set()),  # there are no states
    ],
)  # fmt: skip
def test_what_surely_breaks_a_circle_is_seen(before: str, after: str, found: set[str]) -> None:
    rules = TOGGLES.replace(before, after, 1)
    assert rules != TOGGLES
    if "customer.state" in rules:
        rules += "states: {new: {when: {customer.tier: new}}, old: {}}\n"
    assert codes(rules) == found


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        # a branch reads what the circle itself sets
        ("j: {start: {event: go}, steps: {a: {set: {customer.n: 1}}, b: {branch: [{when: {customer.n: 2}, go: end}, {go: a}]}, end: {end: finished}}}", {"endless-loop"}),
        ("j: {start: {event: go}, steps: {a: {set: {customer.n: 1}}, b: {branch: [{when: {customer.n: 1}, go: end}, {go: a}]}, end: {end: finished}}}", set()),
        ("j: {start: {event: go}, steps: {a: {set: {customer.n: 1}}, b: {branch: [{when: {customer.m: 1}, go: end}, {go: a}]}, end: {end: finished}}}", {"endless-loop"}),
        ("j: {start: {event: go}, goal: {when: {customer.n: 1}}, steps: {a: {set: {customer.n: 1}}, b: {ask: crm, go: a}}}", set()),
        # a journey that starts itself
        ("j: {start: {when: {customer.n: 1}}, again: always, steps: {a: {set: {customer.n: 0}}, b: {ask: crm}, c: {set: {customer.n: 1}}}}", {"endless-loop"}),
        ("j: {start: {when: {customer.n: 1}}, again: always, steps: {a: {set: {customer.n: 0}}, c: {set: {customer.n: 1}}}}", set()),
        # two that wait for each other
        ("i: {start: {event: go}, steps: {w: {wait_for: {when: {customer.i: true}, within: 9d}, then: a, else: z}, a: {set: {customer.i: false}}, b: {set: {customer.j: true}, go: w}, z: {end: gone}}}\n"
         "  j: {start: {event: go}, steps: {w: {wait_for: {when: {customer.j: true}, within: 9d}, then: a, else: z}, a: {set: {customer.j: false}}, b: {set: {customer.i: true}, go: w}, z: {end: gone}}}", {"endless-loop"}),
        # by way of a rule, nobody knows
        ("x: {start: {when: {customer.hot: true}}, again: always, steps: {a: {set: {customer.n: 0}}, b: {ask: crm}, c: {set: {customer.n: 1}}}}\nrules: {hot: {when: {customer.n: 1}, set: {customer.hot: true}}}", {"possible-loop"}),
        # what comes of the ask is reported, which starts it once more
        ("j: {start: {event: message.sent}, again: always, steps: {a: {ask: crm}}}", {"possible-loop"}),
        ("j: {start: {moment: out}, again: always, steps: {a: {ask: crm}}}\nmoments: {out: {pattern: [{event: message.failed}], within: 1d}}", {"possible-loop"}),
        ("j: {start: {moment: out}, again: always, steps: {a: {ask: crm}}}\nmoments: {out: {pattern: [{event: message.failed}, {event: call}], within: 1d}}", set()),
        ("j: {start: {moment: out}, again: always, steps: {a: {ask: crm}}}\nmoments: {out: {pattern: [{event: message.sent}, {not: purchase}], within: 1d}}", set()),
        ("j: {start: {event: told}, again: always, steps: {a: {ask: crm}}}\nevents: {told: {of: message.sent}}", {"possible-loop"}),
        ("j: {start: {event: message.clicked}, again: always, steps: {a: {ask: crm}}}", set()),
        ("j: {start: {event: message.sent}, steps: {a: {ask: crm}}}", set()),
        ("j: {start: {event: go}, steps: {a: {ask: crm}, w: {wait_for: {event: message.sent, within: 1d}, then: a, else: z}, z: {end: finished}}}", {"possible-loop"}),
        # a branch reads what asks lead to
        ("j: {start: {event: go}, steps: {a: {ask: crm}, b: {branch: [{when: {contacts.push.count_1d: {gte: 3}}, go: z}, {go: a}]}, z: {end: finished}}}", {"possible-loop"}),
        # each customer is always sent along the same way
        ("j: {start: {event: go}, steps: {a: {split: {seed: s, variants: {l: 50%, r: 50%}}, go: {l: a, r: z}}, z: {end: finished}}}", {"endless-loop"}),
    ],
)  # fmt: skip
def test_circles_of_every_kind(rules: str, found: set[str]) -> None:
    assert codes(f"journeys:\n  {rules}\n") == found


# --- small journeys at random, and what they really do ---

NAMES = ("one", "two", "three")
VALUES = (True, False)
FIELDS = ("p", "q")


@st.composite
def conditions(draw: st.DrawFn) -> Any:
    field, value = draw(st.sampled_from(FIELDS)), draw(st.sampled_from(VALUES))
    clause = {f"customer.{field}": value}
    kind = draw(st.sampled_from(["one", "one", "one", "not", "both", "any"]))
    other = {f"customer.{draw(st.sampled_from((*FIELDS, 'r')))}": draw(st.sampled_from(VALUES))}
    return {
        "one": clause,
        "not": {"not": clause},
        "both": {"all": [clause, other]},
        "any": {"any": [clause, other]},
    }[kind]


@st.composite
def journeys(draw: st.DrawFn) -> dict[str, Any]:
    found = {}
    for name in NAMES[: draw(st.integers(1, 3))]:
        count = draw(st.integers(1, 4))
        steps: dict[str, Any] = {}
        targets = st.sampled_from([f"s{number}" for number in range(count)])
        for number in range(count):
            kind = draw(st.sampled_from(["set", "set", "set", "branch", "ask", "wait", "for"]))
            step: dict[str, Any]
            if kind == "set":
                step = {
                    "set": {
                        f"customer.{draw(st.sampled_from(FIELDS))}": draw(st.sampled_from(VALUES))
                    }
                }
            elif kind == "branch":
                step = {"branch": [{"when": draw(conditions()), "go": draw(targets)}]}
            elif kind == "ask":
                step = {"ask": "crm"}
            elif kind == "wait":
                step = {"wait": "1d"}
            else:
                step = {
                    "wait_for": {"when": draw(conditions()), "within": "1d"},
                    "then": draw(targets),
                    "else": draw(targets),
                }
            if kind not in ("branch", "for") and draw(st.integers(0, 3)) == 0:
                step["go"] = draw(targets)
            steps[f"s{number}"] = step
        starts = st.one_of(
            st.just({"event": f"go-{name}"}), conditions().map(lambda when: {"when": when})
        )
        found[name] = {"start": draw(starts), "again": "always", "steps": steps}
        if draw(st.integers(0, 4)) == 0:
            found[name]["goal"] = {"when": draw(conditions())}
        if draw(st.integers(0, 4)) == 0:
            found[name]["when"] = draw(conditions())
    return found


def loops(journeys: Journeys) -> bool:
    """Whether some customer goes on without end in no time: all are tried, who change twice."""
    changed = product((*VALUES, None), (*VALUES, None))
    return any(
        ends_as_loop(journeys, [{"p": p, "q": q, "r": r}, {"p": also_p, "q": also_q, "r": r}], name)
        for name in journeys.by_name
        for p, q, r, (also_p, also_q) in product(VALUES, VALUES, VALUES, changed)
    )


def ends_as_loop(journeys: Journeys, worlds: list[dict[str, bool | None]], name: str) -> bool:
    day = 86_400_000_000
    document, now = Document(customer_id="mei", exists=True), day
    for number, world in enumerate((worlds[0], *worlds)):
        before = look(journeys, document, now)
        document.attributes = {name: one for name, one in world.items() if one is not None}
        react(journeys, document, None, now, before)
        if endless(journeys, document, now):
            return True
        before = look(journeys, document, now)
        react(
            journeys, document, Occurrence(id=f"e-{number}", type=f"go-{name}", at=now), now, before
        )
        if endless(journeys, document, now):
            return True
        now += day
        if endless(journeys, document, now):
            return True
    return False


def endless(journeys: Journeys, document: Document, now: int) -> bool:
    return any(record.ended == "loop" for record in settled(journeys, document, now))


def settled(journeys: Journeys, document: Document, now: int) -> Iterator[Any]:
    for _ in range(1_000):
        progress = proceed(journeys, document, now)
        yield from progress.records
        if progress.asks is None:
            return
        yield after_ask(journeys, document, progress.asks, "selected", None, now, progress.asking)
    raise AssertionError("it does not come to an end")


@settings(max_examples=30, deadline=None)
@given(journeys())
def test_what_loops_is_found_and_what_is_refused_does_loop(made: dict[str, Any]) -> None:
    found = load_files({"rules.yaml": SHOP + f"journeys: {json.dumps(made)}\n"})
    errors = {one.code for one in found.diagnostics if one.severity == "error"}
    if errors - LOOPS:
        return
    said = {one.code for one in found.diagnostics} & LOOPS
    note(json.dumps(made))
    if loops(compiled(made)):
        assert said, "not found"
    elif not any(is_hard_to_reach(one) for one in made.values()):
        assert "endless-loop" not in said, "it does not loop"


def is_hard_to_reach(journey: dict[str, Any]) -> bool:
    """Whether there may be steps where no run comes to, whatever a customer is like."""
    kinds = {kind for step in journey["steps"].values() for kind in step}
    return bool(journey.keys() & {"goal", "when"} or kinds & {"wait", "wait_for"})


def compiled(made: dict[str, Any]) -> Journeys:
    """The same journeys, as if they had been in force before."""
    found = load_files({"rules.yaml": SHOP + f"journeys: {json.dumps(made)}\n"}, again=True)
    assert found.definition is not None, found.diagnostics
    journeys = compile_policy(found.definition).journeys
    assert journeys is not None
    return journeys
