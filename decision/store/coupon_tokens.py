"""What leads from a decision to the codes it took."""

from __future__ import annotations

from collections.abc import Collection

from decision.core.identifiers import parse_decision_id


def belongs(taken: str, partitions: Collection[int]) -> bool:
    """Whether `token/message`, or a token, is of a decision for a customer of these partitions."""
    try:
        return parse_decision_id(taken.partition("/")[0])[1] in partitions
    except ValueError:
        return False
