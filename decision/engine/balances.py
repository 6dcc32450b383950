"""How much of the contact policy is left for one customer: each cap, pause and reply window."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Final

import msgspec

from decision.core.candidates import CandidateInfo
from decision.core.caps import UNLIMITED, fields_of
from decision.core.clock import from_micros
from decision.core.contact_policy import NEVER, CapGroup, ReplyChannel, count_on_channel
from decision.core.document import Document
from decision.core.explanation import within
from decision.core.fields import Situation
from decision.core.masks import indices
from decision.core.policy import Policy
from decision.core.said import Say

_ASKED: Final = ("context.", "event.", "placement")
"""How fields begin that only a request has."""


class CapBalance(msgspec.Struct, frozen=True, kw_only=True):
    """One cap: `used` contacts count now, of `at_most`.

    `at_most` and `left` are null while the cap does not apply to the customer. Where `per` is set
    the cap counts each of them by itself: `key` names one of which there are contacts, and null
    stands for every other. `opens_at` is when a full one has room again if nothing is sent until
    then, null where it has room, or time alone does not open it. `asks` are the fields of the cap
    that only a request has: with them it may allow another number.
    """

    cap: str
    source: str
    within: str
    used: int
    at_most: int | None
    left: int | None
    full: bool
    per: str | None = None
    key: str | None = None
    opens_at: datetime | None = None
    asks: list[str] = []


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """A suppression in force until `until`; `key` names what it pauses, null everything."""

    suppression: str
    source: str
    until: datetime
    per: str | None = None
    key: str | None = None


class ReplyBalance(msgspec.Struct, frozen=True, kw_only=True):
    """A channel that only a reply opens: `left` of what its open window allows, null for any."""

    channel: str
    open: bool
    opened_by: str | None = None
    until: datetime | None = None
    used: int = 0
    left: int | None = None


class Balances(msgspec.Struct, frozen=True, kw_only=True):
    """What may still be sent to one customer, by the policy in force, at a time."""

    at: datetime
    timezone: str
    caps: list[CapBalance]
    pauses: list[Paused]
    replies: list[ReplyBalance]


def balances(policy: Policy, document: Document, now: int, say: Say = str) -> Balances:
    """Every cap, pause and reply window of a policy, for one customer at a time (µs).

    What a cap asks of the customer is answered; what it asks of a request is missing (`asks`).
    `say` says the windows of caps in another language.
    """
    zone = policy.zone_of(document)
    contact_policy = policy.contact_policy
    pauses = []
    for pause in contact_policy.pauses(document.signals, now):
        suppression = contact_policy.suppressions[pause.suppression]
        pauses.append(
            Paused(
                suppression=suppression.name,
                source=suppression.source,
                until=from_micros(pause.end),
                per=suppression.per,
                key=_key(suppression.per, policy.candidates[next(iter(indices(pause.mask)))]),
            )
        )
    return Balances(
        at=from_micros(now),
        timezone=str(zone),
        caps=list(_caps(policy, document, now, zone, say)),
        pauses=pauses,
        replies=[
            _reply(policy, channel, document, now) for channel in contact_policy.reply_channels
        ],
    )


def _caps(
    policy: Policy, document: Document, now: int, zone: tzinfo, say: Say
) -> Iterator[CapBalance]:
    """In the order of the rule files: what is counted, most of it first, then all else."""
    contact_policy = policy.contact_policy
    situation = Situation(document, "", now, zone, variants=policy.variant)
    standing = contact_policy.standing(document, now, zone, policy.read(situation))
    groups: dict[int, list[CapGroup]] = {}
    for group in contact_policy.groups:
        groups.setdefault(group.cap, []).append(group)
    for number, cap in enumerate(contact_policy.caps):
        own = groups.get(number)
        if own is None:  # it holds no candidate back
            continue
        counted = [group for group in own if standing.counts.get(group.number)]
        counted.sort(key=lambda group: (-standing.counts[group.number], group.key))
        shown: list[tuple[CapGroup, str | None]] = [(group, group.key or None) for group in counted]
        others = next((group for group in own if group not in counted), None)
        if others is not None:
            shown.append((others, None))
        for group, key in shown:
            allows, used = standing.limits[group.number], standing.counts.get(group.number, 0)
            applies, opens = allows < UNLIMITED, now
            if applies and used >= allows:
                opens = contact_policy.cap_opens(group, allows, document, now, zone)
            yield CapBalance(
                cap=cap.name,
                source=cap.source,
                within=say(within(cap)),
                used=used,
                at_most=allows if applies else None,
                left=max(allows - used, 0) if applies else None,
                full=applies and used >= allows,
                per=cap.per,
                key=key,
                opens_at=from_micros(opens) if now < opens < NEVER else None,
                asks=sorted({name for name in fields_of(cap) if name.startswith(_ASKED)}),
            )


def _reply(policy: Policy, channel: ReplyChannel, document: Document, now: int) -> ReplyBalance:
    found = policy.contact_policy.open_window(channel, document, now)
    if found is None:
        return ReplyBalance(channel=channel.channel, open=False)
    window, since = found
    used = count_on_channel(document, channel.channel, since, now)
    left = None if window.allows is None else max(window.allows - used, 0)
    return ReplyBalance(
        channel=channel.channel,
        open=left != 0,
        opened_by=window.opened_by,
        until=from_micros(since + window.lasts),
        used=used,
        left=left,
    )


def _key(per: str | None, candidate: CandidateInfo) -> str | None:
    return None if per is None else str(getattr(candidate, per))
