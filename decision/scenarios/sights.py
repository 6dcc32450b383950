"""Something of a policy that scenarios may touch, as coverage counts it."""

from __future__ import annotations

from typing import NamedTuple


class Sight(NamedTuple):
    """Something to be seen: of what kind and name, and what of it."""

    kind: str
    name: str
    what: str
