"""When the earliest of the candidates that only wait for time could be given."""

from __future__ import annotations

from functools import cache
from typing import Final

from decision.core.contact_policy import NEVER, CapGroup
from decision.core.masks import indices, union
from decision.core.quiet_hours import WHOLE_WEEK
from decision.core.stages import Case

MOST_STEPS: Final = 1_000
"""How many ends of windows are followed by another that holds already, before it gives up: windows
that close a channel between them for more than a year."""


def opens(case: Case, waiting: int) -> int | None:
    """The earliest instant (µs) at which time alone lets one of the waiting candidates pass.

    None where none passes before it ceases to be active, or no time is found within `MOST_STEPS`.
    What lifts quiet hours is taken to stay as it is.
    """
    contact_policy = case.policy.contact_policy
    now, zone, document = case.now, case.zone, case.document
    windows = [
        one for one in case.policy.quiet.windows if not (one.lifted and one.lifted(case.values))
    ]
    best = NEVER
    seen = set()

    @cache
    def group_opens(group: CapGroup) -> int:
        return contact_policy.cap_opens(group, case.standing, document, now, zone)

    for index in indices(waiting):
        ends = [pause.end for pause in case.pauses if pause.mask >> index & 1]
        ends += map(group_opens, contact_policy.full_groups(case.standing, index))
        first = max(now, *ends) if ends else now
        periods = (each for each in case.policy.active_periods if each.mask >> index & 1)
        until = min((each.end for each in periods if each.end is not None), default=NEVER)
        quiet = [each for each in windows if each.mask >> index & 1]
        reply = [each for each in contact_policy.reply_channels if each.mask >> index & 1]
        key = (first, until, tuple(map(id, quiet)), tuple(id(r) for r in reply))
        if key in seen:
            continue
        seen.add(key)
        if union(each.week for each in quiet) == WHOLE_WEEK:
            continue
        at = first
        for _ in range(MOST_STEPS):
            if at >= until or at >= best:
                break
            following = at
            for window in quiet:
                following = max(following, window.ends(following, zone))
            for channel in reply:
                following = max(following, contact_policy.reply_opens(channel, document, following))
            if following == at:
                best = at
                break
            at = following
    return best if best < NEVER else None
