"""Keys of content that one message alone has, by nearly the name that many have, or none has.

No proof, as an app may read both. But content is handed over as it is written: an app that reads
`title` shows nothing where somebody wrote `titel`, and nothing else tells.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, Final

from decision.core.definition import Message
from decision.rulebook.content import content_for
from decision.rulebook.review.attributes import is_slip
from decision.rulebook.review.context import ReviewContext

OFTEN: Final = 3
"""How many messages must have a key for another one to be taken for a slip of it."""

Path = tuple[str | int, ...]


def review_content_keys(context: ReviewContext) -> None:
    """Warns of keys that one message alone has, and that are a slip of one which it lacks."""
    having: defaultdict[Path, dict[str, Path]] = defaultdict(dict)  # key → message → where
    for message in context.definition.messages:
        for path, place in _keys(message):
            having[path].setdefault(message.name, place)
    often: defaultdict[Path, list[str]] = defaultdict(list)  # at each place of a content
    for path, messages in having.items():
        if len(messages) >= OFTEN:
            often[path[:-1]].append(str(path[-1]))
    for path, messages in having.items():
        if len(messages) > 1:
            continue
        ((name, place),) = messages.items()
        key, above = str(path[-1]), path[:-1]
        for other in often.get(above, ()):
            known = having[*above, other]
            if name not in known and is_slip(key, other):
                context.report.warn(
                    context.places.key("messages", name, "content", *place),
                    f'no other message has "{key}" in its content; {len(known)} have "{other}"',
                    f"did you mean {other}?",
                    "doubtful-key",
                )
                break


def review_lengths(context: ReviewContext) -> None:
    """Warns of a limit to the length of a field that nothing said on the channel has."""
    for channel in context.definition.channels:
        said = [
            content_for(message, channel.name)
            for message in context.definition.messages
            if channel.name in message.channels
        ]
        texts = Counter(key for one in said for key, text in one.items() if isinstance(text, str))
        for field, limit in channel.max_length.items():
            if texts and not any(field in one for one in said):
                likely = texts.most_common(1)[0][0]
                context.report.warn(
                    context.places.key("channels", channel.name, "max_length", field),
                    f'no message has "{field}" in its content on {channel.name}, so max_length '
                    "limits nothing there",
                    f"write {likely}: {limit}",
                    "no-effect",
                )


def _keys(message: Message) -> Iterator[tuple[Path, Path]]:
    """Each key of a content: by the keys above it, whatever channel and entry; and where it is."""
    for key, value in message.content.items():
        if key in message.channels and isinstance(value, dict):
            yield from _of(value, (), (key,))
        else:
            yield from _of({key: value}, (), ())


def _of(value: Any, path: Path, place: Path) -> Iterator[tuple[Path, Path]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key), (*place, key)
            yield from _of(item, (*path, key), (*place, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _of(item, path, (*place, at))
