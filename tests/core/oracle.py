"""The contact policy again, as lists and loops: slow, plain, and the judge of the fast one."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from decision.core.candidates import CandidateInfo
from decision.core.clock import SECOND, from_micros
from decision.core.definition import Cap, PolicyDefinition, QuietHours, Selector, Suppression
from decision.core.document import Contact, ContactKind, ContactState, Document


def local(now: int, zone: ZoneInfo) -> datetime:
    return from_micros(now).astimezone(zone)


def counts(contact: Contact, now: int) -> bool:
    match contact.state:
        case ContactState.RELEASED:
            return False
        case ContactState.RESERVED_THEN_RELEASE:
            return now < contact.at + contact.mark * SECOND
    return True


def selected(of: Selector, kind: ContactKind | CandidateInfo) -> bool:
    if of.channel and kind.channel not in of.channel:
        return False
    if of.purpose and kind.purpose not in of.purpose:
        return False
    if of.category and kind.category not in of.category:
        return False
    if of.messages and kind.message not in of.messages:
        return False
    return not of.tags or bool(set(of.tags) & set(kind.tags))


def in_window(cap: Cap, at: int, now: int, zone: ZoneInfo, week_starts: str) -> bool:
    if isinstance(cap.within, int):
        return at > now - cap.within
    if cap.within == "ever" or at >= now:
        return True
    then, today = local(at, zone).date(), local(now, zone).date()
    if cap.within == "day":
        return then == today
    if cap.within == "month":
        return (then.year, then.month) == (today.year, today.month)
    names = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
    first = today
    while names[first.weekday()] != week_starts:
        first -= timedelta(days=1)
    return then >= first


def capped(
    definition: PolicyDefinition,
    document: Document,
    candidate: CandidateInfo,
    now: int,
    zone: ZoneInfo,
) -> bool:
    for cap in definition.caps:
        if not selected(cap.of, candidate):
            continue
        total = 0
        for contact in document.contacts:
            kind = document.kinds[contact.kind]
            same = cap.per is None or getattr(kind, cap.per) == getattr(candidate, cap.per)
            if (
                same
                and selected(cap.of, kind)
                and counts(contact, now)
                and in_window(cap, contact.at, now, zone, definition.settings.week_starts)
            ):
                total += 1
        if total >= cap.at_most:
            return True
    return False


def paused(
    suppression: Suppression, document: Document, candidate: CandidateInfo, now: int
) -> bool:
    times = sorted(
        signal.at
        for signal in document.signals
        if signal.type == suppression.event
        and (
            suppression.per is None
            or getattr(signal, suppression.per) == getattr(candidate, suppression.per)
        )
    )
    for index, last in enumerate(times):
        recent = [t for t in times[: index + 1] if t > last - suppression.within]
        if len(recent) >= suppression.times and now < last + suppression.pause:
            return True
    return False


def quiet(definition: PolicyDefinition, candidate: CandidateInfo, now: int, zone: ZoneInfo) -> bool:
    channel = next(c for c in definition.channels if c.name == candidate.channel)
    return any(
        candidate.purpose not in hours.except_purposes and is_quiet(definition, hours, now, zone)
        for hours in channel.quiet_hours
    )


def is_quiet(definition: PolicyDefinition, hours: QuietHours, now: int, zone: ZoneInfo) -> bool:
    clock = local(now, zone)
    minute = clock.hour * 60 + clock.minute
    span = (hours.end - hours.start) % (24 * 60) or 24 * 60
    since = (minute - hours.start) % (24 * 60)
    if since >= span:
        return False
    begun = clock.date() - timedelta(days=since > minute)
    if hours.weekdays and begun.weekday() not in hours.weekdays:
        return False
    if hours.calendar is None:
        return True
    found = next(one for one in definition.calendars if one.name == hours.calendar)
    return any(first <= begun.toordinal() <= last for first, last in found.dates)


def closed(
    definition: PolicyDefinition, document: Document, candidate: CandidateInfo, now: int
) -> bool:
    channel = next(c for c in definition.channels if c.name == candidate.channel)
    if not channel.reply_windows:
        return False
    widest = None
    for window in channel.reply_windows:
        history = document.events.get(window.opened_by)
        if (
            history
            and now < history.last_at + window.lasts
            and (widest is None or window.lasts > widest[0].lasts)
        ):
            widest = (window, history.last_at)
    if widest is None:
        return True
    window, since = widest
    used = [
        contact
        for contact in document.contacts
        if contact.at >= since
        and counts(contact, now)
        and document.kinds[contact.kind].channel == channel.name
    ]
    return window.allows is not None and len(used) >= window.allows


def passes(
    definition: PolicyDefinition,
    document: Document,
    candidate: CandidateInfo,
    now: int,
    zone: ZoneInfo,
) -> bool:
    return not (
        any(paused(s, document, candidate, now) for s in definition.suppressions)
        or quiet(definition, candidate, now, zone)
        or closed(definition, document, candidate, now)
        or capped(definition, document, candidate, now, zone)
    )
