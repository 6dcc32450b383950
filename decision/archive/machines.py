"""`core.machines` for queries over archived events."""

from __future__ import annotations

from typing import Final

from decision.core.machines import MACHINE, SEEN

BY_PEOPLE: Final = (
    f"NOT (type IN {SEEN} AND coalesce(json_extract(properties, '$.{MACHINE}') = 'true', false))"
)
"""A condition on rows of `events`: false where `by_machine` is true."""
