"""What a server's settings mean for drafts of rule files."""

from __future__ import annotations

from pathlib import Path

from decision.core.said import Said
from decision.server.settings import ServerSettings


def why_read_only(settings: ServerSettings) -> str | None:
    """Why drafts can only be looked at here, and what to do; None where they can be published.

    >>> why_read_only(ServerSettings(follow="published")) is None
    True
    """
    if settings.follow == "published":
        return None
    return Said(
        "This server takes its rules from the folder %(folder)s: a published draft would have no "
        "effect. Change the files there, or publish them once (nextbest publish %(folder)s) and "
        "start the server with --follow published.",
        folder=_from_here(settings.rules),
    )


def _from_here(folder: str | None) -> str:
    """A folder by its path from the working directory, where it is below that."""
    path = Path(folder or ".").absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(folder)


def needs_review(settings: ServerSettings) -> bool:
    """Whether a draft is published only once somebody who has not written in it approved it."""
    return settings.review == "required"
