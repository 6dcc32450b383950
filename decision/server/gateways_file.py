"""A look at the gateways file where a server starts that does not send itself.

Whoever sends refuses to start with a file that has errors, or without a secret. A server starts: it
needs the file for links and reports alone. That nothing can be sent should be known before.
"""

from __future__ import annotations

from decision.core.definition import PolicyDefinition
from decision.observability import get_logger
from decision.rulebook.diagnostics import Diagnostic
from decision.server.settings import ServerSettings, SettingsError

_log = get_logger()


def tell_of_gateways(settings: ServerSettings) -> None:
    """Logs what keeps the gateways file from being sent with.

    A secret without a value here may be right, as one that sends has its own: that is a line at
    level info. All else is a warning.
    """
    if settings.gateways is None or settings.outbound:
        return
    from decision.gateways.checking import check_gateways
    from decision.gateways.settings import load_inward

    inward = load_inward(settings.gateways)
    told = set()
    for name, found in inward.unusable.items():
        for one in found:
            told.add((one.line, one.column, one.message))
            said = f"{_said(one)}. The server starts, and {_route(name)} answers 503"
            _log.warning("gateways_file_wrong", place=one.place, problem=said)
    for one in check_gateways(settings.gateways, None):
        said = _said(one)
        if (one.line, one.column, one.message) in told:
            continue
        if one.severity == "warning":
            said = f"{said}. This server does not send, so it starts; nextbest outbound needs it"
            _log.info("gateways_file_incomplete", place=one.place, problem=said)
        else:
            said = f"{said}. This server does not send, so it starts; nextbest outbound will not"
            _log.warning("gateways_file_wrong", place=one.place, problem=said)


def refuse_gateways(settings: ServerSettings) -> None:
    """Refuses the start of a server that sends, where the file cannot be sent with.

    Raises:
        SettingsError: what is wrong with the file.
    """
    if not settings.outbound:
        return
    from decision.gateways.settings import GatewaySettingsError, load_gateways

    try:
        load_gateways(settings.gateways)
    except GatewaySettingsError as error:
        raise SettingsError(f"NEXTBEST_GATEWAYS: {error}") from None


def _said(one: Diagnostic) -> str:
    return "; ".join(filter(None, (one.message, one.hint)))


def _route(gateway: str | None) -> str:
    return "/v1/unsubscribe" if gateway is None else f"/v1/hooks/{gateway}"


def delivery_cautions(path: str | None, definition: PolicyDefinition) -> list[str]:
    """Warnings about what a policy has to say that the gateways file cannot deliver, and about
    what the server cannot use of the file."""
    if path is None:
        return []
    from decision.gateways.checking import dead_links_of
    from decision.gateways.settings import HOW_TO_HAVE_LINKS, load_inward

    inward = load_inward(path)
    return [
        *(f"{one.place}: {_said(one)}" for one in inward.problems),
        *(
            f"{one.place}: {_said(one)}; {_route(name)} answers 503"
            for name, found in inward.unusable.items()
            for one in found
        ),
        *(f"{one}; {HOW_TO_HAVE_LINKS}" for one in dead_links_of(path, definition)),
    ]
