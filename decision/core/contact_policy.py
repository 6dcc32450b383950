"""The contact policy: caps, suppressions and reply windows over one contact history.

A contact counts while it is reserved, once it is confirmed, and when its reservation expired with
`then: count`. A rolling window is (now − within, now]; a calendar window is the customer's local
day, week or month. Contacts made a moment in the future, by a replica whose clock is ahead,
count too: a cap is never exceeded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import tzinfo
from typing import Final, Literal, NamedTuple

import msgspec

from decision.core import calendar, caps
from decision.core.candidates import CandidateInfo
from decision.core.clock import DAY, SECOND
from decision.core.definition import (
    CalendarPeriod,
    Cap,
    FieldLimit,
    PolicyDefinition,
    ReplyWindow,
    Suppression,
)
from decision.core.document import Contact, ContactKind, ContactState, Document, Signal
from decision.core.events import LONGEST_WINDOW
from decision.core.masks import mask_where, masks_by, union
from decision.core.selectors import matches
from decision.core.values import Value

_RELEASED, _EXPIRING = ContactState.RELEASED.value, ContactState.RESERVED_THEN_RELEASE.value
NEVER = 1 << 62
"""Later than every instant: when something ends that does not end by itself."""
EVER: Final = "ever"
Within = int | CalendarPeriod | Literal["ever"]
_KEPT: Final = {"day": 2 * DAY, "week": 8 * DAY, "month": 32 * DAY, EVER: LONGEST_WINDOW}
"""How long contacts must be kept one by one for a cap within something that is no duration."""


class CapGroup(msgspec.Struct, frozen=True):
    """The contacts that one cap counts together, and the candidates they hold back.

    `number` is its place in `Standing`, `cap` that of its cap in the rule files.
    """

    number: int
    cap: int
    key: str
    mask: int


class ReplyChannel(msgspec.Struct, frozen=True):
    """A channel that only a reply opens: its windows, the widest first."""

    channel: str
    windows: tuple[ReplyWindow, ...]
    mask: int


class Pause(NamedTuple):
    """A suppression in force: its index, the candidates that it holds back, and its end."""

    suppression: int
    mask: int
    end: int


class Standing(msgspec.Struct):
    """What caps make of one customer's contact history at one moment.

    `counts` are the contacts counted by each cap group that has any; `capped` is the mask of
    candidates that a full group holds back. `limits` is how many contacts each group allows.
    """

    counts: dict[int, int]
    capped: int
    limits: Sequence[int] = ()


def counts_until(contact: Contact) -> int:
    """Until when (exclusive) a contact counts in windows: 0 if released, NEVER if without end."""
    if contact.state == ContactState.RELEASED:
        return 0
    if contact.state == ContactState.RESERVED_THEN_RELEASE:
        return contact.at + contact.mark * SECOND
    return NEVER


def count_on_channel(document: Document, channel: str, since: int, now: int) -> int:
    """How many contacts on a channel, made at `since` or later, count at `now`."""
    kinds = document.kinds
    return sum(
        1
        for contact in document.contacts
        if contact.at >= since
        and kinds[contact.kind].channel == channel
        and counts_until(contact) > now
    )


def _no_slot(field: str) -> int:
    raise LookupError(f"nothing reads {field}")


class ContactPolicy:
    """Caps, suppressions and reply windows of a policy, compiled.

    >>> from datetime import UTC
    >>> from decision.core.definition import Selector
    >>> daily = Cap(name="daily", of=Selector(), at_most=1, within=DAY)
    >>> hello = CandidateInfo("hello", "email", "", "news", (), 1.0)
    >>> contact_policy = ContactPolicy(PolicyDefinition(version="1", caps=(daily,)), [hello])
    >>> anna = Document(customer_id="anna", kinds=[ContactKind("hello", "email", "news", "", ())])
    >>> anna.contacts = [Contact(kind=0, at=0, state=ContactState.CONFIRMED, mark=0, tag=0)]
    >>> contact_policy.standing(anna, now=DAY - 1, zone=UTC)
    Standing(counts={0: 1}, capped=1, limits=[1])
    >>> contact_policy.standing(anna, now=DAY, zone=UTC).capped
    0
    """

    def __init__(
        self,
        definition: PolicyDefinition,
        candidates: Sequence[CandidateInfo],
        slot_of: Callable[[str], int] = _no_slot,
    ) -> None:
        self.caps: tuple[Cap, ...] = definition.caps
        self.suppressions: tuple[Suppression, ...] = definition.suppressions
        self._week_starts = definition.settings.week_starts
        self._withins: tuple[Within, ...] = tuple(each.within for each in self.caps)
        self._periods = {each for each in self._withins if not isinstance(each, int)}
        self.counts_for_ever = EVER in self._withins
        keys = [self._group_keys(candidate) for candidate in candidates]
        self._groups = {
            (cap, key): CapGroup(number, cap, key, mask)
            for number, ((cap, key), mask) in enumerate(masks_by(keys).items())
        }
        self.groups = list(self._groups.values())
        varying = caps.varying(self.caps, slot_of)
        self._limits = [_constant(self.caps[group.cap]) for group in self.groups]
        self._varying = [
            (one, [group for group in self.groups if group.cap == one.cap]) for one in varying
        ]
        self._candidate_groups = [[self._groups[key] for key in own] for own in keys]
        self._kind_groups: dict[ContactKind, list[CapGroup]] = {}
        self._suppression_masks = [
            masks_by((_key(suppression.per, candidate),) for candidate in candidates)
            for suppression in self.suppressions
        ]
        self._suppressed_types = {suppression.event for suppression in self.suppressions}
        self.reply_channels: list[ReplyChannel] = []
        for channel in definition.channels:
            mask = mask_where(candidate.channel == channel.name for candidate in candidates)
            if channel.reply_windows and mask:
                widest_first = sorted(channel.reply_windows, key=lambda window: -window.lasts)
                self.reply_channels.append(ReplyChannel(channel.name, tuple(widest_first), mask))

    # Caps

    def _group_keys(self, thing: CandidateInfo | ContactKind) -> list[tuple[int, str]]:
        """(cap, key) of the groups that contacts of such a thing belong to."""
        return [
            (number, _key(cap.per, thing))
            for number, cap in enumerate(self.caps)
            if matches(cap.of, thing)
        ]

    def _groups_of_kind(self, kind: ContactKind) -> list[CapGroup]:
        """The cap groups that count contacts of a kind; remembered by what the kind is, because
        documents of other registers, which are looked back at, number kinds otherwise."""
        found = self._kind_groups.get(kind)
        if found is None:
            keys = self._group_keys(kind)
            found = [self._groups[key] for key in keys if key in self._groups]
            self._kind_groups[kind] = found
        return found

    def mask_of_cap(self, number: int) -> int:
        """The candidates that a cap can hold back."""
        return union(group.mask for group in self.groups if group.cap == number)

    def _window_start(self, within: Within, now: int, zone: tzinfo) -> int:
        """The latest instant that is already outside a cap's window at `now`."""
        if isinstance(within, int):
            return now - within
        if within == EVER:
            return -NEVER
        return calendar.period_start(within, now, zone, self._week_starts) - 1

    def _allowed(self, values: Sequence[Value]) -> tuple[Sequence[int], int]:
        """How many contacts each group allows, and the mask of candidates that may have none."""
        limits, none = list(self._limits), 0
        for one, groups in self._varying:
            allows = one.allows(values)
            for group in groups:
                limits[group.number] = allows
                if not allows:
                    none |= group.mask
        return limits, none

    def standing(
        self, document: Document, now: int, zone: tzinfo, values: Sequence[Value] = ()
    ) -> Standing:
        """Counts every cap over the customer's contacts; `values` are those of the slots."""
        limits, capped = self._allowed(values) if self._varying else (self._limits, 0)
        if not self.groups or not (document.contacts or document.earlier):
            return Standing(counts={}, capped=capped, limits=limits)
        periods = {period: self._window_start(period, now, zone) for period in self._periods}
        starts = [
            now - within if isinstance(within, int) else periods[within] for within in self._withins
        ]
        counts: dict[int, int] = {}
        kinds, remembered = document.kinds, self._kind_groups
        for kind, times in _counted_by_kind(document.contacts, now, min(starts)).items():
            newest, what = times[-1], kinds[kind]
            for group in remembered.get(what) or self._groups_of_kind(what):
                start = starts[group.cap]
                if newest > start:
                    number = group.number
                    counts[number] = counts.get(number, 0) + len(times) - bisect_right(times, start)
        if document.earlier and self.counts_for_ever:
            for kind, number_of_them in document.earlier.items():
                for group in self._groups_of_kind(kinds[kind]):
                    if self.caps[group.cap].within == EVER:
                        counts[group.number] = counts.get(group.number, 0) + number_of_them
        for number, count in counts.items():
            if count >= limits[number]:
                capped |= self.groups[number].mask
        return Standing(counts=counts, capped=capped, limits=limits)

    def add(self, standing: Standing, candidate: int) -> None:
        """Counts one more contact, of a candidate just selected."""
        for group in self._candidate_groups[candidate]:
            count = standing.counts[group.number] = standing.counts.get(group.number, 0) + 1
            if count >= standing.limits[group.number]:
                standing.capped |= group.mask

    def full_groups(self, standing: Standing, candidate: int) -> list[CapGroup]:
        """The groups that hold a candidate back, in the order of the caps."""
        return [
            group
            for group in self._candidate_groups[candidate]
            if standing.counts.get(group.number, 0) >= standing.limits[group.number]
        ]

    def varying_groups(self, candidate: int) -> Iterator[tuple[CapGroup, caps.Varying]]:
        """The groups of a candidate whose cap does not always allow the same."""
        groups = self._candidate_groups[candidate]
        for one, _ in self._varying:
            yield from ((group, one) for group in groups if group.cap == one.cap)

    def cap_opens(
        self, group: CapGroup, allows: int, document: Document, now: int, zone: tzinfo
    ) -> int:
        """When a group that `allows` so many contacts lets one through, if none is added; `now` if
        it does. NEVER: only another limit lets one through.
        """
        within = self.caps[group.cap].within
        if not allows:
            return NEVER
        start = self._window_start(within, now, zone)
        leaving: list[int] = []
        for kind, count in document.earlier.items() if within == EVER else ():
            if group in self._groups_of_kind(document.kinds[kind]):
                leaving += [NEVER] * min(count, allows)
        for contact in document.contacts:
            until = counts_until(contact)
            if contact.at <= start or until <= now:
                continue
            if group not in self._groups_of_kind(document.kinds[contact.kind]):
                continue
            if isinstance(within, int):
                leaves = contact.at + within
            elif within == EVER:
                leaves = NEVER
            else:
                leaves = calendar.period_end(within, max(now, contact.at), zone, self._week_starts)
            leaving.append(min(until, leaves))
        if len(leaving) < allows:
            return now
        return sorted(leaving)[-allows]

    def history_needed(self) -> int:
        """How long contacts must be kept so that every window in force can be counted."""
        withins = (cap.within for cap in self.caps)
        kept = (each if isinstance(each, int) else _KEPT[each] for each in withins)
        replies = (window.lasts for reply in self.reply_channels for window in reply.windows)
        return max((*kept, *replies), default=0)

    # Suppressions

    def counts_signals_of(self, event_type: str) -> bool:
        """Whether some suppression counts events of that type."""
        return event_type in self._suppressed_types

    def pauses(self, signals: Sequence[Signal], now: int) -> list[Pause]:
        """Every pause in force."""
        if not signals:
            return []
        found = []
        for index, suppression in enumerate(self.suppressions):
            by_key: dict[str, list[int]] = {}
            for signal in signals:
                key = _key(suppression.per, signal)
                if signal.type == suppression.event and (key or suppression.per is None):
                    by_key.setdefault(key, []).append(signal.at)
            for key, times in by_key.items():
                mask = self._suppression_masks[index].get(key, 0)
                end = _pause_end(suppression, times)
                if mask and end > now:
                    found.append(Pause(index, mask, end))
        return found

    def holds_back(self, kind: ContactKind, signals: Sequence[Signal], now: int) -> bool:
        """Whether a pause is in force for contacts of a kind."""
        for suppression in self.suppressions:
            per, key = suppression.per, _key(suppression.per, kind)
            times = [
                one.at
                for one in signals
                if one.type == suppression.event and _key(per, one) == key and (key or per is None)
            ]
            if times and _pause_end(suppression, times) > now:
                return True
        return False

    def signals_needed(self, event_type: str) -> int:
        """How long signals of a type must be kept."""
        counting = (each for each in self.suppressions if each.event == event_type)
        return max((each.within + each.pause for each in counting), default=0)

    def signals_that_pause(self, signals: Sequence[Signal]) -> list[Signal]:
        """The signals that some pause depends on, now or later.

        Of those that a suppression counts together, these are the ones of its latest pause and
        what came after them.
        """
        needed: set[int] = set()
        for suppression in self.suppressions:
            by_key: dict[str, list[int]] = {}
            for place, one in enumerate(signals):
                key = _key(suppression.per, one)
                if one.type == suppression.event and (key or suppression.per is None):
                    by_key.setdefault(key, []).append(place)
            for places in by_key.values():
                needed.update(_of_last_pause(suppression, signals, places))
        return [one for place, one in enumerate(signals) if place in needed]

    # Reply windows

    def open_window(
        self, reply: ReplyChannel, document: Document, now: int
    ) -> tuple[ReplyWindow, int] | None:
        """The widest open window of a channel and the time it was opened, or None."""
        for window in reply.windows:
            history = document.events.get(window.opened_by)
            if history is not None and history.last_at and now < history.last_at + window.lasts:
                return window, history.last_at
        return None

    def has_open_window(self, channel: str, document: Document, now: int) -> bool:
        """Whether a channel needs no reply, or the customer's last one still opens it."""
        return all(
            self.open_window(reply, document, now) is not None
            for reply in self.reply_channels
            if reply.channel == channel
        )

    def closed(self, document: Document, now: int, pending: Sequence[CandidateInfo] = ()) -> int:
        """The mask of candidates whose channel needs a reply window and has none left."""
        mask = 0
        for reply in self.reply_channels:
            taken = sum(1 for candidate in pending if candidate.channel == reply.channel)
            if not self._is_open(reply, document, now, taken):
                mask |= reply.mask
        return mask

    def reply_opens(self, reply: ReplyChannel, document: Document, now: int) -> int:
        """The earliest instant from `now` on with a window open and not used up, else NEVER.

        Only time passes meanwhile: reservations expire and windows close, and a narrower window
        counts once the wider one has closed.
        """
        moments = {now}
        for window in reply.windows:
            history = document.events.get(window.opened_by)
            if history is not None and history.last_at:
                moments.add(history.last_at + window.lasts)
        for contact in document.contacts:
            if document.kinds[contact.kind].channel == reply.channel:
                moments.add(counts_until(contact))
        later = (moment for moment in sorted(moments) if moment >= now)
        return next((moment for moment in later if self._is_open(reply, document, moment)), NEVER)

    def _is_open(self, reply: ReplyChannel, document: Document, now: int, pending: int = 0) -> bool:
        found = self.open_window(reply, document, now)
        if found is None:
            return False
        window, since = found
        if window.allows is None:
            return True
        return count_on_channel(document, reply.channel, since, now) + pending < window.allows


