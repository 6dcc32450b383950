-- Queries over the counts of `tally`. Days are local, as days since 1970-01-01.

-- name: folded
-- Rows of several blocks added up; `reach` keeps the first moment and the last.
SELECT kind, slice, value, day, placement, level, name, other,
    CAST(sum(n) AS BIGINT) AS n, CAST(sum(m) AS BIGINT) AS m,
    CASE any_value(kind) WHEN 'reach' THEN min(x) ELSE sum(x) END AS x,
    CASE any_value(kind) WHEN 'reach' THEN max(y) ELSE sum(y) END AS y
FROM parts GROUP BY ALL ORDER BY kind, slice, level, day, placement;

-- name: table_of_counts
-- One for each large kind of counts, and `totals` for the rest.
CREATE TABLE {table} (
    kind VARCHAR, slice VARCHAR, value VARCHAR, day INTEGER, placement VARCHAR, level VARCHAR,
    name VARCHAR, other VARCHAR, n BIGINT, m BIGINT, x DOUBLE, y DOUBLE, file VARCHAR
);

-- name: add_counts
INSERT INTO {table} SELECT *, $file FROM added
WHERE CASE WHEN kind IN ('ended', 'ranked', 'won', 'best') THEN kind ELSE 'totals' END = '{table}';

-- name: remove_counts
DELETE FROM {table} WHERE file = $file;

-- name: placements
SELECT DISTINCT placement FROM totals WHERE kind = 'decided' AND slice = '';

-- name: experiments
SELECT DISTINCT slice FROM totals
WHERE kind = 'decided' AND slice <> '' AND NOT starts_with(slice, 'segment:');

-- name: values
SELECT DISTINCT value FROM totals WHERE kind = 'decided' AND slice = $slice;

-- name: names
SELECT DISTINCT name FROM ended WHERE slice = '' AND level = $level;

-- name: reach
-- From when to when there are decisions, in microseconds.
SELECT min(x), max(y) FROM totals WHERE kind = 'reach';

-- name: scope
-- The counts of a range in one table; every query below begins with it. `left_out` and
-- `policy_missing` are by day alone.
WITH days AS (SELECT * FROM {table} WHERE day BETWEEN $first AND $last),
scope AS (
    SELECT * FROM days
    WHERE slice = $slice AND ($value IS NULL OR value = $value)
        AND ($placement IS NULL OR placement = $placement)
)

-- name: decided
SELECT name, other, CAST(sum(n) AS BIGINT), CAST(sum(m) AS BIGINT)
FROM scope WHERE kind = 'decided' GROUP BY ALL HAVING sum(n) > 0;

-- name: left_out
SELECT name, CAST(sum(n) AS BIGINT) FROM days WHERE kind = 'left_out' GROUP BY ALL;

-- name: policy_missing
SELECT name, CAST(sum(n) AS BIGINT) FROM days
WHERE kind = 'policy_missing' GROUP BY ALL HAVING sum(n) > 0 ORDER BY 2 DESC, 1;

-- name: ended
-- How each row ended. `by` is the column that names the row.
SELECT CASE $by WHEN 'name' THEN name WHEN 'placement' THEN placement WHEN 'value' THEN value
        WHEN 'day' THEN CAST(day AS VARCHAR) ELSE '' END AS by_name,
    other, CAST(sum(n) AS BIGINT), CAST(sum(m) AS BIGINT)
FROM scope WHERE level = $level AND ($name IS NULL OR name = $name)
GROUP BY ALL HAVING sum(n) + sum(m) > 0;

-- name: ranked
-- In how many decisions each name was left in the draw, by rank, and how often it was chosen.
SELECT name, CAST(other AS INTEGER) AS rank, CAST(sum(n) AS BIGINT), CAST(sum(m) AS BIGINT)
FROM scope WHERE level = $level AND ($name IS NULL OR name = $name)
GROUP BY ALL HAVING sum(n) > 0 ORDER BY 1, 2;

-- name: won_against
-- Whom the name was chosen before: decisions, the mean rank of the other, the mean margin.
SELECT other, CAST(sum(n) AS BIGINT), sum(x) / sum(n), sum(y) / sum(n)
FROM scope WHERE level = $level AND name = $name
GROUP BY ALL HAVING sum(n) > 0 ORDER BY 2 DESC, 1;

-- name: lost_to
-- Who was chosen before the name: decisions, its own mean rank, the mean margin of the winner.
SELECT name, CAST(sum(n) AS BIGINT), sum(x) / sum(n), sum(y) / sum(n)
FROM scope WHERE level = $level AND other = $name
GROUP BY ALL HAVING sum(n) > 0 ORDER BY 2 DESC, 1;

-- name: several
SELECT CAST(coalesce(sum(n), 0) AS BIGINT) FROM scope WHERE kind = 'several';

-- name: best
-- For each part of the priority: the best candidate as it was, and the best without that part.
SELECT level, name, other, CAST(sum(n) AS BIGINT) FROM scope GROUP BY ALL HAVING sum(n) > 0 ORDER BY 4 DESC, 2, 3;
