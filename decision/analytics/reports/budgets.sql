-- What was taken of budgets: contacts that were not released, by day. See contacts.sql.

-- name: taken
-- $releasing: the channels on which a contact is released when its reservation ends.
SELECT message, channel, day, count(*) FROM dated_contacts
WHERE state NOT IN ('failed', 'dropped')
    AND NOT (state = 'unknown' AND list_contains($releasing, channel))
GROUP BY message, channel, day;
