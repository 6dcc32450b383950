-- What customers did in the periods after they began. $type: a type of event; null: any of one's own.

-- name: firsts
-- The first such event ever of each customer, where it is in the range.
CREATE TEMP TABLE firsts AS
SELECT customer, us, cohort FROM (
    SELECT customer, min(us) AS us, arg_min(counts, us) AS counts,
        arg_min(period_of(day, $period, $week_shift), us) AS cohort
    FROM dated
    WHERE CASE WHEN $type IS NULL
        THEN NOT starts_with(type, 'message.') AND NOT starts_with(type, 'moment.')
        ELSE type = $type END
    GROUP BY customer
)
WHERE counts;

-- name: by_property
-- What the first event says; of several at one moment, the least.
CREATE OR REPLACE TEMP TABLE named AS
SELECT customer, min(json_extract_string(properties, $path)) AS name
FROM firsts JOIN dated USING (customer, us)
WHERE $path IS NOT NULL AND CASE WHEN $type IS NULL
    THEN NOT starts_with(type, 'message.') AND NOT starts_with(type, 'moment.')
    ELSE type = $type END
GROUP BY customer;

-- name: began
CREATE TEMP TABLE began AS
SELECT customer, cohort, name FROM firsts LEFT JOIN named USING (customer);

-- name: sizes
SELECT name, cohort, count(*) FROM began GROUP BY ALL ORDER BY cohort, name;

-- name: did
-- What each did in each period, the one in which they began is 0. Amounts are numbers; a text is none.
CREATE TEMP TABLE did AS
SELECT name, cohort, customer, period - cohort AS slot, count(*) AS events,
    coalesce(sum(amount ORDER BY amount), 0) AS value
FROM (
    SELECT customer, period_of(day, $period, $week_shift) AS period,
        CASE WHEN $path IS NOT NULL AND json_type(properties, $path)
                IN ('BIGINT', 'UBIGINT', 'DOUBLE')
            THEN try_cast(json_extract_string(properties, $path) AS DOUBLE) END AS amount
    FROM dated
    WHERE CASE WHEN $type IS NULL
        THEN NOT starts_with(type, 'message.') AND NOT starts_with(type, 'moment.')
        ELSE type = $type END
)
JOIN began USING (customer)
WHERE period - cohort BETWEEN 0 AND $periods
GROUP BY ALL;

-- name: cells
SELECT name, cohort, slot, count(*), sum(events)::BIGINT, sum(value ORDER BY value)
FROM did GROUP BY ALL;

-- name: earliest
-- How many did it for the first time in each period.
SELECT name, cohort, slot, count(*) FROM (
    SELECT name, cohort, customer, min(slot) AS slot FROM did GROUP BY ALL
)
GROUP BY ALL;

-- name: counted
SELECT coalesce(sum(events), 0)::BIGINT FROM did;
