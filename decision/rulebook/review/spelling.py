"""Attributes and properties that are read in one place, by nearly the name that is read elsewhere.

No proof, as customers may have both. But a text prints nothing for a name that nobody has, and a
condition on it never holds: nothing else tells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from decision.core.conditions import clauses
from decision.rulebook.content import given_fields
from decision.rulebook.review.attributes import is_slip
from decision.rulebook.review.context import ReviewContext, conditions_of
from decision.rulebook.yaml_source import Place

OFTEN: Final = 3
"""In how many places a name must be read for another one to be taken for a slip of it."""

SHORTEST, LONGEST = 6, 64
"""Letters of a name that is compared: of short words, many are another word (state, stage)."""

_FAMILIES: Final = ("customer.", "event.", "context.")


def review_spelling(context: ReviewContext) -> None:
    """Warns of names that are read once, and are a slip of one that is read often."""
    read: defaultdict[str, list[tuple[Place, str]]] = defaultdict(list)
    for name, place, code in _read(context):
        if name.startswith(_FAMILIES):
            read[name].append((place, code))
    given = {field for rule in context.definition.rules for field in rule.set}
    shortened: defaultdict[str, list[str]] = defaultdict(list)
    for name, places in read.items():
        if len(places) >= OFTEN and name not in given:  # of those, `attributes` warns
            for text in _shortened(name):
                shortened[text].append(name)
    for name, places in read.items():
        if len(places) > 1 or name in given:
            continue
        alike = dict.fromkeys(one for text in _shortened(name) for one in shortened.get(text, ()))
        if near := next((one for one in alike if is_slip(name, one)), None):
            place, code = places[0]
            message = f"{name} is read here alone; {near} is read in {len(read[near])} places"
            context.report.warn(place, message, f"did you mean {near}?", code)


def _shortened(name: str) -> set[str]:
    """The name, and all that one letter less makes of it: two with a slip between have one in
    common, so that not every name is held against every other.
    """
    family, _, own = name.partition(".")
    if not SHORTEST <= len(own) <= LONGEST:
        return set()
    return {name, *(f"{family}.{own[:at]}{own[at + 1 :]}" for at in range(len(own)))}


def _read(context: ReviewContext) -> Iterator[tuple[str, Place, str]]:
    """Each field that a condition or a text reads, where, and the code of a warning about it."""
    for _, _, _, condition in conditions_of(context.definition):
        for clause in clauses(condition):
            for name, place in context.places.fields_read(clause):
                yield name, place, "doubtful-comparison"
    for message in context.definition.messages:
        for path, text in _texts(message.content):
            place = context.places.value("messages", message.name, "content", *path)
            for name in given_fields({"text": text}):
                yield name, place, "doubtful-template"


def _texts(value: Any, *path: str | int) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(item, *path, key)
