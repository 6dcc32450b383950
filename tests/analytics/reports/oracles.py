"""What reports must count, by plain Python over one customer's events."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

Event = tuple[float, str]
"""When, and of which type."""


def level(
    events: Sequence[Event],
    steps: Sequence[str],
    within: float,
    order: str = "ordered",
    exclude: Sequence[str] = (),
    begin: float = float("-inf"),
    end: float = float("inf"),
) -> int:
    """How far a customer came in a funnel: every choice of events is tried.

    Events of one moment come in the order of their types' first steps.
    """
    rank = {step: place for place, step in reversed(list(enumerate(steps)))}
    ranked = sorted(events, key=lambda one: (one[0], rank.get(one[1], len(steps)), one[1]))
    if order != "strict":
        ranked = [one for one in ranked if one[1] in steps or one[1] in exclude]
    kept = [one for one in ranked if order != "strict" or not one[1].startswith("message.")]
    best = 0
    for count in range(1, len(steps) + 1):
        for chosen in combinations(range(len(kept)), count):
            at = [kept[place][0] for place in chosen]
            types = [kept[place][1] for place in chosen]
            first = min(at)
            if not begin <= first < end or max(at) - first > within:
                continue
            if any(kept[n][1] in exclude for n in range(chosen[0], chosen[-1] + 1)):
                continue
            if order == "strict" and chosen[-1] - chosen[0] != count - 1:
                continue
            if order == "any":
                left = list(steps)
                fits = all(one in left and not left.remove(one) for one in types)  # type: ignore[func-returns-value]
            else:
                fits = types == list(steps[:count])
            if fits:
                best = count
                break
    return best
