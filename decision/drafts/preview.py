"""How the messages that a draft changes would read, beside what is in force. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from decision.core.clock import to_micros
from decision.core.definition import Message, PolicyDefinition
from decision.engine.message_views import Preview, Somebody, previews, texts_for
from decision.engine.snapshot import Snapshot, compile_snapshot
from decision.rulebook.content import content_for

Change = Literal["new", "changed", "removed"]

MOST: Final = 100
"""Messages that are rendered; of more it is said how many there are."""


class ChangedTexts(msgspec.Struct, frozen=True, kw_only=True):
    """A message whose texts a draft changes, on each channel: as in force, and as in the draft.

    `source` is its place in the draft's files; of one that is removed, in those in force.
    """

    name: str
    change: Change
    source: str
    old: list[Preview] = []
    new: list[Preview] = []


class Previewed(msgspec.Struct, frozen=True, kw_only=True):
    """The first of the messages whose texts a draft changes, of `total`."""

    messages: list[ChangedTexts]
    total: int


def preview(
    new: PolicyDefinition, old: PolicyDefinition | None, somebody: Somebody, now: datetime
) -> Previewed:
    """The messages that two policies word differently, as somebody would read them.

    A message counts as changed where its content is another on some channel; what only rules, caps
    or conditions change is for the what-if. Without `old` every message is new.
    """
    before = {} if old is None else {one.name: one for one in old.messages}
    after = {one.name: one for one in new.messages}
    found: dict[str, Change] = {}
    for name in dict.fromkeys([*after, *before]):
        if name not in before:
            found[name] = "new"
        elif name not in after:
            found[name] = "removed"
        elif _worded(before[name]) != _worded(after[name]):
            found[name] = "changed"
    names = list(found)[:MOST]
    news = _texts(new, somebody, now, [after[name] for name in names if name in after])
    olds = _texts(old, somebody, now, [before[name] for name in names if name in before])
    return Previewed(
        messages=[
            ChangedTexts(
                name=name,
                change=found[name],
                source=(after.get(name) or before[name]).source,
                old=olds.get(name, []),
                new=news.get(name, []),
            )
            for name in names
        ],
        total=len(found),
    )


def _worded(message: Message) -> dict[str, Any]:
    """Channel → the content as it is written."""
    return {channel: content_for(message, channel) for channel in message.channels}


def _texts(
    definition: PolicyDefinition | None, somebody: Somebody, now: datetime, asked: list[Message]
) -> Mapping[str, list[Preview]]:
    if definition is None or not asked:
        return {}
    snapshot: Snapshot = compile_snapshot(definition, None, now, durable=False)
    texts = texts_for(snapshot, somebody, to_micros(now))
    return {one.name: previews(texts, one) for one in asked}
