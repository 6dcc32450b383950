-- What became of messages, from the table `contacts` (see contacts.sql).

-- name: own
-- Those that were asked about. $channel, $message: one alone, or null.
CREATE OR REPLACE TEMP TABLE own_contacts AS SELECT * FROM contacts
WHERE ($channel IS NULL OR channel = $channel) AND ($message IS NULL OR message = $message);

-- name: counts
SELECT {by} AS name, count(DISTINCT customer), count(*),
    count(*) FILTER (state = 'queued'), count(*) FILTER (state = 'sent'),
    count(*) FILTER (state = 'failed'), count(*) FILTER (state = 'dropped'),
    count(*) FILTER (state = 'unknown'), count(delivered), count(shown), count(opened),
    count(clicked), count(replied), count(converted), count(bounced), count(complained),
    count(unsubscribed)
FROM own_contacts GROUP BY name ORDER BY 3 DESC, name LIMIT $most;

-- name: times
-- How many were told, and the quantiles of the time; an event before the one it follows is left out.
SELECT count(sent) FILTER (sent >= us), quantile_cont(sent - us, [0.5, 0.9]) FILTER (sent >= us),
    count(*) FILTER (delivered >= sent),
    quantile_cont(delivered - sent, [0.5, 0.9]) FILTER (delivered >= sent),
    count(*) FILTER (opened >= sent),
    quantile_cont(opened - sent, [0.5, 0.9]) FILTER (opened >= sent),
    count(*) FILTER (clicked >= sent),
    quantile_cont(clicked - sent, [0.5, 0.9]) FILTER (clicked >= sent)
FROM own_contacts;

-- name: reasons
SELECT {by} AS name, state, reason, count(*), max(us) FROM own_contacts
WHERE state IN ('failed', 'dropped')
GROUP BY name, state, reason ORDER BY count(*) DESC, name, state, reason LIMIT 20;

-- name: periods
SELECT period_of(day, $period, $week_shift) AS period,
    count(*) FILTER (state = 'queued'), count(*) FILTER (state = 'sent'),
    count(*) FILTER (state = 'failed'), count(*) FILTER (state = 'dropped'),
    count(*) FILTER (state = 'unknown')
FROM dated_contacts GROUP BY period;

-- name: waiting
-- When the oldest message was chosen of which nothing is told yet.
SELECT min(us) FROM own_contacts WHERE state = 'queued';
