-- How long customers took for a funnel, from the table `came` (see funnel.sql). Times in microseconds.

-- name: taken
-- Of those who went all the way: how many, the shortest and longest time, the mean, and quantiles.
SELECT count(*), min(ended - began), max(ended - began), avg(ended - began),
    quantile_cont(ended - began, [0.1, 0.5, 0.9])
FROM came WHERE level = $count;

-- name: bins
-- How many took so long, by the number of the bin.
SELECT (ended - began - $least) // $width AS bin, count(*)
FROM came WHERE level = $count GROUP BY bin;

-- name: groups
-- By the names in `named`: how many began and went all the way, the mean, and quantiles.
SELECT name, count(*), count(taken), avg(taken), quantile_cont(taken, [0.1, 0.5, 0.9])
FROM (
    SELECT name, CASE WHEN level = $count THEN ended - began END AS taken
    FROM came LEFT JOIN named USING (customer) WHERE level > 0
)
GROUP BY name;
