"""Which step of a journey leads to which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from decision.core.conditions import ALWAYS
from decision.core.journeys.definition import AnyStep, Branch, End, Journey, Split, WaitFor

T = TypeVar("T")

Graph = dict[str, tuple[str, ...]]
"""Step → the steps that may follow it."""


def graph_of(journey: Journey) -> Graph:
    """The steps that may follow each step."""
    then = following(journey)
    return {
        step.name: tuple(dict.fromkeys(_after(step, then[step.name]))) for step in journey.steps
    }


def _after(step: AnyStep, following: str | None) -> Iterable[str]:
    targets: list[str | None]
    match step:
        case End():
            targets = []
        case WaitFor(then=then, otherwise=otherwise):
            targets = [then or following, otherwise or following]
        case Branch(ways=ways):
            taken = first_always(step)
            targets = [go for _, go in ways[: taken + 1]]
            targets += [following] if taken == len(ways) else []
        case Split(variants=variants, ways=split):
            targets = [split.get(name, following) for name in variants]
        case _:
            targets = [following]
    return (target for target in targets if target is not None)


def first_always(branch: Branch) -> int:
    """Which way of a branch is the first without a condition; how many there are if none is."""
    places = (place for place, (way, _) in enumerate(branch.ways) if way.when == ALWAYS)
    return next(places, len(branch.ways))


def following(journey: Journey) -> dict[str, str | None]:
    """Step → the one that comes after it, if nothing leads elsewhere."""
    names = [step.name for step in journey.steps]
    after = zip(journey.steps, [*names[1:], None], strict=True)
    return {step.name: step.go or then for step, then in after}


def reached(graph: Mapping[T, Iterable[T]], starts: Iterable[T]) -> set[T]:
    """The steps that can be reached, with those that it starts from."""
    found, todo = set[T](), list(starts)
    while todo:
        step = todo.pop()
        if step not in found:
            found.add(step)
            todo.extend(graph.get(step, ()))
    return found


def circle(graph: Mapping[str, Iterable[str]], among: Iterable[str]) -> list[str]:
    """The steps of a way that leads back to its first one, within some steps; or none.

    >>> circle({"a": ["b"], "b": ["c", "a"], "c": []}, "abc")
    ['a', 'b']
    """
    kept = dict.fromkeys(among)
    for first in kept:
        todo = [[first]]
        seen: set[str] = set()
        while todo:
            way = todo.pop()
            for step in graph.get(way[-1], ()):
                if step == first:
                    return way
                if step in kept and step not in seen:
                    seen.add(step)
                    todo.append([*way, step])
    return []
