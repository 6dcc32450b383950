-- What metrics are of units: of a customer from some moment on. Times are microseconds.
-- The table `units` has unit, customer and begun.

-- name: amount
-- One event's part of a metric: a number of the property, or 1 where events are counted.
CREATE OR REPLACE TEMP MACRO amount(properties, path) AS CASE
    WHEN path IS NULL THEN 1.0
    WHEN json_type(properties, path) NOT IN ('DOUBLE', 'BIGINT', 'UBIGINT') THEN NULL
    WHEN isfinite(json_extract(properties, path)::DOUBLE) THEN json_extract(properties, path)::DOUBLE
END;

-- name: measured
-- y: what came after, within the time; n: how many events that were; x: what came before.
CREATE OR REPLACE TEMP TABLE measured AS
WITH found AS (
    SELECT unit, us > begun AS later, amount(properties, $path) AS amount
    FROM units JOIN happened USING (customer)
    WHERE type = $event AND us > begun - $before AND us - begun <= $within AND us < $end
), added AS (
    SELECT unit, coalesce(fsum(amount) FILTER (later), 0) AS y,
        count(amount) FILTER (later)::DOUBLE AS n,
        coalesce(fsum(amount) FILTER (NOT later), 0) AS x
    FROM found GROUP BY unit
)
SELECT unit, CASE WHEN $share THEN (coalesce(n, 0) > 0)::INT ELSE coalesce(y, 0) END AS y,
    coalesce(n, 0) AS n, CASE WHEN $share THEN (coalesce(x, 0) > 0)::INT ELSE coalesce(x, 0) END AS x
FROM units LEFT JOIN added USING (unit);

-- name: until
-- When the last record came in.
SELECT max(epoch_us(coalesce(received_at, "at"))) FROM archived;
