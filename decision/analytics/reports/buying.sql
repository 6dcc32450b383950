-- On which days customers bought. Days are numbers, by the calendar of the report.

-- name: purchases
-- Amounts are numbers; a text such as "80" is none, as in rules.
CREATE TEMP TABLE purchases AS
SELECT customer, us, day, properties,
    CASE WHEN kind IN ('BIGINT', 'UBIGINT', 'DOUBLE') AND isfinite(told) THEN told END AS value,
    coalesce(kind = 'VARCHAR' AND isfinite(told), false) AS is_text
FROM (
    SELECT *, json_type(properties, $path) AS kind,
        try_cast(json_extract_string(properties, $path) AS DOUBLE) AS told
    FROM dated WHERE counts AND type = $type
);

-- name: last
SELECT max(us), count(*), count(*) FILTER (is_text) FROM purchases;

-- name: todays
-- The day of the moment in each time zone.
CREATE TEMP TABLE todays (zone VARCHAR, today BIGINT);

-- name: bought
-- A row for each customer and day, with the number of the day among the customer's.
CREATE TEMP TABLE bought AS
SELECT customer, day, value, today,
    row_number() OVER own AS number, lead(day) OVER own AS following
FROM (
    SELECT customer, day, coalesce(sum(value ORDER BY value), 0) AS value
    FROM purchases GROUP BY customer, day
)
LEFT JOIN zoned USING (customer)
JOIN todays ON todays.zone = coalesce(zoned.zone, $home)
WINDOW own AS (PARTITION BY customer ORDER BY day);

-- name: buyers
SELECT customer, count(*) AS days, max(day) - min(day) AS recency, any_value(today) - $back - min(day) AS age,
    sum(value ORDER BY value) AS total, avg(value ORDER BY value) FILTER (number > 1) AS average
FROM bought WHERE day <= today - $back GROUP BY customer ORDER BY customer;

-- name: since
SELECT count(*) FROM bought
WHERE day > today - $back
    AND customer IN (SELECT customer FROM bought WHERE day <= today - $back);

-- name: longest
SELECT max(today) - min(day) FROM bought;
