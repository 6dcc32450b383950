-- What became of messages, from the table `contacts` (see contacts.sql). $channel: one alone, or null.

-- name: counts
SELECT {by} AS name, count(DISTINCT customer), count(*),
    count(*) FILTER (state = 'queued'), count(*) FILTER (state = 'sent'),
    count(*) FILTER (state = 'failed'), count(*) FILTER (state = 'dropped'),
    count(*) FILTER (state = 'unknown'), count(delivered), count(shown), count(opened),
    count(clicked), count(replied), count(converted), count(bounced), count(complained),
    count(unsubscribed)
FROM contacts WHERE $channel IS NULL OR channel = $channel
GROUP BY name ORDER BY 3 DESC, name LIMIT $most;

-- name: times
-- How many were told, and the quantiles of the time; an event before the one it follows is left out.
SELECT count(sent) FILTER (sent >= us), quantile_cont(sent - us, [0.5, 0.9]) FILTER (sent >= us),
    count(*) FILTER (delivered >= sent),
    quantile_cont(delivered - sent, [0.5, 0.9]) FILTER (delivered >= sent),
    count(*) FILTER (opened >= sent),
    quantile_cont(opened - sent, [0.5, 0.9]) FILTER (opened >= sent),
    count(*) FILTER (clicked >= sent),
    quantile_cont(clicked - sent, [0.5, 0.9]) FILTER (clicked >= sent)
FROM contacts WHERE $channel IS NULL OR channel = $channel;

-- name: reasons
SELECT state, reason, count(*) FROM contacts
WHERE state IN ('failed', 'dropped') AND ($channel IS NULL OR channel = $channel)
GROUP BY state, reason ORDER BY count(*) DESC, state, reason LIMIT 20;
