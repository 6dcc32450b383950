"""Whether a customer agreed to a purpose on a channel.

The more specific consent wins: purpose and channel, then purpose or channel alone, then
neither; where two are equally specific (`marketing: {"*": …}` and `"*": {email: …}`), the
stricter one does.
"""

from __future__ import annotations

from decision.core.clock import SECOND
from decision.core.definition import Purpose
from decision.core.document import Consent, ConsentChange, Document

ANY = "*"
TRAIL_LENGTH = 50
"""How many changes of consents are remembered for each customer."""
Consents = dict[str, dict[str, Consent]]


def stated(consents: Consents, purpose: str, channel: str) -> bool | None:
    """What the customer said about a purpose on a channel: granted, denied, or nothing (None)."""
    own, general = consents.get(purpose), consents.get(ANY)
    if own is not None and (found := own.get(channel)) is not None:
        return found.granted
    equals = [
        found.granted
        for found in (own.get(ANY) if own else None, general.get(channel) if general else None)
        if found is not None
    ]
    if equals:
        return all(equals)
    if general is not None and (found := general.get(ANY)) is not None:
        return found.granted
    return None


def statement(consents: Consents, purpose: str, channel: str) -> Consent | None:
    """The consent by which `stated` answers."""
    own, general = consents.get(purpose, {}), consents.get(ANY, {})
    if channel in own:
        return own[channel]
    equals = [found for found in (own.get(ANY), general.get(channel)) if found is not None]
    return _strictest(equals) if equals else general.get(ANY)


def is_outdated(consents: Consents, purpose: str, channel: str, granted: bool, at: int) -> bool:
    """Whether a statement of that time, in microseconds, is older than what is stored.

    An older grant does not open either what a newer general denial closed. Of the same second the
    denial holds.
    """
    if granted:
        found = statement(consents, purpose, channel)
    else:
        found = consents.get(purpose, {}).get(channel)
    return found is not None and (at - at % SECOND, not granted) < (found.at, not found.granted)


def permits(purpose: Purpose, consents: Consents, channel: str) -> bool:
    """Whether a message of that purpose may be given on the channel.

    >>> news = Purpose(name="news", consent="opt_in")
    >>> permits(news, {}, "email"), permits(news, {"news": {"*": Consent(True)}}, "email")
    (False, True)
    """
    if purpose.consent == "not_required":
        return True
    said = stated(consents, purpose.name, channel)
    return said if said is not None else purpose.consent == "opt_out"


def state(
    document: Document, purpose: str, channel: str, granted: bool | None, at: int, source: str
) -> None:
    """Writes one consent, to the second, and a line in the trail; None withdraws the statement."""
    consents = {name: dict(channels) for name, channels in document.consents.items()}
    channels = consents.setdefault(purpose, {})
    if granted is None:
        channels.pop(channel, None)
    else:
        channels[channel] = Consent(granted=granted, at=at - at % SECOND, source=source)
    if not channels:
        del consents[purpose]
    document.consents = consents
    change = ConsentChange(at, purpose, channel, granted, source)
    document.consent_trail = [*document.consent_trail, change][-TRAIL_LENGTH:]


def in_words(purpose: Purpose, consents: Consents, channel: str) -> str:
    """`marketing on email is not stated, must be granted`."""
    said = stated(consents, purpose.name, channel)
    shown = "not stated" if said is None else "granted" if said else "denied"
    wanted = "must be granted" if purpose.consent == "opt_in" else "must not be denied"
    return f"consent to {purpose.name} on {channel} is {shown}, {wanted}"


def merge(into: Consents, other: Consents) -> Consents:
    """The consents of two customers united: the stricter wins wherever either said something.

    What one said in general also holds against what the other said in particular, so that no
    denial is lost.
    """
    purposes = dict.fromkeys([*into, *other, ANY])
    channels = dict.fromkeys(
        [channel for consents in (into, other) for own in consents.values() for channel in own]
        + [ANY]
    )
    united: Consents = {}
    for purpose in purposes:
        for channel in channels:
            said = [
                found
                for consents in (into, other)
                if (found := statement(consents, purpose, channel)) is not None
            ]
            if said:
                united.setdefault(purpose, {})[channel] = _strictest(said)
    return _without_repetition(united)


def _strictest(said: list[Consent]) -> Consent:
    """A denial before a grant; the latest of equals."""
    return min(said, key=lambda consent: (consent.granted, -consent.at))


def _without_repetition(consents: Consents) -> Consents:
    """The same without particular statements that the general ones make anyway."""
    for purpose, channels in list(consents.items()):
        for channel in list(channels):
            if ANY not in (purpose, channel):
                particular = channels.pop(channel)
                if stated(consents, purpose, channel) != particular.granted:
                    channels[channel] = particular
        if not channels:
            del consents[purpose]
    return consents
