"""The names in a gateways file, for who needs no secrets of it."""

from __future__ import annotations

import msgspec

from decision.gateways.settings import read_gateways_file, sections_of


class GatewayNames(msgspec.Struct, frozen=True):
    """Names of gateways, and channel → the name of its gateway."""

    gateways: list[str]
    channels: dict[str, str]

    def channels_of(self, gateway: str) -> list[str]:
        """The channels that a gateway serves."""
        return [channel for channel, name in self.channels.items() if name == gateway]


def load_names(path: str) -> GatewayNames:
    """What the file names; no variable needs a value, and what gateways are told is not looked at.

    Raises:
        GatewaySettingsError: the file cannot be read, or is no YAML.
    """
    reading, sections = sections_of(path, read_gateways_file(path), None)
    found = {
        key: reading.mapping(sections[key], key) if key in sections else {}
        for key in ("gateways", "channels")
    }
    served = {
        channel: name
        for channel, node in found["channels"].items()
        if isinstance(name := reading.plain(node, channel), str)
    }
    return GatewayNames(gateways=list(found["gateways"]), channels=served)
