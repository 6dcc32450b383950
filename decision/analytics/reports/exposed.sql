-- Whom an experiment had an effect on, and as which variant. Times are microseconds.
-- {…} is filled in: conditions that all readers of the log share.

-- name: versions
SELECT coalesce(policy_version, ''), min(epoch_us(decided_at)), max(epoch_us(decided_at))
FROM decided GROUP BY 1 ORDER BY 3, 1;

-- name: names
SELECT DISTINCT unnest(map_keys(experiments)) FROM decided;

-- name: counted
-- Versions of the policy in which an experiment was, by its name there; `same`: as it is now.
CREATE TEMP TABLE counted (version VARCHAR, name VARCHAR, same BOOLEAN);

-- name: own
CREATE TEMP VIEW own AS
SELECT customer_id AS id, coalesce(into_id, customer_id) AS customer, epoch_us(decided_at) AS us,
    decision_id, coalesce(placement, '') AS placement, coalesce(policy_version, '') AS version,
    experiments, coalesce(holdout, false) AS held,
    CASE WHEN outcome = 'selected' THEN message END AS message, candidates
FROM decided LEFT JOIN merged ON from_id = customer_id
WHERE customer_id IS NOT NULL AND NOT {without_store} AND coalesce(position, 1) = 1
    AND decision_id NOT IN (SELECT decision_id FROM {not_given});

-- name: of_test
CREATE OR REPLACE TEMP TABLE exposed AS
SELECT id, customer, us, decision_id, placement, entry.value AS variant, counted.name, same
FROM (SELECT *, unnest(map_entries(experiments)) AS entry FROM own) AS one
JOIN counted ON counted.version = one.version AND counted.name = entry.key;

-- name: of_holdout
CREATE OR REPLACE TEMP TABLE exposed AS
SELECT id, customer, us, decision_id, placement,
    CASE WHEN held THEN $held ELSE $others END AS variant, counted.name, same
FROM own JOIN counted ON counted.version = own.version;

-- name: of_anybody
CREATE OR REPLACE TEMP TABLE exposed AS
SELECT id, customer, us, decision_id, placement, '' AS variant, '' AS name, true AS same FROM own;

-- name: units
-- One for each customer: the first decision that mattered, if it was in the range.
CREATE OR REPLACE TEMP TABLE units AS
SELECT row_number() OVER (ORDER BY customer) AS unit, customer, begun, variant, moved, same,
    begun // 604800000000 AS week, placement
FROM (
    SELECT customer, min(us) AS begun, arg_min(variant, (us, decision_id)) AS variant,
        arg_min(placement, (us, decision_id)) AS placement,
        arg_min(same, (us, decision_id)) AS same,
        count(DISTINCT variant) FILTER (same) > 1 AS moved
    FROM exposed GROUP BY customer
)
LEFT JOIN zoned USING (customer)
WHERE begun >= coalesce(begin_us, $begin) AND begun < coalesce(end_us, $end);

-- name: ratio
-- Customers of each variant as they fell to it: under the id that they had.
SELECT variant, count(DISTINCT id) FROM exposed
WHERE same AND us >= $begin AND us < $end GROUP BY variant;

-- name: names_until
-- Until when each name was in use.
SELECT name, max(us) FROM exposed WHERE same GROUP BY name ORDER BY 2;
