-- What reports read of an archive. Times are microseconds since 1970 ("us").
-- {…} is filled in: names of views, conditions and whole numbers.

-- name: happened
-- Events that people caused, under the id that the customer has now, of some days (with the file's
-- other days: a report asks for the moments itself).
CREATE OR REPLACE TEMP VIEW happened AS
SELECT coalesce(merged.into_id, event.customer_id) AS customer, event.type,
    epoch_us(event."at") AS us, event.event_id, event.properties
FROM {events} AS event LEFT JOIN merged ON merged.from_id = event.customer_id
WHERE {by_people} AND event.customer_id IS NOT NULL;

-- name: once
-- The same with each event once: an id that comes again after a week is logged again.
CREATE OR REPLACE TEMP VIEW happened AS
SELECT DISTINCT ON (customer, event_id) customer, type, us, event_id, properties
FROM (
    SELECT coalesce(merged.into_id, event.customer_id) AS customer, event.type,
        epoch_us(event."at") AS us, event.event_id, event.properties
    FROM {events} AS event LEFT JOIN merged ON merged.from_id = event.customer_id
    WHERE {by_people} AND event.customer_id IS NOT NULL AND ({types})
)
ORDER BY customer, event_id, us, type;

-- name: reach
-- From when to when the archive has events, and when the last one came in.
SELECT min(epoch_us("at")), max(greatest(epoch_us("at"), epoch_us(received_at))) FROM archived;

-- name: decided
SELECT max(epoch_us(decided_at)) FROM decisions;

-- name: types
SELECT type, count(*) FROM archived GROUP BY type ORDER BY count(*) DESC, type;

-- name: zoned
-- The range of customers whose time zone is known, where the range is in each customer's own.
CREATE TEMP TABLE zoned (customer VARCHAR, zone VARCHAR, begin_us BIGINT, end_us BIGINT);
