"""Whether customers respond without a message: then value is not what messages earn.

The control arm are decisions in which nothing was said to somebody who could have been told: those
of a control group, and silence that was drawn. What is silent because of caps or rules is none: it
follows messages, or is about other customers.
"""

from __future__ import annotations

from typing import Final

import msgspec

from decision.archive.merges import merged_view
from decision.archive.query import Database
from decision.core.clock import format_duration
from decision.core.said import Said, lasting
from decision.learning.goals import IN_TIME
from decision.learning.metrics import wilson

FEWEST: Final = 5
"""With fewer responses nothing is clear."""
OF_RATE: Final = 0.1
"""A share above this part of that after messages matters."""


class ControlRate(msgspec.Struct, frozen=True, kw_only=True):
    """How many of the control arm's customers reached a goal in time after their first decision.

    `after_messages` is the share of decisions after which it was reached that gave a message with
    that goal.
    """

    event: str
    within: int
    customers: int
    reached: int
    after_messages: float

    @property
    def lowest(self) -> float:
        """The lower bound of the share that responds without a message."""
        return wilson(self.reached, self.customers)[0]

    @property
    def most(self) -> float:
        """The largest share that does not matter."""
        return OF_RATE * self.after_messages

    @property
    def clear(self) -> bool:
        """Whether it is clearly so many that value without them says little."""
        return self.reached >= FEWEST and self.lowest > self.most

    def in_words(self) -> str:
        """What was found, and what to do."""
        return Said(
            "%(reached)s of %(customers)s customers who were told nothing did %(event)s within "
            "%(lasts)s all the same, and silence counts as earning nothing; write target: {event: "
            "%(event)s, within: %(within)s} in the spec, so that it counts, or also objective: "
            "uplift, so that the model learns what a message adds",
            reached=f"{self.reached:,}",
            customers=f"{self.customers:,}",
            event=self.event,
            lasts=lasting(self.within),
            within=format_duration(self.within),
        )


def control_rate(database: Database, since: int, until: int) -> ControlRate | None:
    """The goal that the control arm reaches most clearly; None without a control arm.

    Of an open log: its tables goals, happened, reached and young.
    """
    rows = database.rows(_RATES, {"since": since, "until": until})
    found = [
        ControlRate(event=event, within=within, customers=n, reached=hits, after_messages=share)
        for event, within, n, hits, share in rows
    ]
    return max(found, key=lambda one: (one.clear, one.lowest - one.most), default=None)


_RATES: Final = f"""
WITH own AS (
  SELECT DISTINCT policy, event, within FROM goals
  WHERE message <> '' AND event NOT LIKE 'message.%'),
silent AS (
  SELECT customer_id AS customer, epoch_us(decided_at) AS moment, policy_version
  FROM {merged_view("decisions")} WHERE message IS NULL AND epoch_us(decided_at) >= $since
    AND (coalesce(holdout, false) OR (selection_probability > 0 AND selection_probability < 1))),
one AS (
  SELECT customer, event, within, min(moment) AS moment FROM silent
  JOIN own ON own.policy = policy_version WHERE moment + within <= $until GROUP BY ALL),
alone AS (
  SELECT event, within, count(*) AS customers, count(*) FILTER (EXISTS (
    FROM happened h WHERE h.customer = one.customer AND h.type = one.event
      AND h.decision_id IS NULL AND {IN_TIME})) AS hits
  FROM one GROUP BY event, within),
told AS (
  SELECT event, within, avg(coalesce(credit, 0)) AS share
  FROM decisions d JOIN goals g ON g.policy = d.policy_version AND g.message = d.message
  LEFT JOIN reached USING (decision_id)
  WHERE coalesce(position, 1) = 1 AND epoch_us(decided_at) >= $since
    AND decision_id NOT IN (SELECT decision_id FROM young)
  GROUP BY event, within)
SELECT event, within, customers, hits, coalesce(share, 0)
FROM alone LEFT JOIN told USING (event, within) ORDER BY event, within
"""
