"""Messages, and whether they fit their channels and placements."""

from __future__ import annotations

from decision.core.candidates import MOST_CANDIDATES
from decision.core.definition import Budget, Goal, Message, Placement, PolicyDefinition
from decision.rulebook.checker import Checker
from decision.rulebook.conditions import read_when
from decision.rulebook.content import printed_fields
from decision.rulebook.content_checks import check_lengths, read_content
from decision.rulebook.diagnostics import one_of
from decision.rulebook.yaml_source import Node


def read_message(checker: Checker, name: str, node: Node) -> Message:
    """One of `messages:`; its tags and category become known names."""
    with checker.entry(node, f'message "{name}"') as entry:
        purpose = entry.require("purpose", Checker.name, "", "purposes")
        category = entry.read("category", Checker.text, "")
        tags = entry.read("tags", Checker.texts, (), least=0)
        channels = entry.require("channels", Checker.references, (), "channels")
        active_from, active_until = entry.read("active", _active, (None, None))
        coupon = entry.read("coupon", Checker.name, "", "coupons")
        content = entry.read("content", read_content, {}, channels, coupon=coupon)
        found = Message(
            name=name,
            source=node.key.label,
            purpose=purpose,
            channels=channels,
            category=category,
            tags=tuple(tag for tag, _ in tags),
            placements=entry.read("placements", Checker.references, None, "placements"),
            value=entry.read("value", Checker.number, 0.0, least=0),
            active_from=active_from,
            active_until=active_until,
            when=(when := read_when(entry)),
            clause_sources=checker.places.clause_sources(when),
            budget=entry.read("budget", _budget, None),
            coupon=coupon,
            goal=entry.read("goal", _goal, None),
            content=content,
            content_source=where.key.label if (where := entry.get("content")) else "",
            printed=printed_fields(content),
        )
    checker.names["tags"].update(dict.fromkeys(found.tags))
    if found.category:
        checker.names["categories"][found.category] = None
    return found


def _active(checker: Checker, node: Node, what: str) -> tuple[int | None, int | None]:
    with checker.entry(node, what) as entry:
        start = entry.read("from", Checker.moment, None)
        end = entry.read("until", Checker.moment, None)
        if node.value == {}:
            message = f'{what} needs the key "from" or "until"'
            checker.error("missing-key", node.key, message, "add from: … or until: …")
        if start is not None and end is not None and end <= start:
            message = f"{what} ends before it starts"
            hint = '"until" must be later than "from"; the moment "until" itself is not included'
            checker.error("bad-value", (entry.get("until") or node).at, message, hint)
    return start, end


def _budget(checker: Checker, node: Node, what: str) -> Budget:
    with checker.entry(node, what) as entry:
        if node.value == {}:
            message = f'{what} needs the key "total" or "per_day"'
            checker.error("missing-key", node.key, message, "add total: … or per_day: …")
        return Budget(
            total=entry.read("total", Checker.whole, None),
            per_day=entry.read("per_day", Checker.whole, None),
            source=node.key.label,
        )


def _goal(checker: Checker, node: Node, what: str) -> Goal:
    with checker.entry(node, what) as entry:
        return Goal(
            event=entry.require("event", Checker.event, ""),
            within=entry.require("within", Checker.duration, 0),
        )


def check_messages(checker: Checker, definition: PolicyDefinition) -> None:
    """Checks that messages, channels and placements fit together."""
    limits = {channel.name: channel.max_length for channel in definition.channels}
    messages = {message.name: message for message in definition.messages}
    placements = {placement.name: placement for placement in definition.placements}
    number = 0
    for message in definition.messages:
        number += len(message.channels)
        if number > MOST_CANDIDATES:
            key = checker.places.nodes["messages"][message.name].key
            text = f"with {message.name} there are more than {MOST_CANDIDATES:,} candidates"
            hint = "a candidate is a message on a channel; remove messages or channels"
            checker.error("bad-value", key, text, hint)
            break
    for placement in definition.placements:
        _check_fallback(checker, placement, messages)
    fallbacks = {placement.fallback for placement in definition.placements}
    given = {
        (name, next((each for each in placement.channels if each in messages[name].channels), ""))
        for placement in definition.placements
        if (name := placement.fallback) in messages
    }
    for message in definition.messages:
        node = checker.places.nodes["messages"][message.name]
        entry = node.value if isinstance(node.value, dict) else {}
        if "content" in entry and isinstance(entry["content"].value, dict):
            fallback_on = {channel for name, channel in given if name == message.name}
            check_lengths(checker, entry["content"], message, limits, fallback_on)
        reached = [
            placement
            for placement in definition.placements
            if (message.placements is None or placement.name in message.placements)
            and not set(placement.channels).isdisjoint(message.channels)
        ]
        if message.placements and message.channels:
            _check_shared(checker, message, entry["placements"], placements, reached)
        if message.name in fallbacks or not message.channels:
            continue
        if not limits.keys() >= set(message.channels):
            continue  # has a diagnostic already
        if message.placements is None and not reached:
            text = f'message "{message.name}" can never be chosen: no placement has its channels'
            checker.warn(node.key, text, "add one of its channels to a placement")
        elif _is_worthless(entry) and all(placement.threshold >= 0 for placement in reached):
            text = f'message "{message.name}" can never be chosen: its value is 0'
            checker.warn(node.key, text, "add a value above 0, in settings.currency")


def _is_worthless(entry: dict[str, Node]) -> bool:
    """Whether the value is missing or 0, so that no priority can be more than 0."""
    return "value" not in entry or entry["value"].value == 0


def _check_shared(
    checker: Checker,
    message: Message,
    node: Node,
    placements: dict[str, Placement],
    reached: list[Placement],
) -> None:
    good = {placement.name for placement in reached}
    for item in node.value if isinstance(node.value, list) else [node]:
        name = item.value
        if not isinstance(name, str) or name in good or name not in placements:
            continue
        channels = placements[name].channels
        if channels:
            reason = f'message "{message.name}" has no channel of placement "{name}"'
            hint = f"delete the placement, or add {one_of(channels)} to the channels of the message"
            checker.error("conflict", item.at, reason, hint)


def _check_fallback(checker: Checker, placement: Placement, messages: dict[str, Message]) -> None:
    """Checks that the fallback exists and can be given at the placement."""
    if placement.fallback is None:
        return
    place = checker.places.value("placements", placement.name, "fallback")
    if not checker.reference(placement.fallback, "messages", place):
        return
    channels = messages[placement.fallback].channels
    if channels and placement.channels and set(channels).isdisjoint(placement.channels):
        reason = f'fallback "{placement.fallback}" has no channel of placement "{placement.name}"'
        hint = f"use a message on {one_of(placement.channels)}"
        checker.error("conflict", place, reason, hint)
