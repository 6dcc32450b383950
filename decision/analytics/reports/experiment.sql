-- Sums over the customers of each variant, of the tables `units` and `measured`.

-- name: sums
SELECT variant, CASE $strata WHEN 'placement' THEN placement WHEN 'week' THEN week::VARCHAR
        ELSE '' END AS stratum,
    count(*), coalesce(fsum(y), 0), coalesce(fsum(y * y), 0), coalesce(fsum(x), 0),
    coalesce(fsum(x * x), 0), coalesce(fsum(x * y), 0), coalesce(fsum(n), 0),
    coalesce(fsum(n * n), 0), coalesce(fsum(y * n), 0), count(*) FILTER (n > 0)
FROM units JOIN measured USING (unit) WHERE begun <= $until - $within
GROUP BY ALL;

-- name: waiting
SELECT variant, count(*) FROM units WHERE begun > $until - $within GROUP BY variant;

-- name: customers
SELECT variant, count(*) FROM units GROUP BY variant;

-- name: rate
-- Customers a day, over the latest four weeks or as long as there were any.
SELECT count(*) / greatest(1, least(28, ($until - min(begun)) / 86400000000))
FROM (SELECT begun FROM units WHERE begun > $until - 28 * 86400000000);
