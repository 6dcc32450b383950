-- Contacts by how many the customer had lately. Times are microseconds.

-- name: chances
-- Decisions in which something could be said, and the probability of what came of it.
CREATE TEMP TABLE chances AS
SELECT *, CASE WHEN said THEN 1 - silence ELSE silence END AS probability,
    silence > 0 AND silence < 1 AS drawn
FROM (
    SELECT decision_id, customer, us, message IS NOT NULL AS said,
        greatest(0, round(1 - coalesce(
            list_sum(list_transform(candidates, lambda c: c.selection_probability)), 1), 9))
            AS silence
    FROM own
    WHERE NOT held AND (message IS NOT NULL OR len(list_filter(candidates, lambda c: c.reason IS NULL OR c.reason IN (
        'capped', 'budget_spent', 'too_long', 'holdout', 'below_threshold', 'outranked'))) > 0)
);

-- name: drawn
SELECT count(*) FILTER (drawn), avg(said::INT) FILTER (drawn), min(us) FROM chances;

-- name: units
CREATE OR REPLACE TEMP TABLE units AS
SELECT row_number() OVER (ORDER BY us, decision_id) AS unit, customer, us AS begun
FROM chances LEFT JOIN zoned USING (customer)
WHERE said AND us >= coalesce(begin_us, $begin) AND us < coalesce(end_us, $end);

-- name: history
-- What came before each contact: decisions, contacts, those of which nothing was drawn (or the
-- archive begins later than the window), and the weight of that history: how probable
-- it would be if all were told as often, over how probable it was.
SELECT unit, units.customer, any_value(measured.y) AS y, any_value(away.y) AS away,
    count(chances.us)::DOUBLE AS asked, count(chances.us) FILTER (said)::DOUBLE AS contacts,
    count(chances.us) FILTER (NOT drawn) + any_value((begun < $known + $window)::INT) AS fixed,
    exp(coalesce(sum(ln(CASE WHEN said THEN $often ELSE 1 - $often END / probability))
        FILTER (drawn), 0)) AS weight
FROM units JOIN measured USING (unit) JOIN away USING (unit)
LEFT JOIN chances ON chances.customer = units.customer
    AND chances.us < begun AND chances.us >= begun - $window
WHERE begun <= $until - $within
GROUP BY unit, units.customer ORDER BY unit;
