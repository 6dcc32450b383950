"""Whether a customer agreed to a purpose on a channel.

The more specific consent wins: purpose and channel, then purpose or channel alone, then
neither; where two are equally specific (`marketing: {"*": …}` and `"*": {email: …}`), the
stricter one does. But a grant yields to a more general denial that is newer.

What is kept of each is the newest statement, to the second; of the same second the denial, unless
the grant is more specific and of the same source, which then says what its denial leaves out; where
several sources deny the same in one second, it is of none of them. So it does not matter in which
order statements come in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from decision.core.clock import SECOND
from decision.core.definition import Purpose
from decision.core.document import Consent, ConsentChange, Document
from decision.core.said import Said

ANY = "*"
TRAIL_LENGTH = 50
"""How many changes of consents are remembered for each customer."""
EVIDENCE_KEPT = 16_384
"""Characters of evidence that are kept with a customer; of the oldest statements it goes first. The
log keeps all of it."""
Consents = dict[str, dict[str, Consent]]


class Statement(NamedTuple):
    """What a customer said of a purpose on a channel, at a time in microseconds.

    `granted` None takes back what was said before. `spared` is the time of a more general denial
    of the same call, which leaves this grant as it is.
    """

    purpose: str
    channel: str
    granted: bool | None
    at: int
    source: str
    evidence: str = ""
    spared: int = 0

    @property
    def kept(self) -> Consent:
        """As it is kept: to the second."""
        at, spared = self.at - self.at % SECOND, self.spared - self.spared % SECOND
        spared = spared if self.granted and spared > at else 0
        return Consent(bool(self.granted), at, self.source, self.evidence, spared)


def stated(consents: Consents, purpose: str, channel: str) -> bool | None:
    """What the customer said about a purpose on a channel: granted, denied, or nothing (None)."""
    own = consents.get(purpose)
    if own is not None and ANY not in consents:  # so it is for most
        found = own.get(channel)
        general = own.get(ANY)
        if found is None:
            return None if general is None else general.granted
        if general is None or general.granted or not found.granted:
            return found.granted
        return not _overrules(general, found)
    found = statement(consents, purpose, channel)
    return None if found is None else found.granted


def statement(consents: Consents, purpose: str, channel: str) -> Consent | None:
    """The consent by which `stated` answers."""
    own, general = consents.get(purpose, {}), consents.get(ANY, {})
    exact, widest = own.get(channel), general.get(ANY)
    equals = [found for found in (own.get(ANY), general.get(channel)) if found is not None]
    broad = _strictest(equals) if equals else None
    if exact is not None:
        if not exact.granted:
            return exact
        for one in equals:
            if not one.granted and _overrules(one, exact):
                return one
    elif broad is None or not broad.granted:
        return broad or widest
    if widest is not None and not widest.granted:
        grants = [one for one in (exact, *equals) if one is not None and one.granted]
        if all(_overrules(widest, one) for one in grants):
            return widest
    return exact or broad


def _overrules(denial: Consent, grant: Consent) -> bool:
    """Whether a denial closes what a more specific grant opened."""
    if grant.spared:
        return denial.at > grant.spared
    others = denial.source != grant.source or denial.spared
    return denial.at > grant.at or (denial.at == grant.at and bool(others))


def is_denied_also(found: Consent | None, said: Statement) -> bool:
    """Whether a statement denies what another source denied in the same second, the first to do so.

    That counts: a grant of that second is then left out by no denial of its own source alone.
    """
    return (
        found is not None
        and not (found.granted or found.spared)
        and said.granted is False
        and found.at == said.kept.at
        and found.source != said.source
    )


def is_outdated(document: Document, said: Statement) -> bool:
    """Whether a newer statement of the same is known, or the very same; or a more general denial
    that overrules this grant, and was taken back.

    Of what is not kept any more, as far as the trail goes back.
    """
    found = document.consents.get(said.purpose, {}).get(said.channel)
    if found is not None:
        return _rank(said.kept) <= _rank(found) or _is_closed(document, said)
    second, cell = said.at // SECOND, (said.purpose, said.channel)
    return _is_closed(document, said) or any(
        (one.at // SECOND, one.granted is not True and bool(said.granted)) > (second, False)
        for one in document.consent_trail
        if (one.purpose, one.channel) == cell
    )


def comes_late(document: Document, said: Statement) -> bool:
    """Whether an outdated statement matters still: it is a general denial that was taken back
    before it was known, so that the grants which it overruled are taken back as well."""
    change = _change(said)
    return (
        said.granted is False
        and ANY in said[:2]
        and change not in document.consent_trail
        and any(_takes_back(one, change) for one in document.consent_trail)
    )


def _takes_back(one: ConsentChange, denial: ConsentChange) -> bool:
    return (
        one.granted is None and one[1:3] == denial[1:3] and one.at // SECOND >= denial.at // SECOND
    )


def _is_closed(document: Document, said: Statement) -> bool:
    """Whether a grant is taken back: with a more general denial that overruled it."""
    trail = document.consent_trail
    return bool(said.granted) and any(
        _covers_more(denial, said[:2])
        and _overrules(_kept(denial), said.kept)
        and any(_takes_back(one, denial) for one in trail)
        for denial in trail
        if denial.granted is False
    )


def _covers_more(denial: ConsentChange, cell: Sequence[str]) -> bool:
    """Whether a denial is also about a more particular purpose or channel."""
    return denial[1:3] != tuple(cell) and _covers(denial.purpose, denial.channel, cell)


def _kept(change: ConsentChange) -> Consent:
    return Consent(bool(change.granted), change.at - change.at % SECOND, change.source)


def _change(said: Statement) -> ConsentChange:
    return ConsentChange(said.at, said.purpose, said.channel, said.granted, said.source)


def _rank(one: Consent) -> tuple[int, bool, str, str, int]:
    """Of two the higher holds: the newer; of one second the denial; else always the same one."""
    return one.at, not one.granted, one.source, one.evidence, one.spared


def is_overruled(consents: Consents, said: Statement) -> bool:
    """Whether a grant would open nothing, because a more general denial is newer."""
    own = said.kept
    alone = {**consents, said.purpose: {**consents.get(said.purpose, {}), said.channel: own}}
    return bool(said.granted) and statement(alone, said.purpose, said.channel) is not own


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


def permits_everywhere(purpose: Purpose, consents: Consents) -> bool | None:
    """What `permits` says on every channel; None where it may differ, or is not as simple.

    >>> news = Purpose(name="news", consent="opt_in")
    >>> said = [{}, {"*": Consent(True)}, {"email": Consent(True)}]
    >>> [permits_everywhere(news, {"news": one}) for one in said]
    [False, True, None]
    """
    if purpose.consent == "not_required":
        return True
    if ANY in consents:
        return None
    own = consents.get(purpose.name)
    if not own:
        return purpose.consent == "opt_out"
    return own[ANY].granted if len(own) == 1 and ANY in own else None


def state(document: Document, said: Statement) -> None:
    """Keeps a statement, whatever was said before, and a line in the trail.

    With a denial that is taken back go the grants that it overruled: forgetting it opens none.
    """
    consents = dict(document.consents)
    channels = consents[said.purpose] = dict(consents.get(said.purpose, {}))
    if said.granted is None:
        before = channels.pop(said.channel, None)
        if before is not None and not before.granted:
            _close(consents, said, before)
    else:
        channels[said.channel] = _beside(channels.get(said.channel), said)
    if said.evidence:
        _bound_evidence(consents)
    document.consents = {name: own for name, own in consents.items() if own}
    _note(document, said)


def _beside(before: Consent | None, said: Statement) -> Consent:
    """The statement as it is kept, where it denies what others denied in that second: as of all."""
    kept = said.kept
    if is_denied_also(before, said) or (
        before is not None and not (before.granted or kept.granted) and before.spared == kept.at
    ):
        return msgspec.structs.replace(kept, spared=kept.at)
    return kept


def hear(document: Document, said: Statement) -> bool:
    """Keeps a statement unless it is outdated; returns whether it is kept.

    What it would have changed had it come in time, it changes though it is outdated.
    """
    if not is_outdated(document, said):
        state(document, said)
        return True
    found = document.consents.get(said.purpose, {}).get(said.channel)
    if found is not None and is_denied_also(found, said):
        own = {**document.consents[said.purpose]}
        own[said.channel] = msgspec.structs.replace(found, spared=found.at)
        document.consents = {**document.consents, said.purpose: own}
    general = ANY in said[:2] and not said.granted
    closed = _is_closed(document, said)
    if (general or closed) and _change(said) not in document.consent_trail:
        own = document.consents.get(said.purpose, {})
        if closed and (found := own.get(said.channel)) and _rank(found) < _rank(said.kept):
            left = {name: one for name, one in own.items() if one is not found}
            consents = {**document.consents, said.purpose: left}
            document.consents = {name: own for name, own in consents.items() if own}
        _note(document, said)
    return False


def _note(document: Document, said: Statement) -> None:
    """Keeps a line in the trail, in order of time, and takes back the grants that go by it."""
    change, trail = _change(said), [*document.consent_trail]
    place = len(trail)
    while place and trail[place - 1].at > change.at:
        place -= 1
    trail.insert(place, change)
    document.consent_trail = trail[-TRAIL_LENGTH:]
    if said.granted or ANY not in said[:2]:
        return
    consents = dict(document.consents)
    for denial in document.consent_trail:
        if (
            denial.granted is False
            and denial[1:3] == change[1:3]
            and any(_takes_back(one, denial) for one in document.consent_trail)
        ):
            _close(consents, denial, _kept(denial))
    document.consents = {name: own for name, own in consents.items() if own}


def _close(consents: Consents, cell: Statement | ConsentChange, denial: Consent) -> None:
    """Takes out the grants that a denial overruled."""
    for purpose, own in consents.items():
        consents[purpose] = {
            channel: one
            for channel, one in own.items()
            if not one.granted
            or (purpose, channel) == (cell.purpose, cell.channel)
            or not _covers(cell.purpose, cell.channel, (purpose, channel))
            or not _overrules(denial, one)
        }


def heard_since(document: Document, trail: list[ConsentChange]) -> list[ConsentChange]:
    """The changes since the document had that trail."""
    known = set(map(id, trail))
    return [one for one in document.consent_trail if id(one) not in known]


def as_of_now(document: Document, said: Statement) -> Statement:
    """The statement with a time by which nothing that was said before overrules it.

    What was said in this second may have a time in the next one, by this.
    """
    at, second = said.at, said.at - said.at % SECOND
    for purpose, channel, known in _concerned(document.consents, said):
        if max(known.at, known.spared) < second:
            continue
        if (purpose, channel) == (said.purpose, said.channel):
            at = max(at, known.at)
        elif not known.granted and said.granted and _covers(purpose, channel, said):
            leaves_out = known.source == said.source and not known.spared
            at = max(at, known.at + (0 if leaves_out else SECOND))
        elif known.granted and not said.granted and _covers(*said[:2], (purpose, channel)):
            # By its time alone, such a grant would be what the denial of its source leaves out.
            left_out = known.spared or (known.at if known.source == said.source else 0)
            at = max(at, known.at, left_out + SECOND if left_out else 0)
    return said._replace(at=at)


def _concerned(consents: Consents, said: Statement) -> Iterator[tuple[str, str, Consent]]:
    """(purpose, channel, consent) of those that a statement may be about, or may be overruled by.

    Of a statement by name these are few, however many are known.
    """
    if ANY in said[:2]:
        for purpose, own in consents.items():
            for channel, known in own.items():
                yield purpose, channel, known
        return
    for purpose, channel in _covering(said):
        found = consents.get(purpose, {}).get(channel)
        if found is not None:
            yield purpose, channel, found


def _covering(said: Statement) -> list[tuple[str, str]]:
    """The purposes and channels that a statement's own are among, each once."""
    purpose, channel = said[:2]
    cells = [(purpose, channel), (purpose, ANY), (ANY, channel), (ANY, ANY)]
    return list(dict.fromkeys(cells))


