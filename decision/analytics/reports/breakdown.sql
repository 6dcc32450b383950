-- Fields of customers, as the decisions about them saw them. Times are microseconds.

-- name: nobody_named
CREATE OR REPLACE TEMP TABLE named (customer VARCHAR, name VARCHAR);

-- name: sights
-- For each customer of a table (customer, us) the last decision up to then, else the first after.
CREATE OR REPLACE TEMP TABLE sights AS
SELECT customer, coalesce(before, after) AS decision_id, before IS NULL AS later
FROM (
    SELECT customer,
        arg_max(decision_id, (decided, decision_id)) FILTER (decided <= us) AS before,
        arg_min(decision_id, (decided, decision_id)) FILTER (decided > us) AS after
    FROM (
        SELECT coalesce(into_id, customer_id) AS customer, decision_id,
            epoch_us(decided_at) AS decided
        FROM replays LEFT JOIN merged ON from_id = customer_id
    )
    JOIN (SELECT customer, min(us) AS us FROM {table} GROUP BY customer) USING (customer)
    GROUP BY customer
);

-- name: seen
SELECT customer, {'customer_id': customer_id, 'document': document, 'register': register,
    'decided_us': epoch_us(decided_at)}, later
FROM sights JOIN replays USING (decision_id);
