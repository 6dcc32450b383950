-- Which way customers went, from one event to the next. Times are microseconds.

-- name: visits
-- What was done in each visit, in order; the same thing again at once is one. A visit ends where
-- nothing is done for $gap. At one moment, names are in the order of the alphabet.
CREATE TEMP TABLE visits AS
SELECT customer, visit, list(name ORDER BY us, name) AS names, list(us ORDER BY us, name) AS times
FROM (
    SELECT *, lag(name) OVER (PARTITION BY customer, visit ORDER BY us, name) AS before
    FROM (
        SELECT customer, us, name, sum(begins) OVER (PARTITION BY customer ORDER BY us, name
            ROWS UNBOUNDED PRECEDING) AS visit
        FROM (
            SELECT customer, us, name, CASE WHEN us - lag(us) OVER (
                PARTITION BY customer ORDER BY us, name) <= $gap THEN 0 ELSE 1 END AS begins
            FROM (
                SELECT customer, us, coalesce(CASE WHEN $path IS NOT NULL
                    THEN json_extract_string(properties, $path) END, type) AS name
                FROM happened LEFT JOIN zoned USING (customer)
                WHERE us >= coalesce(begin_us, $begin) AND us < coalesce(end_us, $end)
                    AND CASE WHEN $types IS NULL
                        THEN NOT starts_with(type, 'message.') AND NOT starts_with(type, 'moment.')
                        ELSE list_contains($types, type) END
            )
            WHERE NOT list_contains($exclude, name)
        )
    )
)
WHERE before IS DISTINCT FROM name
GROUP BY customer, visit;

-- name: paths
-- From the first $after on, up to the first $before after that: at most $steps of them, the first
-- ones, or the last ones where only the end is given.
CREATE TEMP TABLE paths AS
SELECT customer, names[first:last] AS names, times[first:last] AS times FROM (
    SELECT customer, names, times,
        CASE WHEN $backwards THEN greatest(begins, ends - $steps + 1) ELSE begins END AS first,
        CASE WHEN $backwards THEN ends ELSE least(ends, begins + $steps - 1) END AS last
    FROM (
        SELECT *, CASE WHEN $before IS NULL THEN len(names) ELSE
            begins - 1 + nullif(list_position(names[begins:], $before), 0) END AS ends
        FROM (
            SELECT *, CASE WHEN $after IS NULL THEN 1
                ELSE nullif(list_position(names, $after), 0) END AS begins
            FROM visits
        )
        WHERE begins IS NOT NULL
    )
    WHERE ends IS NOT NULL
);

-- name: totals
SELECT count(DISTINCT customer), coalesce(sum(len(names)), 0)::BIGINT, count(*),
    count(DISTINCT names) FROM paths;

-- name: edges
-- Step n is from the nth to the next.
SELECT step, names[step] AS source, names[step + 1] AS target, count(*) AS paths,
    count(DISTINCT customer) AS customers, avg(times[step + 1] - times[step]) AS us
FROM (SELECT *, unnest(range(1, len(names))) AS step FROM paths)
GROUP BY ALL ORDER BY paths DESC, step, source, target LIMIT $top;

-- name: whole
SELECT names, count(*) AS paths, count(DISTINCT customer) AS customers
FROM paths GROUP BY names ORDER BY paths DESC, names LIMIT $top;
