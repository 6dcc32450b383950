"""Which step takes the runs of one that is gone: what `check --against` proposes as `moved`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from decision.core.journeys.definition import (
    AnyStep,
    End,
    Journey,
    Wait,
    WaitFor,
    WaitUntil,
    WaitUntilDate,
)

_WAITS: Final = (Wait, WaitUntil, WaitUntilDate)


def taking_over(before: Journey, journey: Journey, gone: str) -> str | None:
    """The step of `journey` in which runs go on that wait in a step it no longer has.

    That is the step that has got another name: one of the same kind, new, between the same
    neighbours. Else it is the first step that a run would have come to after the one that is gone,
    and that is still there. None: that one was not there `before`, or it was the last.

    >>> from decision.core.journeys.definition import Trigger
    >>> def steps(*names):
    ...     found = tuple(Wait(name=one, lasts=1) for one in names)
    ...     return Journey(name="j", start=Trigger(name=""), steps=found)
    >>> taking_over(steps("a", "b", "c", "d"), steps("a", "c", "d"), "b")
    'c'
    >>> taking_over(steps("a", "b", "c"), steps("a", "b2", "c"), "b")
    'b2'
    >>> taking_over(steps("a", "b"), steps("a"), "b")
    """
    old = {step.name: step for step in before.steps}
    new = {step.name: step for step in journey.steps}
    if gone not in old:
        return None
    return _renamed(old, new, gone) or _after(before, old, new, gone)


def _renamed(old: Mapping[str, AnyStep], new: Mapping[str, AnyStep], gone: str) -> str | None:
    """The new step at the same place; None where there is none, or several could be it."""
    kind = _kind(old[gone])
    left = [name for name in _between(old, new, gone) if _kind(old[name]) is kind]
    names = list(old)
    last = next((one for one in reversed(names[: names.index(gone)]) if one in new), None)
    at = list(new).index(last) + 1 if last is not None else 0
    come: list[str] = []
    for name in list(new)[at:]:
        if name in old:
            break
        if _kind(new[name]) is kind:
            come.append(name)
    same = [name for name in come if _does(new[name]) == _does(old[gone])]
    if len(same) == 1:
        return same[0]
    return come[left.index(gone)] if len(come) == len(left) else None


def _between(old: Mapping[str, AnyStep], new: Mapping[str, AnyStep], gone: str) -> list[str]:
    """The steps that are gone, beside this one, between the nearest two that are not."""
    found: list[str] = []
    for name in old:
        if name not in new:
            found.append(name)
        elif gone in found:
            break
        else:
            found = []
    return found


def _after(
    before: Journey, old: Mapping[str, AnyStep], new: Mapping[str, AnyStep], gone: str
) -> str | None:
    names, name, seen = list(old), gone, set[str]()
    while name not in new:
        step = old[name]
        if name in seen or isinstance(step, End):
            return None
        seen.add(name)
        go = step.otherwise if isinstance(step, WaitFor) else step.go
        at = names.index(name) + 1
        if go is None and at == len(names):
            return None
        name = names[at] if go is None else go
    return name


def _kind(step: AnyStep) -> type | tuple[type, ...]:
    return _WAITS if isinstance(step, _WAITS) else type(step)


def _does(step: AnyStep) -> tuple[object, ...]:
    """What a step is, but for its name and place."""
    fields = step.__struct_fields__
    said = ("name", "source", "clause_sources", "trigger")
    return type(step), *(getattr(step, one) for one in fields if one not in said)
