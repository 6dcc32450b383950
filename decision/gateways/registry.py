"""The types of gateways: those that come with nextbest, and entry points of other packages.

A package adds a type by an entry point of the group `nextbest.gateways`. Its name is the type, its
value a `GatewayType`:

    [project.entry-points."nextbest.gateways"]
    pigeon = "pigeons.gateway:TYPE"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final

import msgspec

from decision.core.errors import NextbestError
from decision.gateways.problems import Problem
from decision.gateways.protocol import Gateway, GatewayConfig

if TYPE_CHECKING:
    from decision.gateways.unsubscribe import UnsubscribeLinks

GROUP: Final = "nextbest.gateways"

_OURS: Final = {
    "file": "decision.gateways.file:TYPE",
    "http": "decision.gateways.http:TYPE",
    "smtp": "decision.gateways.smtp:TYPE",
    "wechat": "decision.gateways.wechat:TYPE",
    "webhook": "decision.gateways.webhook:TYPE",
}


class GatewayTypeError(NextbestError):
    """A type of gateway that an installed package offers cannot be used."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway is made with besides its config: its name, and links to opt out."""

    name: str
    unsubscribe: UnsubscribeLinks | None = None


class GatewayType(msgspec.Struct, frozen=True, kw_only=True):
    """A type of gateway: what it can be told, and how one is made.

    `check` says what is wrong with a config that its types alone do not show, all of it. What it
    says of a value whose variable is not set yet is left out.
    """

    config: type[GatewayConfig]
    make: Callable[[Any, Context], Gateway]
    check: Callable[[Any], Iterable[Problem]] = lambda config: ()


def gateway_types() -> Mapping[str, EntryPoint]:
    """Every type by its name; ours go before those of other packages. Nothing is imported.

    >>> "file" in gateway_types()
    True
    """
    found = {point.name: point for point in entry_points(group=GROUP)}
    return found | {name: EntryPoint(name, value, GROUP) for name, value in _OURS.items()}


def load_type(point: EntryPoint) -> GatewayType:
    """The type that an entry point names.

    Raises:
        GatewayTypeError: its package cannot be imported, or offers something else.
    """
    try:
        found = point.load()
    except Exception as error:  # whatever a package does while it is imported
        raise GatewayTypeError(f"the type {point.name} of {point.value} fails: {error}") from error
    if not isinstance(found, GatewayType):
        raise GatewayTypeError(
            f"the type {point.name} of {point.value} is no GatewayType; "
            "it must name one, see docs/delivery.md"
        )
    return found
