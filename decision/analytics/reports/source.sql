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

-- name: reach_of
SELECT min(epoch_us("{moment}")), max(epoch_us("{moment}")) FROM {dataset};

-- name: decided
-- Decisions of the range that somebody was given, a row for each selection: under the id that the
-- customer has now.
CREATE OR REPLACE TEMP VIEW decided AS
SELECT * EXCLUDE (begin_us, end_us) FROM (
    SELECT coalesce(merged.into_id, log.customer_id) AS customer, epoch_us(decided_at) AS us,
        log.* EXCLUDE (customer_id, decided_at)
    FROM selections AS log LEFT JOIN merged ON merged.from_id = log.customer_id
    WHERE NOT {without_store} AND decision_id NOT IN (SELECT decision_id FROM {not_given})
)
LEFT JOIN (SELECT customer, begin_us, end_us FROM zoned) USING (customer)
WHERE us >= coalesce(begin_us, {begin}) AND us < coalesce(end_us, {end});

-- name: zoned
-- The range of customers whose time zone is known, where the range is in each customer's own.
CREATE TEMP TABLE zoned (customer VARCHAR, zone VARCHAR, begin_us BIGINT, end_us BIGINT);
