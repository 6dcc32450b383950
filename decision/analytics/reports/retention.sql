-- Who comes back, by period: days, weeks or months of a calendar. Times are microseconds.
-- $types and $returns: the types that begin and that count as coming back; null: any of one's own.

-- name: did
CREATE TEMP TABLE did AS
SELECT customer, us, starts, returns, counts, period_of(day, $period, $week_shift) AS period
FROM (
    SELECT *,
        CASE WHEN $types IS NULL THEN own ELSE list_contains($types, type) END AS starts,
        CASE WHEN $returns IS NULL THEN own ELSE list_contains($returns, type) END AS returns
    FROM (
        SELECT *, NOT starts_with(type, 'message.') AND NOT starts_with(type, 'moment.') AS own
        FROM dated
    )
)
WHERE starts OR returns;

-- name: first
-- A customer is in the cohort of their first such event ever, where that is in the range.
CREATE TEMP TABLE cohorts AS
SELECT customer, cohort FROM (
    SELECT customer, arg_min(period, us) AS cohort, arg_min(counts, us) AS counts
    FROM did WHERE starts GROUP BY customer
)
WHERE counts;

-- name: recurring
-- A customer is in the cohort of each period with such an event in the range.
CREATE TEMP TABLE cohorts AS
SELECT DISTINCT customer, period AS cohort FROM did WHERE starts AND counts;

-- name: sizes
SELECT cohort, count(*) FROM cohorts GROUP BY cohort ORDER BY cohort;

-- name: on
-- How many came back in each slot after their cohort; $slots[n] is the slot of the nth period.
SELECT cohort, slot, count(DISTINCT customer) FROM (
    SELECT customer, cohort, $slots[period - cohort] AS slot
    FROM cohorts JOIN (SELECT DISTINCT customer, period FROM did WHERE returns) USING (customer)
    WHERE period > cohort
)
WHERE slot IS NOT NULL GROUP BY cohort, slot;

-- name: on_or_after
-- The same, by the last slot in which they came back; what is later counts as the last.
SELECT cohort, slot, count(*) FROM (
    SELECT customer, cohort, $slots[least(max(period) - cohort, len($slots))] AS slot
    FROM cohorts JOIN (SELECT DISTINCT customer, period FROM did WHERE returns) USING (customer)
    WHERE period > cohort GROUP BY customer, cohort
)
GROUP BY cohort, slot;

-- name: totals
SELECT (SELECT count(DISTINCT customer) FROM cohorts), (SELECT count(*) FROM did);
