"""What a server's settings mean for drafts of rule files."""

from __future__ import annotations

from decision.server.settings import ServerSettings


def why_read_only(settings: ServerSettings) -> str | None:
    """Why drafts can only be looked at here, and what to do; None where they can be published.

    >>> why_read_only(ServerSettings(follow="published")) is None
    True
    """
    if settings.follow == "published":
        return None
    return (
        f"This server takes its rules from the folder {settings.rules}: a published draft would "
        "have no effect. Change the files there, or publish them once (nextbest publish "
        f"{settings.rules}) and start the server with --follow published."
    )


def needs_review(settings: ServerSettings) -> bool:
    """Whether a draft is published only once somebody who has not written in it approved it."""
    return settings.review == "required"
