"""Checks a gateways file before it is used, also against the rules whose channels it serves."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from decision.core.definition import PolicyDefinition
from decision.gateways.opting_out import PLACEHOLDER, needs_link
from decision.gateways.settings import (
    HOW_TO_HAVE_LINKS,
    GatewaySettings,
    GatewaySettingsError,
    read_gateways,
    read_gateways_file,
)
from decision.rulebook.content import content_for
from decision.rulebook.diagnostics import Diagnostic, hint_for


def check_gateways(
    path: str, definition: PolicyDefinition | None, environ: Mapping[str, str] | None = None
) -> list[Diagnostic]:
    """Everything that is wrong with the file, without opening a gateway.

    A variable without a value is a warning here: secrets are set where it is sent. So is a channel
    that the rules do not have. Every channel that something is sent on needs a gateway.
    """
    try:
        reading, settings = read_gateways(path, read_gateways_file(path), environ)
    except GatewaySettingsError as error:
        return error.diagnostics
    found = [*reading.diagnostics]
    found += [msgspec.structs.replace(one, severity="warning") for one in reading.unset]
    if definition is None:
        return _in_order(found)
    known = {channel.name for channel in definition.channels}
    for name in settings.channels:
        if name not in known:
            message = f'channels: the rules have no channel "{name[:60]}"'
            hint = hint_for(name, known)
            found.append(
                Diagnostic(
                    code="no-effect", file=path, message=message, hint=hint, severity="warning"
                )
            )
    used = {channel for message in definition.messages for channel in message.channels}
    for placement in definition.placements:
        if placement.delivery != "gateway":
            continue
        for name in placement.channels:
            if name in used and settings.gateway_of(name) is None:
                message = f"channels: {name} has no gateway; placement {placement.name} sends on it"
                hint = f"add {name}: and the name of a gateway"
                found.append(Diagnostic(code="missing-key", file=path, message=message, hint=hint))
    if not reading.has_links:
        found += [
            Diagnostic(code="missing-key", file=path, message=text, hint=HOW_TO_HAVE_LINKS)
            for text in dead_links(definition, settings)
        ]
    return _in_order(found)


def dead_links(definition: PolicyDefinition, settings: GatewaySettings) -> list[str]:
    """Messages whose link to opt out would be none, a sentence for each; without `unsubscribe`."""
    gateway_placements = [one for one in definition.placements if one.delivery == "gateway"]
    found = []
    for message in definition.messages:
        sent_on = {
            channel
            for placement in gateway_placements
            if message.placements is None
            or placement.name in message.placements
            or placement.fallback == message.name
            for channel in placement.channels
        }
        dead = [
            channel
            for channel in message.channels
            if channel in sent_on
            and settings.gateway_of(channel) is not None
            and needs_link(content_for(message, channel))
        ]
        if dead:
            found.append(
                f"{message.source}: message {message.name} has {PLACEHOLDER}, and the gateways "
                f"file has no unsubscribe: it is not sent on {', '.join(dead)}, as its link would "
                "do nothing"
            )
    return found


def dead_links_of(path: str, definition: PolicyDefinition) -> list[str]:
    """`dead_links` of a file; none where it cannot be read, which is said elsewhere."""
    try:
        reading, settings = read_gateways(path, read_gateways_file(path), None)
    except GatewaySettingsError:
        return []
    return [] if reading.has_links else dead_links(definition, settings)


def _in_order(found: list[Diagnostic]) -> list[Diagnostic]:
    unique = {(one.line, one.column, one.message): one for one in found}
    return sorted(unique.values(), key=lambda one: (one.line, one.column))
