"""Texts of messages as pages show them: each field, once for all channels that have the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from decision.console.html_text import text_of_html
from decision.engine.message_views import Preview


class Part(NamedTuple):
    """A field of a content as a page shows it; `source` is the HTML that `text` was read from."""

    name: str
    text: str
    source: str = ""


class Shown(NamedTuple):
    """One text, and the channels on which it is the same."""

    channels: list[str]
    preview: Preview
    parts: list[Part]


def parts_of(preview: Preview) -> list[Part]:
    """A content's fields as texts. HTML becomes what it says; data that is no text, JSON."""
    found = []
    for name, value in preview.content.items():
        if not isinstance(value, str):
            found.append(Part(name, json.dumps(value, ensure_ascii=False, indent=1, default=str)))
        elif name.lower().endswith("html"):
            found.append(Part(name, text_of_html(value), value))
        else:
            found.append(Part(name, value))
    return found


def merged(found: Sequence[Preview]) -> list[Shown]:
    """The previews of a message, those of channels with the same text together."""
    shown: list[Shown] = []
    for one in found:
        same = next((s for s in shown if _alike(s.preview, one)), None)
        if same is None:
            shown.append(Shown([one.channel], one, parts_of(one)))
        else:
            same.channels.append(one.channel)
    return shown


def _alike(one: Preview, other: Preview) -> bool:
    return (one.content, one.lengths, one.excess) == (other.content, other.lengths, other.excess)