def of_one_call(said: Sequence[Statement]) -> list[Statement]:
    """Statements as they are meant together: what is denied in general leaves out what is granted
    by name."""
    denied: dict[tuple[str, str], int] = {}
    for one in said:
        if one.granted is False:
            cell = (one.purpose, one.channel)
            denied[cell] = max(one.at, denied.get(cell, 0))
    return [
        one._replace(spared=max(denied.get(cell, 0) for cell in _covering(one)))
        if one.granted
        else one
        for one in said
    ]


def _covers(purpose: str, channel: str, one: Sequence[Any]) -> bool:
    """Whether a statement of that purpose and channel is also about another's."""
    return purpose in (ANY, one[0]) and channel in (ANY, one[1])


def effective(consents: Consents) -> Consents:
    """Those by which anything is decided: without grants that a newer general denial overrules."""
    found = {
        purpose: {
            channel: one
            for channel, one in channels.items()
            if not one.granted or statement(consents, purpose, channel) is one
        }
        for purpose, channels in consents.items()
    }
    return {purpose: channels for purpose, channels in found.items() if channels}


def without_evidence(consents: Consents) -> Consents:
    """The same without what proves them."""
    return {
        purpose: {
            channel: msgspec.structs.replace(one, evidence="") for channel, one in channels.items()
        }
        for purpose, channels in consents.items()
    }


