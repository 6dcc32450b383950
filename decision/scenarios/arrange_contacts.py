"""Past contacts, made so that `contacts.…` fields have the values that a table asks for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from decision.core.fields import parse_field
from decision.core.policy import Policy
from decision.scenarios.arrange import whole

_NO_MESSAGE: Final = "made-up"
_PARTS: Final = ("channel", "purpose", "category")


def part_named(policy: Policy, name: str) -> str | None:
    """What of a contact `contacts.<name>.…` is about: a channel, else a purpose, else a category;
    None where the policy has nothing of that name."""
    categories = {message.category for message in policy.definition.messages}
    known = (policy.channels, policy.purposes, categories)
    return next((part for part, names in zip(_PARTS, known, strict=True) if name in names), None)


def contacts_for(policy: Policy, wanted: Mapping[str, Any], now: datetime) -> list[dict[str, Any]]:
    """Past contacts that give fields (`contacts.push.count_7d` …) these values.

    They are of no message of the policy, spread over each window. Where nothing else is asked for,
    they are of a purpose that needs no consent, and of no category.

    Raises:
        CannotArrange: a field cannot have the value.
        OverflowError: a contact would be before the year 1.
    """
    asked: dict[int, dict[str, int]] = {}
    for field, value in wanted.items():
        found = parse_field(field)
        asked.setdefault(found.contacts_window, {})[found.channel or ""] = whole(field, value)
    names = {name for counts in asked.values() for name in counts}
    other = _others(policy, names)
    made: list[dict[str, Any]] = []
    inner = 0
    for window, counts in sorted(asked.items()):
        missing: dict[str, list[str]] = {part: [] for part in _PARTS}
        for name, count in counts.items():
            part = part_named(policy, name) or "category"
            have = sum(1 for one in made if one[part] == name)
            missing[part] += [name] * (count - have)
        several = max(map(len, missing.values()))
        for number in range(several):
            age = inner + (window - inner) // (several + 1) * (number + 1)
            parts = {
                part: found[number] if number < len(found) else other[part]
                for part, found in missing.items()
            }
            at = (now - timedelta(microseconds=age)).isoformat()
            made.append({"message": _NO_MESSAGE, **parts, "at": at, "tags": []})
        inner = window
    return made


def _others(policy: Policy, names: set[str]) -> dict[str, str]:
    """Of each part of a contact, one that is not asked for, as far as there is one."""
    purposes = sorted(policy.purposes.values(), key=lambda one: one.consent != "not_required")
    known = {"channel": [*policy.channels], "purpose": [one.name for one in purposes]}
    found = {
        part: next((one for one in all_of if one not in names), all_of[0])
        for part, all_of in known.items()
        if all_of
    }
    return {"category": "", **found}
