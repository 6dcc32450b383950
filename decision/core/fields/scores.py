"""`score.…`: sums of what events have added, which become less with time."""

from __future__ import annotations

from decision.core.fields.situation import Field
from decision.core.values import MISSING


def score_field(name: str, rest: str) -> Field:
    """The field of a score. Its policy says how it is read, see `FieldTable`."""
    return Field(name, lambda s: MISSING, "number", score=rest)
