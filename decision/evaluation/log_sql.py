"""The archived log in SQL: which decisions are judged, what counts as a response, what happened."""

from __future__ import annotations

from typing import Final

from decision.archive.given import IDS_NOT_GIVEN, WITHOUT_STORE
from decision.archive.machines import BY_PEOPLE
from decision.archive.merges import merged_view
from decision.evaluation.reach import SCORES_ONE, WITHIN
from decision.scoring.reach import Reach

NOT_GIVEN: Final = f"(decision_id IN {IDS_NOT_GIVEN} OR {WITHOUT_STORE})"
IMPROBABLE: Final = (
    "(CASE WHEN selection_probability IS NULL THEN message IS NOT NULL "
    "ELSE isnan(selection_probability) "
    "OR NOT (selection_probability > 0 AND selection_probability <= 1) END)"
)
YOUNG: Final = """
CREATE TEMP TABLE young AS
WITH windows AS (
  SELECT policy, map_from_entries(list((message, within))) AS of, min(within) AS shortest
  FROM goals GROUP BY policy)
SELECT decision_id, "window" FROM (
  SELECT decision_id, epoch_us(decided_at) AS t, coalesce(list_max(list_concat(
    [w.of[coalesce(d.message, '')], w.of['']],
    [w.of[c.message] for c in candidates if c.selection_probability > 0])), shortest) AS "window"
  FROM decisions d JOIN windows w ON w.policy = d.policy_version
  WHERE coalesce(position, 1) = 1 AND epoch_us(decided_at) > $recent)
WHERE t + "window" > $until
"""
COUNTS: Final = f"""
SELECT count(*) FILTER (WHERE leads), min(t) FILTER (WHERE t >= $since),
  count(*) FILTER (WHERE NOT leads AND t >= $since),
  count(*) FILTER (WHERE leads AND t < $since),
  count(*) FILTER (WHERE leads AND t >= $since AND young),
  coalesce(max("window") FILTER (WHERE leads AND t >= $since AND young), 0),
  count(*) FILTER (WHERE leads AND improbable AND t >= $since AND NOT young),
  min(decision_id) FILTER (WHERE leads AND improbable AND t >= $since AND NOT young),
  count(*) FILTER (WHERE leads AND contended AND t >= $since AND NOT young),
  count(*) FILTER (WHERE leads AND not_given AND t >= $since AND NOT young),
  count(*) FILTER (WHERE leads AND t >= $since AND NOT young AND message IS NOT NULL
    AND NOT EXISTS (FROM goals g WHERE g.policy = policy_version AND g.message = d.message))
FROM (SELECT coalesce(position, 1) = 1 AS leads, epoch_us(decided_at) AS t, message,
  policy_version, coalesce(list_contains(degraded, 'contention'), false) AS contended,
  {IMPROBABLE} AS improbable, {NOT_GIVEN} AS not_given, decision_id,
  y.decision_id IS NOT NULL AS young, y."window"
  FROM decisions LEFT JOIN young y USING (decision_id)) d
"""

# An event about a contact is in both datasets; outcomes say which contact. Unlike in training, an
# event that is only in `events` may name its contact.
EVENTS: Final = f"""
(SELECT customer_id, type, epoch_us("at") AS moment, decision_id, message FROM outcomes
WHERE type IN (SELECT event FROM goals)
UNION ALL
SELECT e.customer_id, e.type, epoch_us(e."at"), e.decision_id, e.message FROM events e
ANTI JOIN outcomes o ON o.customer_id = e.customer_id AND o.event_id = e.event_id
WHERE e.type IN (SELECT event FROM goals) AND {BY_PEOPLE})
"""
HAPPENED: Final = (
    "CREATE TEMP TABLE happened AS SELECT customer_id AS customer, * EXCLUDE customer_id, "
    f"row_number() OVER () AS id FROM {merged_view(EVENTS)}"
)
SELECTIONS: Final = f"""
CREATE TEMP TABLE selections AS
SELECT row_number() OVER (ORDER BY decision_id, message, channel) AS place, place AS tie,
  * EXCLUDE channel
FROM (
  SELECT DISTINCT decision_id, coalesce(d.message, '') AS message, channel,
    customer_id AS customer, epoch_us(decided_at) AS moment, coalesce(position, 1) AS position,
    g.event, g.within
  FROM {merged_view("decisions")} d
  JOIN goals g ON g.policy = d.policy_version AND g.message = coalesce(d.message, '')
  WHERE NOT {NOT_GIVEN})
"""


def facts_of(reach: Reach) -> str:
    """What is known of the decisions of a day that can be judged, as SQL."""
    whole = reach.is_everything
    return f"""
WITH d AS (
  SELECT decision_id, epoch_us(decided_at) AS moment, customer_id AS customer,
    coalesce(message, '') AS message, coalesce(channel, '') AS channel,
    coalesce(selection_probability, 1) AS probability,
    coalesce(holdout, false) AS holdout, policy_version, coalesce(placement, '') AS placement,
    CASE WHEN model_version = $model THEN response_probability END AS said,
    coalesce(shadow_version = $model AND model_version IS DISTINCT FROM $model
      AND message IS NOT NULL, false) AS shadowed
  FROM {merged_view("today")} AS log {"" if whole else WITHIN}
  WHERE coalesce(position, 1) = 1 AND epoch_us(decided_at) >= $since
    AND {"TRUE" if whole else SCORES_ONE}
    AND decision_id NOT IN (SELECT decision_id FROM young) AND NOT {IMPROBABLE}
    AND NOT coalesce(list_contains(degraded, 'contention'), false) AND NOT {NOT_GIVEN})
SELECT decision_id, moment AS decided_at, customer AS customer_id, message, channel, probability,
  coalesce(credit, 0)::DOUBLE AS reached, holdout, policy_version, placement, said, shadowed
FROM d LEFT JOIN reached USING (decision_id)
"""
