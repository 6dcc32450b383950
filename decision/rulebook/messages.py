"""Messages, and what must fit between them, channels and placements."""

from __future__ import annotations

from decision.core.definition import Budget, Channel, Goal, Message, Placement
from decision.rulebook.checker import Checker
from decision.rulebook.conditions import read_when
from decision.rulebook.content import check_lengths, read_content
from decision.rulebook.yaml_source import Node


def read_message(checker: Checker, name: str, node: Node) -> Message:
    """One of `messages:`; makes its tags and category known."""
    with checker.entry(node, f'message "{name}"') as entry:
        purpose = entry.require("purpose", Checker.name, "", "purposes")
        category = entry.read("category", Checker.text, "")
        tags = entry.read("tags", Checker.texts, (), least=0)
        channels = entry.require("channels", Checker.references, (), "channels")
        active_from, active_until = entry.read("active", _active, (None, None))
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
            when=read_when(entry),
            budget=entry.read("budget", _budget, None),
            goal=entry.read("goal", _goal, None),
            content=entry.read("content", read_content, {}, channels),
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
            checker.error("missing-key", node.key, f'{what} needs "from" or "until"')
        if start is not None and end is not None and end <= start:
            message = f"{what} ends before it starts"
            hint = "until must be later than from; it is exclusive"
            checker.error("bad-value", (entry.get("until") or node).at, message, hint)
    return start, end


def _budget(checker: Checker, node: Node, what: str) -> Budget:
    with checker.entry(node, what) as entry:
        if node.value == {}:
            checker.error("missing-key", node.key, f'{what} needs "total" or "per_day"')
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


def check_messages(
    checker: Checker,
    messages: dict[str, tuple[Message, Node]],
    placements: dict[str, tuple[Placement, Node]],
    channels: dict[str, tuple[Channel, Node]],
) -> None:
    """What must fit between messages, channels and placements."""
    limits = {name: channel.max_length for name, (channel, _) in channels.items()}
    for placement, node in placements.values():
        check_fallback(checker, placement, node, messages)
    fallbacks = {placement.fallback for placement, _ in placements.values()}
    for message, node in messages.values():
        entry = node.value if isinstance(node.value, dict) else {}
        if "content" in entry and isinstance(entry["content"].value, dict):
            check_lengths(checker, entry["content"], message, limits)
        reached = [
            placement
            for placement, _ in placements.values()
            if (message.placements is None or placement.name in message.placements)
            and not set(placement.channels).isdisjoint(message.channels)
        ]
        if message.placements and message.channels:
            _check_shared(checker, message, entry["placements"], placements, reached)
        if message.name in fallbacks or not message.channels:
            continue
        if not channels.keys() >= set(message.channels):
            continue  # complained about already
        if message.placements is None and not reached:
            text = f'message "{message.name}" is never given'
            checker.warn(node.key, text, "no placement has one of its channels")
        elif _is_worthless(entry) and all(placement.threshold >= 0 for placement in reached):
            text = f'message "{message.name}" is never given: its value is 0'
            checker.warn(node.key, text, "give it a value in settings.currency")


def _is_worthless(entry: dict[str, Node]) -> bool:
    """Whether the value is left out or 0, so that no priority can be more than 0."""
    return "value" not in entry or entry["value"].value == 0


def _check_shared(
    checker: Checker,
    message: Message,
    node: Node,
    placements: dict[str, tuple[Placement, Node]],
    reached: list[Placement],
) -> None:
    good = {placement.name for placement in reached}
    for item in node.value if isinstance(node.value, list) else [node]:
        name = item.value
        if not isinstance(name, str) or name in good or name not in placements:
            continue
        channels = placements[name][0].channels
        if channels:
            reason = f'message "{message.name}" and placement "{name}" share no channel'
            hint = f"{name} has {', '.join(channels)}"
            checker.error("conflict", item.at, reason, hint)


def check_fallback(
    checker: Checker,
    placement: Placement,
    node: Node,
    messages: dict[str, tuple[Message, Node]],
) -> None:
    """Complains about a fallback that does not exist, or cannot be said at the placement."""
    if placement.fallback is None:
        return
    place = node.value["fallback"].at
    if not checker.reference(placement.fallback, "messages", place):
        return
    channels = messages[placement.fallback][0].channels
    if channels and placement.channels and set(channels).isdisjoint(placement.channels):
        reason = f'fallback "{placement.fallback}" has no channel of placement "{placement.name}"'
        checker.error("conflict", place, reason, f"one of {', '.join(placement.channels)}")
