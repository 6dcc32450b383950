"""The policy of the campaign, and its caps and budgets as the oracle knows them."""

from __future__ import annotations

from typing import Final, NamedTuple

RULES: Final = """
settings: {timezone: UTC, currency: EUR}
purposes: {tips: {consent: opt_out}, service: {consent: not_required}}
channels:
  push: {reservation: {expires_after: 3d, then: count}}
  email: {reservation: {expires_after: 3d, then: count}}
  in_app: {reservation: {expires_after: 20s, then: release}}
  page: {}
placements: {outbound: {channels: [push, email, in_app, page], fallback: hello}}
messages:
  a: {purpose: tips, category: x, channels: [push, email], value: 3, content: {title: A}}
  b: {purpose: tips, category: y, channels: [push, email, in_app], value: 3, content: {title: B}}
  c: {purpose: tips, category: y, channels: [email, in_app], value: 3, content: {title: C}}
  d: {purpose: tips, category: z, channels: [push], value: 4, budget: {total: 20000}, content: {title: D}}
  e: {purpose: tips, category: z, channels: [in_app], value: 4, budget: {total: 300}, content: {title: E}}
  f: {purpose: tips, category: z, channels: [email], value: 4, budget: {per_day: 3000}, content: {title: F}}
  hello: {purpose: service, channels: [page], when: {context.never: true}, content: {title: Hello}}
caps:
  burst: {of: {purpose: tips}, at_most: 2, within: 10s}
  message: {of: {purpose: tips}, per: message, at_most: 3, within: 60s}
  push: {of: {channel: push}, at_most: 4, within: 10m}
  day: {of: {purpose: tips}, at_most: 12, within: calendar day}
"""

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND


class Cap(NamedTuple):
    """A cap: `within` is microseconds, or None for the calendar day (UTC)."""

    at_most: int
    within: int | None
    per_message: bool = False
    channel: str | None = None


CAPS: Final = {
    "burst": Cap(2, 10 * SECOND),
    "message": Cap(3, 60 * SECOND, per_message=True),
    "push": Cap(4, 600 * SECOND, channel="push"),
    "day": Cap(12, None),
}
BUDGETS: Final = {"d:total": 20_000, "e:total": 300, "f": 3_000}
"""Budget counter (a day's counter without its date) → limit."""

RELEASING: Final = frozenset({"in_app"})
"""Channels whose reservations end by themselves."""

RELEASES_AFTER: Final = 20
"""Seconds after which they do."""
