-- The runs of a range, from the archive's dataset `journeys`; what they did is in ../journeys.sql.

-- name: own
CREATE OR REPLACE TEMP VIEW journeys AS
SELECT * EXCLUDE (zone, begin_us, end_us) FROM (
    SELECT coalesce(into_id, customer_id) AS customer, log.*
    FROM all_journeys AS log LEFT JOIN merged ON from_id = customer_id
)
LEFT JOIN zoned USING (customer)
WHERE epoch_us(started) >= coalesce(begin_us, {begin})
    AND epoch_us(started) < coalesce(end_us, {end});

-- name: totals
SELECT count(DISTINCT customer), count(*) FROM journeys WHERE journey = $journey AND refused IS NULL;

-- name: started
-- When the latest run of those counted started, and the oldest that has not ended.
SELECT max(started), min(started) FILTER (ended IS NULL) FROM runs;
