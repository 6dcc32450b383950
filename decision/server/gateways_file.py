"""A look at the gateways file where a server starts that does not send itself.

Whoever sends refuses to start with a file that has errors, or without a secret. A server starts: it
needs the file for links and reports alone. That nothing can be sent should be known before.
"""

from __future__ import annotations

from decision.core.definition import PolicyDefinition
from decision.observability import get_logger
from decision.server.settings import ServerSettings

_log = get_logger()


def tell_of_gateways(settings: ServerSettings) -> None:
    """Logs what keeps the gateways file from being sent with.

    A secret without a value here may be right, as one that sends has its own: that is a line at
    level info. All else is a warning.
    """
    if settings.gateways is None or settings.outbound:
        return
    from decision.gateways.checking import check_gateways

    for one in check_gateways(settings.gateways, None):
        said = "; ".join(filter(None, (one.message, one.hint)))
        if one.severity == "warning":
            said = f"{said}. This server does not send, so it starts; nextbest outbound needs it"
            _log.info("gateways_file_incomplete", place=one.place, problem=said)
        else:
            said = f"{said}. This server does not send, so it starts; nextbest outbound will not"
            _log.warning("gateways_file_wrong", place=one.place, problem=said)


def delivery_cautions(path: str | None, definition: PolicyDefinition) -> list[str]:
    """Warnings about what a policy has to say that the gateways file cannot deliver."""
    if path is None:
        return []
    from decision.gateways.checking import dead_links_of
    from decision.gateways.settings import HOW_TO_HAVE_LINKS

    return [f"{one}; {HOW_TO_HAVE_LINKS}" for one in dead_links_of(path, definition)]
