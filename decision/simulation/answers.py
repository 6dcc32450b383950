"""What customers do once a message has reached them, by the truth of the simulated shop."""

from __future__ import annotations

from functools import lru_cache

from decision.core.policy import Policy
from decision.simulation.deeds import CLICKED
from decision.simulation.people import ShopCustomer, draw_customer, number_of
from decision.simulation.shop import Shop


class TrueAnswers:
    """The answers of the customers of a seed, as they were at a time (microseconds)."""

    def __init__(self, seed: int, at: int, policy: Policy) -> None:
        self._shop = Shop(seed, 0, at)
        self._candidates = {(one.message, one.channel): one for one in policy.candidates}
        self._goals = {
            one.name: CLICKED if one.goal is None else one.goal.event
            for one in policy.definition.messages
        }
        self._customer = lru_cache(maxsize=10_000)(self._draw)

    def __call__(self, customer_id: str, message: str, channel: str, now: int) -> str | None:
        """The type of the event by which a customer responds; None where they do not."""
        who = self._customer(customer_id)
        candidate = self._candidates.get((message, channel))
        if who is None or candidate is None or not self._shop.respond(who, candidate, now):
            return None
        return self._goals[message]

    def _draw(self, customer_id: str) -> ShopCustomer | None:
        number = number_of(customer_id)
        return None if number is None else draw_customer(self._shop.seed, number, self._shop.now)
