"""Warnings of journeys that nobody runs, that are late, or that stand still."""

from __future__ import annotations

from typing import Final

from decision.core.clock import MINUTE
from decision.core.policy import Policy
from decision.core.ports import Store
from decision.core.said import Said, lasting_about

RAN_BLOB: Final = "journeys-ran"
"""When some process last ran journeys, in microseconds; written each half minute."""

_SILENT: Final = 5 * MINUTE
"""Microseconds without such a note, also by a clock that is a bit ahead, before it is a warning."""

_BEHIND: Final = 60_000
"""Milliseconds for which timers may be due before it is a warning."""


async def journey_cautions(policy: Policy, store: Store, now: int) -> tuple[str, ...]:
    """Warnings of what is so now, one sentence each; none where the policy has no journeys.

    Raises:
        StoreUnavailable: the store could not be reached.
    """
    if policy.journeys is None:
        return ()
    found = []
    for name, hold in sorted((await store.held_journeys()).items()):
        if name in policy.journeys.by_name:
            found.append(
                Said(
                    "journey %(name)s has been %(what)s for %(lasts)s: %(why)s; run nextbest "
                    "journeys resume %(name)s to let it go on",
                    name=name,
                    what=Said("stopped") if hold.ends else Said("paused"),
                    lasts=lasting_about(max(0, now - hold.at)),
                    why=hold.why,
                )
            )
    ran = await store.get_blob(RAN_BLOB)
    if ran is None or now - int(ran) > _SILENT:
        found.append(
            Said(
                "nobody runs journeys: their runs and moments wait; start nextbest outbound, or "
                "serve --outbound"
            )
        )
    elif (behind := (await store.count_wakes()).behind) >= _BEHIND:
        found.append(
            Said(
                "journeys are %(lasts)s late; start another nextbest outbound, or look what its "
                "log says",
                lasts=lasting_about(behind * 1000),
            )
        )
    return tuple(found)
