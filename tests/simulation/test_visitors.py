"""The open shop of the demo: its customers visit through the API, and end when it closes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from decision.core.clock import HOUR
from decision.server.activity import glances
from decision.server.quarantine import quarantined
from decision.simulation.visitors import OpenShop
from tests.console.site import Site

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


async def test_customers_visit_and_a_till_is_rejected_until_the_shop_closes() -> None:
    """Events and decisions of the API are counted; what the broken till says is kept apart."""
    with Site(ROOT / "rules") as site:
        shop = asyncio.create_task(OpenShop(site.url, range(300, 900)).run())
        try:
            async with asyncio.timeout(120):
                while not await asyncio.to_thread(site.run, _seen(site)):
                    await asyncio.sleep(0.1)
        finally:
            shop.cancel()
            await asyncio.wait([shop], timeout=10)
        assert shop.cancelled()


async def _seen(site: Site) -> bool:
    """Whether somebody was decided about, and something was rejected."""
    store, now = site.engine.runtime.store, site.engine.runtime.clock()
    *_, hour = await glances(store, now - HOUR, now, by="hour")
    rejected = (await quarantined(store)).rejected
    return bool(hour.decisions and hour.events and rejected)
