"""When the earliest of the candidates that only wait for time could be given."""

from __future__ import annotations

from functools import cache

from decision.core import calendar
from decision.core.contact_policy import NEVER, CapGroup
from decision.core.masks import indices
from decision.core.stages import Case


def opens(case: Case, waiting: int) -> int | None:
    """The earliest instant (µs) at which time alone lets one of the waiting candidates pass.

    None where none passes before it ceases to be active.
    """
    contact_policy = case.policy.contact_policy
    now, zone, document = case.now, case.zone, case.document
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
        quiet = [each.hours for each in contact_policy.quiet_channels if each.mask >> index & 1]
        reply = [each for each in contact_policy.reply_channels if each.mask >> index & 1]
        key = (first, until, tuple(id(hours) for hours in quiet), tuple(id(r) for r in reply))
        if key in seen:
            continue
        seen.add(key)
        at = first
        while at < until and at < best:
            following = at
            for hours in quiet:
                following = max(following, calendar.quiet_end(hours, at, zone))
            for channel in reply:
                following = max(following, contact_policy.reply_opens(channel, document, at))
            if following == at:
                best = at
                break
            at = following
    return best if best < NEVER else None
