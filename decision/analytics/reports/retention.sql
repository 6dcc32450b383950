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
CREATE TEMP TABLE began AS
SELECT customer, cohort, us FROM (
    SELECT customer, arg_min(period, us) AS cohort, arg_min(counts, us) AS counts, min(us) AS us
    FROM did WHERE starts GROUP BY customer
)
WHERE counts;

-- name: recurring
-- A customer is in the cohort of each period with such an event in the range.
CREATE TEMP TABLE began AS
SELECT customer, period AS cohort, min(us) AS us FROM did WHERE starts AND counts
GROUP BY customer, period;

-- name: by_property
-- What the event says that began; of several at one moment, the least.
CREATE TEMP TABLE cohorts AS
SELECT customer, cohort, min(json_extract_string(properties, $path)) AS name
FROM began JOIN dated USING (customer, us)
WHERE CASE WHEN $types IS NULL
    THEN NOT starts_with(type, 'message.') AND NOT starts_with(type, 'moment.')
    ELSE list_contains($types, type) END
GROUP BY customer, cohort;

-- name: by_customer
-- What the customer was, from the table `named`.
CREATE TEMP TABLE cohorts AS
SELECT customer, cohort, name FROM began LEFT JOIN named USING (customer);

-- name: by_nothing
CREATE TEMP TABLE cohorts AS SELECT customer, cohort, NULL::VARCHAR AS name FROM began;

-- name: sizes
SELECT name, cohort, count(*) FROM cohorts GROUP BY ALL ORDER BY cohort, name;

-- name: on
-- How many came back in each slot after their cohort; $slots[n] is the slot of the nth period.
SELECT name, cohort, slot, count(DISTINCT customer) FROM (
    SELECT customer, cohort, name, $slots[period - cohort] AS slot
    FROM cohorts JOIN (SELECT DISTINCT customer, period FROM did WHERE returns) USING (customer)
    WHERE period > cohort
)
WHERE slot IS NOT NULL GROUP BY ALL;

-- name: on_or_after
-- The same, by the last slot in which they came back; what is later counts as the last.
SELECT name, cohort, slot, count(*) FROM (
    SELECT customer, cohort, name, $slots[least(max(period) - cohort, len($slots))] AS slot
    FROM cohorts JOIN (SELECT DISTINCT customer, period FROM did WHERE returns) USING (customer)
    WHERE period > cohort GROUP BY customer, cohort, name
)
GROUP BY ALL;

-- name: totals
SELECT (SELECT count(DISTINCT customer) FROM cohorts), (SELECT count(*) FROM did);
