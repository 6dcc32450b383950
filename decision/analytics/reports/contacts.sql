-- What decisions gave to whom, from the view `decided`, and what was told of it. Times are µs.

-- name: told
-- Events about contacts, each once; a program's opens and clicks are left out.
CREATE OR REPLACE TEMP TABLE told AS
SELECT decision_id, message, type, min(us) AS us, arg_min(reason, us) AS reason,
    arg_min(gateway, us) AS gateway
FROM (
    SELECT DISTINCT ON (customer_id, event_id) decision_id, message, type, epoch_us("at") AS us,
        json_extract_string(properties, '$.reason') AS reason,
        json_extract_string(properties, '$.gateway') AS gateway
    FROM told_events
    WHERE decision_id IS NOT NULL AND type IN ({types}) AND {by_people}
    ORDER BY customer_id, event_id, "at", type
)
GROUP BY decision_id, message, type;

-- name: reservations
-- How long a contact of each channel stays reserved.
CREATE TEMP TABLE reservations (channel VARCHAR, lasts BIGINT);

-- name: contacts
-- An event without a message is about the decision's only one.
CREATE TEMP TABLE contacts AS
SELECT customer, decision_id, us, placement, message, channel,
    first_of['message.sent'] AS sent, first_of['message.delivered'] AS delivered,
    first_of['message.shown'] AS shown, first_of['message.opened'] AS opened,
    first_of['message.clicked'] AS clicked, first_of['message.replied'] AS replied,
    first_of['message.converted'] AS converted, first_of['message.bounced'] AS bounced,
    first_of['message.complained'] AS complained, first_of['message.unsubscribed'] AS unsubscribed,
    reason, gateway, coalesce(lasts, $usual) AS lasts,
    CASE
        WHEN confirmed THEN 'sent'
        WHEN first_of['message.failed'] IS NOT NULL THEN 'failed'
        WHEN first_of['message.bounced'] IS NOT NULL THEN 'failed'
        WHEN first_of['message.not_shown'] IS NOT NULL THEN 'dropped'
        WHEN us + coalesce(lasts, $usual) > $until THEN 'queued'
        ELSE 'unknown'
    END AS state,
    bounce AS released
FROM (
    SELECT any_value(contact.customer) AS customer, contact.decision_id,
        any_value(contact.us) AS us, any_value(placement) AS placement, contact.message, channel,
        map(list(type ORDER BY type) FILTER (type IS NOT NULL),
            list(told.us ORDER BY type) FILTER (type IS NOT NULL)) AS first_of,
        coalesce(bool_or(list_contains($confirming, type)), false) AS confirmed,
        coalesce(bool_or(list_contains($releasing, type)), false) AS bounce,
        min(reason) FILTER (list_contains($releasing, type)) AS reason, min(gateway) AS gateway
    FROM (
        SELECT customer, decision_id, us, placement, message, channel FROM decided
        WHERE outcome = 'selected' AND message IS NOT NULL
    ) AS contact
    LEFT JOIN told ON told.decision_id = contact.decision_id
        AND coalesce(told.message, contact.message) = contact.message
    GROUP BY contact.decision_id, contact.message, channel
)
LEFT JOIN reservations USING (channel);

-- name: looked_at
SELECT count(*) FROM told JOIN contacts USING (decision_id);

-- name: apart
-- Events about contacts that name no decision, from $begin until $end.
SELECT count(DISTINCT (customer_id, event_id)) FROM told_events
WHERE decision_id IS NULL AND type IN ({types}) AND {by_people}
    AND epoch_us("at") >= $begin AND epoch_us("at") < $end;
