"""What the columns of a table of decisions mean, by their names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import Final, NamedTuple

from decision.core.errors import FileError, InputError, meant
from decision.core.event_effects import CONTACT_EVENTS
from decision.core.policy import Policy
from decision.intake.decision_log.arms import Arm, Arms
from decision.intake.tables import check_names

FIXED: Final = (
    "decided_at", "customer_id", "message", "channel", "placement", "probability", "request_id",
    "timezone",
)  # fmt: skip
REQUIRED: Final = ("decided_at", "customer_id", "message")
ATTRIBUTE, CONTEXT, EVENT = "attribute.", "context.", "event."
OUTCOME, OUTCOME_AT, PROBABILITY = "outcome.", "outcome_at.", "probability."
PREFIXES: Final = (ATTRIBUTE, CONTEXT, EVENT, OUTCOME, OUTCOME_AT, PROBABILITY)
_ALIKE: Final = 0.8
"""From this likeness on, a name is taken for a slip of the pen."""


class OutcomeColumn(NamedTuple):
    """An outcome: the event type, and the columns of its cell and of its time (None: no column)."""

    type: str
    cell: int
    at: int | None


class Header(NamedTuple):
    """The columns by what they mean; each is a place in a row."""

    names: Sequence[str]
    fixed: dict[str, int]
    attributes: list[tuple[str, int]]
    context: list[tuple[str, int]]
    event: list[tuple[str, int]]
    outcomes: list[OutcomeColumn]
    probabilities: list[tuple[Arm, int]]


def known_outcomes(policy: Policy) -> frozenset[str]:
    """The event types that the rules name: goals, what is measured, what contacts bring about."""
    goals = (message.goal.event for message in policy.messages.values() if message.goal)
    return frozenset((*goals, *policy.measures(), *policy.scores.event_types, *CONTACT_EVENTS))


def read_header(
    names: Sequence[str], path: str, arms: Arms, *, new_types: Collection[str], claimed: bool
) -> Header:
    """What the columns mean.

    `new_types` are event types that the rules need not name; `claimed`: there need be no
    probabilities.

    Raises:
        FileError: a column is missing, unknown or misspelt; with the nearest name.
    """
    check_names(names, path)
    places = {name: place for place, name in enumerate(names)}
    for name in REQUIRED:
        if name not in places:
            near = [one for one in get_close_matches(name, names, 1, 0.5) if one not in FIXED]
            hint = f"rename {near[0]}" if near else f"there are {', '.join(names[:12])}"
            raise FileError(f"{path}: there is no column {name}; {hint}")
    for name in names:
        if name not in FIXED and not _has_meaning(name):
            raise FileError(
                f"{path}: the column {name} has no meaning{_hint(name)}; facts about the customer "
                f"are attribute.<name>, about the request context.<name>, what came of it "
                "outcome.<event type>"
            )
    if not claimed and "probability" not in places and not _named(names, PROBABILITY):
        raise FileError(
            f"{path}: there is no column probability, and without the probability with which each "
            "row's message was drawn nothing can be judged by it. Add the column; or, if each was "
            "drawn from the same messages with equal chances, name these: --uniform-over m1,m2 "
            "(silence is the name of none)"
        )
    if _named(names, EVENT) and "event.type" not in places:
        raise FileError(f"{path}: it has {_named(names, EVENT)[0]}, but no column event.type")
    _check_outcomes(names, path, arms.policy, new_types)
    try:
        probabilities = [
            (arms.named(name.removeprefix(PROBABILITY), name), places[name])
            for name in _named(names, PROBABILITY)
        ]
    except InputError as error:
        raise FileError(f"{path}: {error}") from None

    def own(prefix: str) -> list[tuple[str, int]]:
        return [(name.removeprefix(prefix), places[name]) for name in _named(names, prefix)]

    return Header(
        names=names,
        fixed={name: places[name] for name in FIXED if name in places},
        attributes=own(ATTRIBUTE),
        context=own(CONTEXT),
        event=own(EVENT),
        outcomes=[
            OutcomeColumn(kind, place, places.get(OUTCOME_AT + kind))
            for kind, place in own(OUTCOME)
        ],
        probabilities=probabilities,
    )


def _named(names: Iterable[str], prefix: str) -> list[str]:
    return [name for name in names if name.startswith(prefix)]


def _has_meaning(name: str) -> bool:
    return any(name.startswith(prefix) and name != prefix for prefix in PREFIXES)


def _hint(name: str) -> str:
    """What was meant by a column that has no meaning."""
    head, dot, rest = name.partition(".")
    if dot and (near := get_close_matches(f"{head}.", PREFIXES, 1)):
        return f'; did you mean "{near[0]}{rest}"?'
    return meant(name, FIXED)


def _check_outcomes(
    names: Sequence[str], path: str, policy: Policy, new_types: Collection[str]
) -> None:
    known = known_outcomes(policy)
    types = [name.removeprefix(OUTCOME) for name in _named(names, OUTCOME)]
    for name in _named(names, OUTCOME_AT):
        kind = name.removeprefix(OUTCOME_AT)
        if kind not in types:
            hint = meant(kind, types) or f"; add the column {OUTCOME}{kind}"
            raise FileError(f"{path}: there is {name}, but no column {OUTCOME}{kind}{hint}")
    for kind in types:
        if kind in known or kind in new_types:
            continue
        near = get_close_matches(kind, known, 1, _ALIKE)
        if near:
            raise FileError(
                f"{path}: outcome.{kind}: no rule names the event {kind}; did you mean "
                f"outcome.{near[0]}? If it is another event, say so: --new-type {kind}"
            )
        if kind.startswith("message."):
            raise FileError(
                f"{path}: outcome.{kind}: there is no such event about a message; known are "
                f"{', '.join(CONTACT_EVENTS)}"
            )
