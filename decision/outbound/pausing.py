"""Gateways that stop by themselves: too many complaints, too many bounces, or not wanted any more.

A pause is in the store, so that it holds for all processes, and stays until somebody ends it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from decision.core.ports import Store
from decision.core.sending import GatewayPause, OutcomeKind, Outcomes
from decision.gateways.protocol import Pause
from decision.observability import named
from decision.outbound.lanes import Lane

_WORDS: Final[Mapping[OutcomeKind, str]] = {"complained": "complaints", "bounced": "bounces"}
_log = logging.getLogger(__name__)


async def pause(store: Store, gateway: str, why: str, now: int) -> None:
    """Pauses a gateway, and says so, unless it is paused already; `now` in microseconds."""
    if await store.pause_gateway(gateway, GatewayPause(why, now)):
        _log.error(
            "gateway %s is paused: %s. What is to be sent waits; after you have found the cause, "
            "run: nextbest outbox resume %s",
            gateway,
            why,
            gateway,
            extra=named("gateway_paused", gateway=gateway, why=why),
        )


class PauseWatch:
    """Pauses gateways by the shares of an hour, and warns at half of what pauses them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._warned: set[tuple[str, OutcomeKind]] = set()

    async def look(self, lanes: Iterable[Lane], now: int) -> Mapping[str, bool]:
        """Looks at all gateways, and tells lanes whether theirs is paused; so is who asks."""
        by_gateway: defaultdict[str, list[Lane]] = defaultdict(list)
        for lane in lanes:
            by_gateway[lane.name].append(lane)
        paused = await self._store.paused_gateways()
        for name, own in by_gateway.items():
            if name not in paused and (why := await self._why(name, own)) is not None:
                await pause(self._store, name, why, now)
                paused = await self._store.paused_gateways()
            for lane in own:
                lane.paused = name in paused
        return {name: name in paused for name in by_gateway}

    async def _why(self, name: str, lanes: Sequence[Lane]) -> str | None:
        """Why a gateway is to be paused, None where it is not; warns at half."""
        counts = [await self._store.outcomes(lane.channel) for lane in lanes]
        found = Outcomes(
            sent=sum(each.sent for each in counts),
            bounced=sum(each.bounced for each in counts),
            complained=sum(each.complained for each in counts),
        )
        limits = lanes[0].config.pause
        for kind, limit in _limits(limits):
            share = found.share(kind)
            if found.sent < limits.least or share < limit / 2:
                self._warned.discard((name, kind))
                continue
            said = f"{share:.1%} {_WORDS[kind]} of {found.sent:,} deliveries in an hour"
            if share >= limit:
                return f"{said}, and {limit:.1%} pauses it"
            if (name, kind) not in self._warned:
                self._warned.add((name, kind))
                _log.warning(
                    "gateway %s: %s; it is paused at %.1f%%",
                    name,
                    said,
                    100 * limit,
                    extra=named("gateway_share_high", gateway=name, kind=kind, share=share),
                )
        return None


def _limits(pause: Pause) -> tuple[tuple[OutcomeKind, float], ...]:
    return (("complained", pause.complaints), ("bounced", pause.bounces))
