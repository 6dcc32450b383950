-- Figures of one journey from the archive's dataset `journeys`. Times are microseconds.
-- A run belongs to the range in which it started; what it did later counts, however late.
-- $journey is its name, $begin (included) and $end (excluded) are the range.

-- name: did
-- What was done to the runs of the range, a row per write.
CREATE TEMP TABLE did AS
SELECT run, record_id, epoch_us("at") AS us, epoch_us(started) AS started,
    steps, asked, outcome, coalesce(holds, false) AS holds, skipped, ended, refused
FROM journeys
WHERE journey = $journey AND epoch_us(started) >= $begin AND epoch_us(started) < $end;

-- name: runs
CREATE TEMP TABLE runs AS
SELECT run, min(started) AS started, max(ended) AS ended,
    max(us) FILTER (ended IS NOT NULL) AS ended_at
FROM did WHERE refused IS NULL GROUP BY run;

-- name: visits
-- Each stay in a step, numbered in the order of the run's stays.
CREATE TEMP TABLE visits AS
SELECT run, regexp_replace(entry, ':[a-z_]+$', '') AS step,
    regexp_extract(entry, ':([a-z_]+)$', 1) AS kind,
    row_number() OVER (PARTITION BY run ORDER BY us, record_id, place) AS number
FROM (
    SELECT run, us, record_id, unnest(steps) AS entry, generate_subscripts(steps, 1) AS place
    FROM did WHERE refused IS NULL
);

-- name: totals
SELECT count(*), count(*) FILTER (ended IS NULL),
    (SELECT count(*) FROM did WHERE refused IS NOT NULL)
FROM runs;

-- name: ends
SELECT ended, count(*) FROM runs WHERE ended IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1;

-- name: time_to_goal
SELECT quantile_cont(ended_at - started, [0.1, 0.25, 0.5, 0.75, 0.9])
FROM runs WHERE ended = 'goal';

-- name: steps
-- Per step: those that entered it (`runs`), how often (`visits`), those that reached the goal
-- afterwards, and those that stand in it now; then what came of what it asked.
WITH entered AS (
    SELECT step, arg_max(kind, number) AS kind, count(DISTINCT run) AS runs, count(*) AS visits,
        count(DISTINCT run) FILTER (ended = 'goal') AS goal, median(number) AS place
    FROM visits JOIN runs USING (run) GROUP BY step
), standing AS (
    SELECT step, count(*) AS here
    FROM (SELECT run, arg_max(step, number) AS step FROM visits GROUP BY run)
    JOIN runs USING (run) WHERE ended IS NULL GROUP BY step
), asked AS (
    SELECT asked AS step, count(*) AS asked,
        count(*) FILTER (outcome = 'selected') AS selected,
        count(*) FILTER (holds) AS held
    FROM did WHERE asked IS NOT NULL AND refused IS NULL GROUP BY 1
), skipped AS (
    SELECT skipped AS step, count(*) AS skipped
    FROM did WHERE skipped IS NOT NULL GROUP BY 1
)
SELECT step, kind, runs, visits, goal, coalesce(here, 0), coalesce(asked, 0),
    coalesce(selected, 0), coalesce(held, 0), coalesce(skipped, 0)
FROM entered
LEFT JOIN standing USING (step) LEFT JOIN asked USING (step) LEFT JOIN skipped USING (step)
ORDER BY place, step;

-- name: step_ends
-- In which step runs were when they ended, and why.
SELECT step, ended, count(*)
FROM (SELECT run, arg_max(step, number) AS step FROM visits GROUP BY run)
JOIN runs USING (run) WHERE ended IS NOT NULL GROUP BY 1, 2 ORDER BY 3 DESC, 2;

-- name: known
SELECT journey FROM {journeys} GROUP BY 1 ORDER BY count(*) DESC, 1;

-- name: reach
-- From when to when the archive has records of any kind.
SELECT min(first), max(last) FROM (
    SELECT min(epoch_us("at")) AS first, max(epoch_us("at")) AS last FROM journeys
    UNION ALL SELECT min(epoch_us("at")), max(epoch_us("at")) FROM events
    UNION ALL SELECT min(epoch_us(decided_at)), max(epoch_us(decided_at)) FROM decisions
);
