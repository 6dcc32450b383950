"""A journey as boxes and arrows, whoever draws them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec

from decision.core.journeys.definition import (
    AnyStep,
    Ask,
    Branch,
    End,
    Journey,
    SetAttributes,
    Split,
    WaitFor,
)
from decision.core.journeys.words import (
    condition_words,
    start_words,
    step_words,
    trigger_words,
)
from decision.core.said import Said, Say, lasting
from decision.rulebook.journeys.graph import first_always

Kind = Literal["start", "ask", "wait", "branch", "set", "end"]

_KINDS: Final[Mapping[type, Kind]] = {
    Ask: "ask",
    Branch: "branch",
    Split: "branch",
    SetAttributes: "set",
    End: "end",
}
_FINISH: Final = "\0finish"
_LONGEST: Final = 120
"""Characters of a text; a longer one ends in `…`."""


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """A step, or the start (the first box), or an end that the file does not write."""

    kind: Kind
    title: str
    lines: tuple[str, ...] = ()


class Arrow(msgspec.Struct, frozen=True):
    """A way from one box to another, by their places in the chart."""

    source: int
    target: int
    label: str = ""


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """`ends` are what ends a run at any step: reason → what it is."""

    name: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    ends: dict[str, str]


def chart_of(journey: Journey, waiting: Mapping[str, int] | None = None, say: Say = str) -> Chart:
    """The chart of a journey; with how many runs wait in each step, where that is given.

    `say` says texts in another language.
    """
    names = ["", *(step.name for step in journey.steps)]
    following: list[str] = [step.name for step in journey.steps[1:]] + [_FINISH]
    ways: dict[tuple[str, str], list[str]] = {("", names[1]): []}
    for step, after in zip(journey.steps, following, strict=True):
        for target, label in _ways(step, step.go or after):
            label = say(label)
            ways.setdefault((step.name, target), []).extend([label] if label else [])
    boxes = [_start(journey, say), *(_box(step, waiting, say) for step in journey.steps)]
    if any(target == _FINISH for _, target in ways):
        names.append(_FINISH)
        boxes.append(Box(kind="end", title=say(Said("finished"))))
    place = {name: number for number, name in enumerate(names)}
    arrows = [
        Arrow(place[source], place[target], _cut(" / ".join(labels)))
        for (source, target), labels in ways.items()
    ]
    ends = {Said("goal"): journey.goal, Said("stopped"): journey.stop}
    return Chart(
        name=journey.name,
        boxes=tuple(boxes),
        arrows=tuple(arrows),
        ends={
            say(why): _cut(say(trigger_words(one))) for why, one in ends.items() if one is not None
        },
    )


def _start(journey: Journey, say: Say) -> Box:
    lines: list[str] = [start_words(journey.start)]
    if when := condition_words(journey.when):
        lines.append(Said("if %(when)s", when=when))
    lines += [Said("one for each %(key)s", key=journey.key)] if journey.key else []
    shown = tuple(_cut(say(line)) for line in lines)
    return Box(kind="start", title=say(Said("start")), lines=shown)


def _box(step: AnyStep, waiting: Mapping[str, int] | None, say: Say) -> Box:
    lines = [] if isinstance(step, Branch | Split) else [_cut(say(step_words(step)))]
    if waiting and (count := waiting.get(step.name)):
        lines.append(say(Said("%(n)s here", n=f"{count:,}")))
    return Box(kind=_KINDS.get(type(step), "wait"), title=step.name, lines=tuple(lines))


def _ways(step: AnyStep, after: str) -> Iterator[tuple[str, str]]:
    """(step, label) of the ways that lead on from a step."""
    match step:
        case End():
            return
        case WaitFor(within=within, then=then, otherwise=otherwise):
            yield then or after, Said("it came")
            yield otherwise or after, Said("after %(lasts)s", lasts=lasting(within))
        case Branch(ways=ways):
            taken = first_always(step)
            for trigger, go in ways[:taken]:
                yield go, condition_words(trigger.when)
            yield (ways[taken][1] if taken < len(ways) else after), Said("else")
        case Split(variants=variants, ways=split):
            for name, share in variants.items():
                yield split.get(name, after), f"{name} {100 * share:.4g}%"
        case _:
            yield after, ""


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
