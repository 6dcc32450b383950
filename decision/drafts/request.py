"""What a child is asked to do with files of rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from decision.core.errors import NextbestError
from decision.engine.message_views import Somebody

Tell = Callable[[int, int], None]


class Request(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is to be done with `files`.

    For a what-if, `old` are the files to compare with, `archive` is a folder or `replays` are lines
    of decisions, of which the last `newest` are decided again within `seconds`. An estimate takes
    `archive` and `newest` alone. A preview takes `old`, and `somebody` for whom texts are rendered.
    """

    work: Literal["check", "test", "what_if", "estimate", "preview"]
    files: dict[str, str]
    only: str = ""
    coverage: bool = True
    old: dict[str, str] = {}
    archive: str | None = None
    replays: bytes = b""
    newest: int = 0
    seconds: float = 0.0
    models: str | None = None
    lowercase_emails: bool = False
    somebody: Somebody | None = None


class CannotCompare(NextbestError):
    """Policies that cannot be compared over decisions; the text is the child's answer."""
