"""Gateways: what hands a delivery to those who bring it to the customer.

A gateway is an object with `send`: it takes an `Outgoing` and says what became of it. Retries,
limits and what is recorded are not its concern. The file that `NEXTBEST_GATEWAYS` names says which
there are (`settings`); a type is a module here, or an entry point of another package (`registry`).
"""

from decision.gateways.limits import Limit
from decision.gateways.protocol import (
    Accepted,
    AudienceGateway,
    AudiencePortion,
    Gateway,
    GatewayConfig,
    Outgoing,
    Rejected,
    Result,
    Retry,
    Unknown,
)
from decision.gateways.registry import Context, GatewayType
from decision.gateways.settings import (
    GatewaySettings,
    GatewaySettingsError,
    load_gateways,
    parse_gateways,
)

__all__ = [
    "Accepted",
    "AudienceGateway",
    "AudiencePortion",
    "Context",
    "Gateway",
    "GatewayConfig",
    "GatewaySettings",
    "GatewaySettingsError",
    "GatewayType",
    "Limit",
    "Outgoing",
    "Rejected",
    "Result",
    "Retry",
    "Unknown",
    "load_gateways",
    "parse_gateways",
]
