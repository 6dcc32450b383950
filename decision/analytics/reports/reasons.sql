-- How decisions ended, from the view `dated_decisions`. $placement: one alone, or null.

-- name: reasons
SELECT period_of(day, $period, $week_shift) AS period, outcome, reason,
    count(DISTINCT decision_id)
FROM dated_decisions WHERE $placement IS NULL OR placement = $placement
GROUP BY ALL ORDER BY ALL;

-- name: customers
SELECT count(DISTINCT customer) FROM dated_decisions
WHERE $placement IS NULL OR placement = $placement;

-- name: degraded
SELECT part, count(DISTINCT decision_id) FROM (
    SELECT decision_id, unnest(degraded) AS part FROM dated_decisions
    WHERE $placement IS NULL OR placement = $placement
)
GROUP BY part ORDER BY count(DISTINCT decision_id) DESC, part;

-- name: placements
SELECT placement, outcome, reason, count(DISTINCT decision_id) FROM dated_decisions
WHERE $placement IS NULL OR placement = $placement
GROUP BY ALL ORDER BY ALL;