def has_evidence(consents: Consents) -> bool:
    """Whether any of them has evidence."""
    for channels in consents.values():
        for one in channels.values():
            if one.evidence:
                return True
    return False


def _bound_evidence(consents: Consents) -> None:
    """Leaves out the evidence of the oldest statements, where it is too much in all."""
    cells = [(purpose, channel) for purpose in consents for channel in consents[purpose]]
    left = EVIDENCE_KEPT
    for purpose, channel in sorted(cells, key=lambda cell: -consents[cell[0]][cell[1]].at):
        one = consents[purpose][channel]
        left -= len(one.evidence)
        if left < 0:
            left_out = msgspec.structs.replace(one, evidence="")
            consents[purpose] = {**consents[purpose], channel: left_out}


def in_words(purpose: Purpose, consents: Consents, channel: str) -> str:
    """`marketing on email is not stated, must be granted`."""
    said = stated(consents, purpose.name, channel)
    shown = Said("not stated") if said is None else Said("granted") if said else Said("denied")
    opt_in = purpose.consent == "opt_in"
    return Said(
        "consent to %(purpose)s on %(channel)s is %(shown)s, %(wanted)s",
        purpose=purpose.name,
        channel=channel,
        shown=shown,
        wanted=Said("must be granted") if opt_in else Said("must not be denied"),
    )


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
    widest = [consents.get(ANY, {}).get(ANY) for consents in (into, other)]
    united: Consents = {}
    for purpose in purposes:
        for channel in channels:
            said = [
                found
                for consents in (into, other)
                if (found := statement(consents, purpose, channel)) is not None
            ]
            if said:
                strictest = _strictest(said)
                half = (purpose == ANY) != (channel == ANY)
                if half and not strictest.granted and strictest in widest:
                    continue  # what is more general denies it, here as well
                united.setdefault(purpose, {})[channel] = strictest
    for purpose, own in united.items():
        for channel, one in own.items():
            if one.granted and statement(united, purpose, channel) is not one:
                # A more general denial of one of them leaves out what both, or it alone, granted.
                cells = ((purpose, ANY), (ANY, channel), (ANY, ANY))
                general = (united.get(name, {}).get(each) for name, each in cells)
                denied = [found.at for found in general if found and not found.granted]
                own[channel] = msgspec.structs.replace(
                    one,
                    spared=max(one.spared, *denied, SECOND),  # 0 is none
                )
    return _without_repetition(united)


def _strictest(said: list[Consent]) -> Consent:
    """A denial before a grant; the latest of equals."""
    return max(said, key=lambda one: (not one.granted, *_rank(one)))


def _without_repetition(consents: Consents) -> Consents:
    """The same without particular statements that the general ones make anyway, not earlier."""
    for purpose, channels in list(consents.items()):
        for channel in list(channels):
            if ANY not in (purpose, channel):
                particular = channels.pop(channel)
                general = statement(consents, purpose, channel)
                if (
                    general is None
                    or general.granted != particular.granted
                    or general.at < particular.at
                ):
                    channels[channel] = particular
        if not channels:
            del consents[purpose]
    return consents
