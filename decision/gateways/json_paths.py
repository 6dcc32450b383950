"""Places in a JSON reply: `$.messages[0].status`, the simplest part of RFC 9535."""

from __future__ import annotations

import re
from typing import Any, Final

from decision.core.values import MISSING

_STEP: Final = re.compile(r"\.([A-Za-z_][\w-]*)|\[(-?\d{1,9})\]|\['([^'\\]*)'\]|\[\"([^\"\\]*)\"\]")

Path = tuple[str | int, ...]


def parse_path(path: str) -> Path:
    """The steps of a path.

    >>> parse_path("$.messages[0]['error-code']")
    ('messages', 0, 'error-code')

    Raises:
        ValueError: it is not a path, or one with more than names and indices.
    """
    steps: list[str | int] = []
    place = 1
    while path.startswith("$") and place < len(path):
        found = _STEP.match(path, place)
        if found is None:
            break
        name, index, single, double = found.groups()
        steps.append(int(index) if index is not None else name or single or double or "")
        place = found.end()
    if not path.startswith("$") or place < len(path):
        raise ValueError("write a path such as $.sid or $.messages[0].status")
    return tuple(steps)


def at_path(value: Any, path: Path) -> Any:
    """What is at a path; `MISSING` where nothing is.

    >>> at_path({"messages": [{"id": 5}]}, ("messages", -1, "id"))
    5
    """
    for step in path:
        try:
            if isinstance(value, dict) is isinstance(step, int):
                return MISSING
            value = value[step]
        except (LookupError, TypeError):
            return MISSING
    return value
