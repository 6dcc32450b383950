"""Portions of an audience handed to a gateway: again where it asks for that, else the run stops."""

from __future__ import annotations

import asyncio
from typing import Final

from decision.audiences.columns import Columns
from decision.audiences.run import Given, GiveOut
from decision.audiences.state import RunState
from decision.core.errors import NextbestError, meant
from decision.gateways.protocol import (
    Accepted,
    AudienceGateway,
    AudiencePortion,
    Rejected,
    Result,
    Retry,
    Unknown,
)
from decision.gateways.settings import GatewaySettings
from decision.progress import Progress

_WAITS: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds before each further attempt, where the gateway names none."""

_LONGEST: Final = 600.0
"""Seconds that a run waits at once; what asks for more is continued by hand."""

_GRACE: Final = 5.0


class PortionRefused(NextbestError):
    """A gateway does not take a portion; the run can be continued from there."""


def audience_gateway(settings: GatewaySettings, name: str) -> AudienceGateway:
    """The gateway of that name, opened; it must be one that takes audiences.

    Raises:
        PortionRefused: there is none, or it takes none.
    """
    if name not in settings.gateways:
        known = settings.gateways
        hint = meant(name, known) or f"; there are {', '.join(known)}"
        raise PortionRefused(f'there is no gateway "{name}"{hint}')
    gateway = settings.open(name)
    if not isinstance(gateway, AudienceGateway):
        kind = settings.gateways[name].type
        raise PortionRefused(
            f"gateway {name} is of the type {kind}, which takes no audiences; "
            "webhook, http and file do"
        )
    if (why := getattr(gateway, "why_no_portions", None)) is not None:
        raise PortionRefused(f"gateway {name}: {why}")
    return gateway


async def check_gateway(settings: GatewaySettings, name: str) -> None:
    """Refuses a gateway that cannot take audiences, before anything is done.

    Raises:
        PortionRefused: as `audience_gateway`.
    """
    await audience_gateway(settings, name).close()


def giving_to(
    gateway: AudienceGateway,
    name: str,
    timeout: float,
    columns: Columns,
    state: RunState,
    progress: Progress,
) -> GiveOut:
    """Makes one attempt to hand a portion to a gateway, and says when to make the next.

    What comes of it raises `PortionRefused` where the gateway refuses for good, or for too long.
    """

    async def give(given: Given, attempt: int) -> float | None:
        portion = _portion(given, columns, state)
        result = await _attempt(gateway, portion, timeout)
        if isinstance(result, Accepted):
            return None
        said = f"gateway {name} did not take portion {portion.id}: {result.reason}"
        if isinstance(result, Rejected):
            raise PortionRefused(said)
        if attempt > len(_WAITS):
            raise PortionRefused(f"{said}; it was tried {attempt} times")
        wait = _WAITS[attempt - 1]
        if isinstance(result, Retry) and result.after is not None:
            wait = result.after
        if wait > _LONGEST:
            raise PortionRefused(f"{said}; it wants to be asked again in {wait:,.0f} s")
        progress.say(f"{said}; trying again in {wait:g} s")
        return wait

    return give


async def _attempt(gateway: AudienceGateway, portion: AudiencePortion, timeout: float) -> Result:
    try:
        async with asyncio.timeout(timeout + _GRACE):
            return await gateway.send_portion(portion)
    except TimeoutError:
        return Unknown("it did not answer in time")
    except Exception as error:  # noqa: BLE001 (others write gateways, too)
        # Its message may hold what the gateway was told.
        return Unknown(f"it failed: {type(error).__name__}")


def _portion(given: Given, columns: Columns, state: RunState) -> AudiencePortion:
    settings, place = state.settings, state.progress.portions + 1
    return AudiencePortion(
        id=f"{settings.run}.{place}",
        run=settings.run,
        place=place,
        last=given.last,
        audience=settings.segment or settings.when,
        rows=[dict(zip(columns.names, row, strict=True)) for row in given.rows],
        purpose=settings.purpose,
        channel=settings.channel,
        differences=settings.since is not None,
        at=settings.at,
    )
