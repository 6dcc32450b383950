-- The calendar of reports: from moments in microseconds to days, and to periods of days.

-- name: shifts
-- From when on a time zone is so far from UTC.
CREATE TEMP TABLE shifts (zone VARCHAR, since BIGINT, shift BIGINT);

-- name: period
-- The number of the day, week or month that a day is in.
CREATE TEMP MACRO period_of(day, period, week_shift) AS CASE period
    WHEN 'day' THEN day
    WHEN 'week' THEN (day + week_shift) // 7
    ELSE year(DATE '1970-01-01' + day::INT) * 12 + month(DATE '1970-01-01' + day::INT) - 1
END;

-- name: dated
CREATE OR REPLACE TEMP VIEW {name} AS
SELECT one.* EXCLUDE (zone), (us + shift) // 86400000000 AS day
FROM (
    SELECT * EXCLUDE (zone, begin_us, end_us), coalesce(zone, '{home}') AS zone,
        us >= coalesce(begin_us, {begin}) AND us < coalesce(end_us, {end}) AS counts
    FROM {view} LEFT JOIN zoned USING (customer)
    WHERE us >= 0
) AS one
ASOF JOIN shifts ON shifts.zone = one.zone AND one.us >= shifts.since;
