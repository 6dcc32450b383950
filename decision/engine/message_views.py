"""Messages as people look for them: found by words and kind, previewed for somebody, with the caps
and budgets that hold for them.

Nothing here decides: a preview is the text as it would be, whoever may get it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from decision.core import business_rules
from decision.core.business_rules import Override
from decision.core.condition_words import failures
from decision.core.coupons import PLACEHOLDER
from decision.core.definition import Cap, FieldLimit, Message
from decision.core.document import Document
from decision.core.explanation import within
from decision.core.fields import Situation
from decision.core.journeys.words import condition_words
from decision.core.masks import indices
from decision.core.policy import Policy
from decision.core.said import SELECTED, Said
from decision.core.schema import TriggerEvent
from decision.core.selectors import matches
from decision.core.texts import Texts
from decision.core.values import MISSING
from decision.engine.snapshot import Snapshot
from decision.rulebook.content import content_for, needed_fields
from decision.rulebook.template_names import look_up

State = Literal["active", "ended", "not_yet"]
STATES: Final[tuple[State, ...]] = ("active", "not_yet", "ended")


class MessageFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages; what is empty asks nothing. `text` is looked for in names and content."""

    text: str = ""
    purpose: str = ""
    channel: str = ""
    category: str = ""
    tag: str = ""
    placement: str = ""
    state: str = ""


class Somebody(msgspec.Struct, frozen=True, kw_only=True):
    """For whom texts are previewed, and what a request would bring."""

    document: Document
    placement: str = ""
    event: TriggerEvent | None = None
    context: dict[str, Any] = {}


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """A message's content on one channel.

    `lengths` is field → (its characters, how many the channel takes). `missing` names what the
    content prints as if always there, and is not; `excess` says why a text is too long to be given.
    """

    channel: str
    content: dict[str, Any]
    lengths: dict[str, tuple[int, int]] = {}
    missing: list[str] = []
    excess: str | None = None


class CapView(NamedTuple):
    """A cap that holds for a message: its name, what it allows in words, where it stands."""

    name: str
    words: str
    source: str


def state_of(message: Message, now: int) -> State:
    """Whether a message is active at a time (µs).

    >>> state_of(Message(name="a", purpose="p", channels=("push",), active_until=5), now=5)
    'ended'
    """
    if message.active_until is not None and now >= message.active_until:
        return "ended"
    if message.active_from is not None and now < message.active_from:
        return "not_yet"
    return "active"


def find_messages(policy: Policy, asked: MessageFilter, now: int) -> list[Message]:
    """The messages that a filter keeps, in the order of the rule files."""
    words = asked.text.casefold().split()
    at = policy.placement_masks.get(asked.placement, 0) if asked.placement else policy.everything
    return [
        one
        for one in policy.definition.messages
        if (not asked.purpose or one.purpose == asked.purpose)
        and (not asked.channel or asked.channel in one.channels)
        and (not asked.category or one.category == asked.category)
        and (not asked.tag or asked.tag in one.tags)
        and (not asked.state or state_of(one, now) == asked.state)
        and at & policy.message_masks.get(one.name, 0)
        and (not words or _has(one, words))
    ]


def _has(message: Message, words: Collection[str]) -> bool:
    said = [message.name, message.category, *message.tags, *_texts(message.content)]
    text = "\n".join(said).casefold()
    return all(word in text for word in words)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def placements_of(policy: Policy, message: Message) -> list[str]:
    """The placements in which a message is a candidate."""
    mask = policy.message_masks.get(message.name, 0)
    return [name for name, own in policy.placement_masks.items() if own & mask]


def caps_of(policy: Policy, message: Message) -> list[CapView]:
    """The caps that count contacts of a message, in the order of the rule files."""
    own = [policy.candidates[one] for one in indices(policy.message_masks.get(message.name, 0))]
    return [
        CapView(cap.name, cap_words(cap), cap.source)
        for cap in policy.contact_policy.caps
        if any(matches(cap.of, one) for one in own)
    ]


def cap_words(cap: Cap) -> str:
    """What a cap allows, in words.

    >>> from decision.core.definition import Selector
    >>> cap_words(Cap(name="daily", of=Selector(), at_most=2, within="day", per="channel"))
    'at most 2 within the calendar day, per channel'
    """
    most = cap.at_most
    number = str(most)
    if isinstance(most, FieldLimit):
        number = Said("%(field)s (or %(n)s)", field=most.field, n=most.default)
    text = Said("at most %(n)s %(within)s", n=number, within=within(cap))
    if cap.per:
        text = Said("%(cap)s, per %(key)s", cap=text, key=Said(SELECTED[cap.per]))
    where = condition_words(cap.when)
    return Said("%(cap)s, where %(where)s", cap=text, where=where) if where else text


def shared_budgets_of(policy: Policy, message: Message) -> set[str]:
    """The names of `budgets:` that a message takes from."""
    mask = policy.message_masks.get(message.name, 0)
    return {
        one.name
        for one in policy.budgets.all
        if one.shared and any(mask & own for _, own in one.takes)
    }


def texts_for(snapshot: Snapshot, somebody: Somebody, now: int) -> Texts:
    """The texts of all messages for somebody, as a decision would see them: with what rules set."""
    policy, document = snapshot.policy, somebody.document
    situation = Situation(
        document,
        somebody.placement,
        now,
        policy.zone_of(document),
        somebody.event,
        somebody.context,
        policy.variant,
    )
    values = policy.read(situation)
    overrides: list[Override] = []
    slot_of = policy.fields.slot
    business_rules.run(policy.rule_strata, policy.rules, snapshot.plain, values, slot_of, overrides)
    return Texts(snapshot.contents, policy, situation, overrides, values, None)


def previews(texts: Texts, message: Message) -> list[Preview]:
    """A message on each of its channels."""
    policy = texts.policy
    found = []
    for candidate in indices(policy.message_masks.get(message.name, 0)):
        channel = policy.pairs[candidate][1]
        if message.coupon:
            texts.give(candidate, PLACEHOLDER)
        content = texts.content(candidate)
        names = texts.names()
        excess = texts.excess(candidate) if not texts.fits(candidate) else None
        found.append(
            Preview(
                channel=channel.name,
                content=content,
                lengths={
                    field: (len(text), most)
                    for field, most in channel.max_length.items()
                    if isinstance(text := content.get(field), str)
                },
                missing=[
                    name
                    for name in needed_fields(content_for(message, channel.name))
                    if _is_missing(name, names)
                ],
                excess=excess,
            )
        )
    return found


def _is_missing(name: str, names: Mapping[str, Any]) -> bool:
    family, _, path = name.partition(".")
    return look_up(names.get(family), path) is MISSING


def unmet(texts: Texts, message: Message) -> list[str]:
    """In words, what keeps the message's own condition from holding; empty where it holds."""
    policy, situation = texts.policy, texts.situation
    slot_of, attributes = policy.fields.slot, situation.document.attributes
    return failures(message.when, texts.values, slot_of, False, situation.zone, attributes)
