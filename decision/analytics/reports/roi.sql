-- What messages bring, by what they are of. Times are microseconds.
-- {group} is filled in: what a candidate (c) or a contact (c) belongs to.

-- name: tables
CREATE TEMP TABLE known (message VARCHAR, category VARCHAR, withheld BOOLEAN);
CREATE TEMP TABLE costs (channel VARCHAR, cost DOUBLE);

-- name: asked
CREATE TEMP TABLE asked AS
SELECT decision_id, any_value(journey) AS journey FROM journeys
WHERE decision_id IS NOT NULL GROUP BY decision_id;

-- name: chances
-- What could be said in each decision of the range, by group; chance: with which probability.
CREATE TEMP TABLE chances AS
SELECT decision_id, customer, us, held, silence, said, {group} AS grp,
    coalesce(sum(c.selection_probability), 0) AS chance
FROM (
    SELECT decision_id, customer, us, held, message IS NOT NULL AS said,
        greatest(0, round(1 - coalesce(
            list_sum(list_transform(candidates, lambda c: c.selection_probability)), 1), 9))
            AS silence,
        unnest(candidates) AS c
    FROM own LEFT JOIN zoned USING (customer)
    WHERE us >= coalesce(begin_us, $begin) AND us < coalesce(end_us, $end)
) AS one
LEFT JOIN known ON known.message = c.message
LEFT JOIN asked USING (decision_id)
WHERE coalesce(withheld, true) AND (c.reason IS NULL OR c.reason IN (
    'capped', 'budget_spent', 'too_long', 'holdout', 'below_threshold', 'outranked'))
GROUP BY ALL HAVING grp IS NOT NULL;

-- name: contacts
CREATE TEMP TABLE contacts AS
SELECT decision_id, coalesce(into_id, customer_id) AS customer, epoch_us(decided_at) AS us,
    coalesce(cost, 0) AS cost, {group} AS grp
FROM decided AS c
LEFT JOIN merged ON from_id = customer_id LEFT JOIN known USING (message)
LEFT JOIN costs USING (channel) LEFT JOIN asked USING (decision_id)
WHERE c.message IS NOT NULL AND outcome = 'selected' AND coalesce(withheld, true)
    AND NOT {without_store} AND decision_id NOT IN (SELECT decision_id FROM {not_given})
    AND epoch_us(decided_at) >= $begin AND epoch_us(decided_at) < $end;

-- name: counted
-- How many customers were decided on in the range, and events in it and around it.
SELECT (
    SELECT count(DISTINCT customer) FROM own LEFT JOIN zoned USING (customer)
    WHERE us >= coalesce(begin_us, $begin) AND us < coalesce(end_us, $end)
), (SELECT count(*) FROM happened);

-- name: held_units
-- Each customer whom a group could reach, from the first time on; all groups together are ''.
CREATE OR REPLACE TEMP TABLE units AS
SELECT row_number() OVER (ORDER BY grp, customer) AS unit, grp, customer, min(us) AS begun,
    arg_min(held, (us, decision_id)) AS held
FROM (SELECT * FROM chances UNION ALL SELECT * REPLACE ('' AS grp) FROM chances)
WHERE decision_id IN (SELECT decision_id FROM exposed WHERE same)
GROUP BY grp, customer;

-- name: sums
SELECT grp, held, count(*), coalesce(fsum(y), 0), coalesce(fsum(y * y), 0),
    coalesce(fsum(x), 0), coalesce(fsum(x * x), 0), coalesce(fsum(x * y), 0), count(*) FILTER (n > 0)
FROM units JOIN measured USING (unit) GROUP BY ALL;

-- name: spent
-- What all contacts of these customers cost, from then on.
SELECT units.grp, coalesce(fsum(cost), 0) FROM units JOIN contacts USING (customer)
WHERE NOT held AND us >= begun GROUP BY units.grp;

-- name: totals
SELECT grp, count(*), count(DISTINCT customer), coalesce(fsum(cost), 0) FROM contacts
WHERE grp IS NOT NULL GROUP BY grp ORDER BY 2 DESC, 1;

-- name: touched
-- What the metric's events are worth, each for the last contact before it.
SELECT grp, coalesce(fsum(amount), 0), count(amount) FROM (
    SELECT contacts.grp, amount(properties, $path) AS amount
    FROM (SELECT customer, us, properties FROM happened
        WHERE type = $event AND us >= $begin AND us < $end) AS one
    ASOF JOIN contacts ON contacts.customer = one.customer AND one.us > contacts.us
    WHERE one.us - contacts.us <= $within
)
GROUP BY grp;

-- name: drawn_units
-- Decisions in which silence was drawn, or what could have been said instead.
CREATE OR REPLACE TEMP TABLE units AS
SELECT row_number() OVER (ORDER BY decision_id, chances.grp) AS unit, chances.grp, customer,
    us AS begun, said, CASE WHEN said THEN chance ELSE silence END AS probability
FROM chances LEFT JOIN (SELECT decision_id, grp AS own FROM contacts) USING (decision_id)
WHERE silence > 0 AND chance > 0 AND NOT held AND (NOT said OR own = chances.grp);

-- name: drawn
SELECT grp, customer, y, said::INT::DOUBLE AS said, 1 / probability AS weight
FROM units JOIN measured USING (unit) WHERE begun <= $until - $within ORDER BY unit;