def _constant(cap: Cap) -> int:
    """What a cap always allows; of one that does not, `_allowed` says it."""
    return 0 if isinstance(cap.at_most, FieldLimit) else cap.at_most


def _key(per: str | None, thing: CandidateInfo | ContactKind | Signal) -> str:
    match per:
        case "message":
            return thing.message
        case "category":
            return thing.category
        case "channel":
            return thing.channel
    return ""


def _counted_by_kind(contacts: Iterable[Contact], now: int, since: int) -> dict[int, list[int]]:
    """The times of the contacts after `since` that count at `now`, ascending, by kind."""
    found: dict[int, list[int]] = {}
    for kind, at, state, mark, _ in contacts:
        if at <= since:  # most are too old for any cap
            continue
        if state == _RELEASED or (state == _EXPIRING and at + mark * SECOND <= now):
            continue
        times = found.get(kind)
        if times is None:
            found[kind] = [at]
        else:
            times.append(at)
    return found


def _of_last_pause(
    suppression: Suppression, signals: Sequence[Signal], places: list[int]
) -> list[int]:
    """The places, in order of time, from the first that the latest pause depends on."""
    need = suppression.times
    for last in range(len(places) - 1, need - 2, -1):
        first = last - need + 1
        if signals[places[first]].at > signals[places[last]].at - suppression.within:
            return places[first:]
    return places


def _pause_end(suppression: Suppression, times: list[int]) -> int:
    """When the last pause that the events cause ends; 0 where they cause none."""
    times.sort()
    end = 0
    need = suppression.times
    for last in range(need - 1, len(times)):
        if times[last - need + 1] > times[last] - suppression.within:
            end = times[last] + suppression.pause
    return end
