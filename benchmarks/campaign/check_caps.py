"""No cap is exceeded: by what clients were given, and by the contacts that are stored."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from typing import NamedTuple

from benchmarks.campaign.evidence import Evidence, Found
from benchmarks.campaign.policy import CAPS, DAY, RELEASES_AFTER, RELEASING, SECOND, Cap
from benchmarks.campaign.stored import Contact
from decision.core.document import ContactState


class Given(NamedTuple):
    """A message that a client was answered with. `off` is when it may have stopped to count."""

    customer: str
    message: str
    channel: str
    at: int
    answered: float
    off: float


def caps_of_answers(evidence: Evidence) -> Found:
    """Nobody was given more than a cap allows, by the answers alone.

    A contact counts until an event that may release it was first sent, and on a channel whose
    reservations end, for as long as the reservation at most. After a merge both ids are one.
    """
    by_person: defaultdict[str, list[Given]] = defaultdict(list)
    for answer in evidence.seen.answers.values():
        for message, channel in answer.picks:
            off = evidence.off(answer, message)
            if channel in RELEASING:
                off = min(off, answer.at / SECOND + RELEASES_AFTER - 1)
            given = Given(answer.customer, message, channel, answer.at, answer.answered, off)
            by_person[evidence.person(answer.customer)].append(given)
    wrong = []
    for person, all_given in by_person.items():
        all_given.sort(key=lambda each: each.at)
        merged = evidence.merged_at.get(person, float("inf"))
        for name, cap in CAPS.items():
            wrong += _over(name, cap, all_given, merged)
    return Found(sum(map(len, by_person.values())), wrong, Counter())


def _over(name: str, cap: Cap, all_given: list[Given], merged: float) -> list[str]:
    wrong = []
    matching = [each for each in all_given if cap.channel in (None, each.channel)]
    times = [each.at for each in matching]
    for index, last in enumerate(matching):
        since = last.at // DAY * DAY if cap.within is None else last.at - cap.within + 1
        window = [
            each
            for each in matching[bisect_left(times, since) : index + 1]
            if (not cap.per_message or each.message == last.message)
            and (each.customer == last.customer or last.at / SECOND > merged)
        ]
        if len(window) <= cap.at_most:
            continue
        latest = max(each.answered for each in window)
        counting = [each for each in window if each.off > latest]
        if len(counting) > cap.at_most:
            wrong.append(
                f"{name}: {len(counting)} of {cap.at_most} to {last.customer} at {last.at}"
            )
    return wrong


def caps_stored(evidence: Evidence) -> Found:
    """Nobody has more contacts than a cap allows, by what is stored.

    Those who were merged had caps of their own before, and are left out.
    """
    by_person: defaultdict[str, list[Contact]] = defaultdict(list)
    for contact in evidence.stored.contacts:
        if contact.state != ContactState.RELEASED and contact.channel not in RELEASING:
            by_person[contact.customer].append(contact)
    wrong = []
    for person, contacts in by_person.items():
        if person in evidence.merged_into.values():
            continue
        given = [
            Given(person, each.message, each.channel, each.at, 0, 1)
            for each in sorted(contacts, key=lambda each: each.at)
        ]
        for name, cap in CAPS.items():
            wrong += _over(name, cap, given, float("inf"))
    return Found(sum(map(len, by_person.values())), wrong, Counter())
