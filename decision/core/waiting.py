"""When the earliest of the candidates that only wait for time could be given."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Final

from decision.core import calendar
from decision.core.caps import Varying
from decision.core.clock import DAY, HOUR, SECOND, from_micros
from decision.core.conditions import Test
from decision.core.contact_policy import NEVER, CapGroup
from decision.core.fields import Situation, timed_fields
from decision.core.masks import indices, union
from decision.core.quiet_hours import WHOLE_WEEK, QuietWindow
from decision.core.stages import Case
from decision.core.values import Value

MOST_STEPS: Final = 1_000
"""How many ends of windows are followed by another that holds already, before it gives up: windows
that close a channel between them for more than a year. So many changes of a condition are looked at
as well."""


def opens(case: Case, waiting: int) -> int | None:
    """The earliest instant (µs) at which time alone lets one of the waiting candidates pass.

    None where none passes before it ceases to be active, or no time is found within `MOST_STEPS`.
    Of the conditions of quiet hours and caps, what changes with the time alone is looked at when it
    changes (`fields.timed_fields`); all else is taken to stay as it is.
    """
    contact_policy = case.policy.contact_policy
    now, zone, document = case.now, case.zone, case.document
    later = _Later(case)
    windows = [
        one
        for one in case.policy.quiet.windows
        if timed_fields(one.hours.unless) or not (one.lifted and one.lifted(case.values))
    ]
    best = NEVER
    seen = set()

    @cache
    def group_opens(group: CapGroup) -> int:
        allows = case.standing.limits[group.number]
        return contact_policy.cap_opens(group, allows, document, now, zone)

    for index in indices(waiting):
        dated = [
            (group, cap)
            for group, cap in contact_policy.varying_groups(index)
            if timed_fields(contact_policy.caps[cap.cap].when)
        ]
        in_time = {group.number for group, _ in dated}
        full = contact_policy.full_groups(case.standing, index)
        ends = [pause.end for pause in case.pauses if pause.mask >> index & 1]
        ends += (group_opens(group) for group in full if group.number not in in_time)
        first = max(now, *ends) if ends else now
        periods = (each for each in case.policy.active_periods if each.mask >> index & 1)
        until = min((each.end for each in periods if each.end is not None), default=NEVER)
        quiet = [each for each in windows if each.mask >> index & 1]
        reply = [each for each in contact_policy.reply_channels if each.mask >> index & 1]
        groups = tuple(sorted(in_time))
        key = (first, until, tuple(map(id, quiet)), tuple(id(r) for r in reply), groups)
        if key in seen:
            continue
        seen.add(key)
        if union(each.week for each in quiet if not timed_fields(each.hours.unless)) == WHOLE_WEEK:
            continue
        at = first
        for _ in range(MOST_STEPS):
            if at >= until or at >= best:
                break
            following = at
            for window in quiet:
                following = max(following, later.quiet_until(window, following))
            for channel in reply:
                following = max(following, contact_policy.reply_opens(channel, document, following))
            for group, cap in dated:
                following = max(following, later.capped_until(group, cap, following))
            if following == at:
                best = at
                break
            at = following
    return best if best < NEVER else None


class _Later:
    """What holds one customer back at later times, where nothing but the time changes."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def quiet_until(self, window: QuietWindow, at: int) -> int:
        """The first instant from `at` on at which a window does not hold, or is lifted."""
        end = window.ends(at, self.case.zone)
        names = timed_fields(window.hours.unless)
        if end == at or window.lifted is None or not names:
            return end
        return self._first(window.lifted, names, True, at, end)

    def capped_until(self, group: CapGroup, cap: Varying, at: int) -> int:
        """The first instant from `at` on at which a cap has room, or does not apply."""
        case = self.case
        allows = cap.limit(case.values)
        policy = case.policy.contact_policy
        end = max(at, policy.cap_opens(group, allows, case.document, case.now, case.zone))
        names = timed_fields(policy.caps[cap.cap].when)
        return end if end == at else self._first(cap.test, names, False, at, end)

    def _first(
        self, test: Test, names: tuple[str, ...], wanted: bool, since: int, until: int
    ) -> int:
        """The first instant from `since` on at which a test of these fields says what is wanted;
        `until`, where there is none before it or among `MOST_STEPS` changes."""
        at = since
        with suppress(OverflowError):  # there is no time after the year 9999
            for _ in range(MOST_STEPS):
                if at >= until:
                    break
                if test(self._values(names, at)) is wanted:
                    return at
                at = self._changes_after(at, hourly="time.hour" in names)
        return until

    def _values(self, names: tuple[str, ...], at: int) -> Sequence[Value]:
        """The slot values, with these fields as they are at a later time."""
        case, fields = self.case, self.case.policy.fields
        situation = Situation(case.document, case.placement, at, case.zone)
        values = list(case.values)
        for name in names:
            if read := fields.reader(name):
                values[fields.slot(name)] = read(situation)
        return values

    def _changes_after(self, at: int, *, hourly: bool) -> int:
        """The next instant at which a local day begins, or an hour, or the clocks change."""
        local = from_micros(at).astimezone(self.case.zone)
        of_hour = (local.minute * 60 + local.second) * SECOND + local.microsecond
        of_day = local.hour * HOUR + of_hour
        following = at + (HOUR - of_hour if hourly else DAY - of_day)
        return min(calendar.changes(self.case.zone, at, following), default=following)
