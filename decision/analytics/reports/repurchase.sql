-- Who bought again, from the table `bought` (see buying.sql). Times are whole days.
-- The last day may not be over: a time counts as over when it ended before that day.

-- name: numbered
SELECT number, count(*), count(following), count(*) FILTER (day + $within < today),
    count(*) FILTER (day + $within < today AND following - day <= $within),
    median(following - day)
FROM bought WHERE number <= $most GROUP BY number ORDER BY number;

-- name: quantiles
SELECT quantile_cont(following - day, $shares) FROM bought WHERE following IS NOT NULL;

-- name: intervals
-- How many intervals are in each bin, by its number; $bins are where they begin.
SELECT len(list_filter($bins, lambda start: start <= following - day)) AS bin, count(*)
FROM bought WHERE following IS NOT NULL GROUP BY bin;

-- name: named_property
CREATE TEMP TABLE things AS
SELECT DISTINCT customer, day, json_extract_string(properties, $path) AS name FROM purchases;

-- name: named_customer
CREATE TEMP TABLE things AS
SELECT DISTINCT customer, day, name FROM purchases LEFT JOIN named USING (customer);

-- name: groups
-- From the first day with something of a name to the next one with the same.
SELECT name, count(*) AS customers, count(again),
    count(*) FILTER (last_day > day), count(*) FILTER (day + $within < today),
    count(*) FILTER (day + $within < today AND again - day <= $within), median(again - day)
FROM (
    SELECT customer, name, day, lead(day) OVER own AS again, row_number() OVER own AS number
    FROM things WINDOW own AS (PARTITION BY customer, name ORDER BY day)
)
JOIN (
    SELECT customer, max(day) AS last_day, any_value(today) AS today FROM bought GROUP BY customer
) USING (customer)
WHERE number = 1 GROUP BY name ORDER BY customers DESC, name LIMIT $most;
