"""Keys of content that one message alone has, by nearly the name that many have.

No proof, as an app may read both. But content is handed over as it is written: an app that reads
`title` shows nothing where somebody wrote `titel`, and nothing else tells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from decision.core.definition import Message
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
