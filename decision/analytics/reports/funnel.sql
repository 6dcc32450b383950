-- How far customers came in a funnel, in one pass over the events of each, in order of time.
--
-- An event is one number, us * 64 + kind * 2 + (1 where it is in the range), so that a list of them
-- sorts by time, then by the order of the steps. Kinds 1 … $kinds are the types of steps, any other
-- kind breaks a chain; $steps is the kind of each step, $places has the steps of each kind.
-- A list of slots is carried along. Slot i is when the latest chain began that has reached step i
-- ($none: there is none), slot $count + 1 how far the customer came at best, and, where they are
-- asked for, the next two when the best chain began and came there.
--
-- For `any` order the same pass goes from the last event to the first, with us negative: slot i is
-- then when step i is done next, and every step counts that is done within the time of an event.
-- $earlier[i] is the step before of the same kind, or 0: the second next event of it.

-- name: lists
CREATE TEMP TABLE lists AS
SELECT customer, list_sort(list(event)) AS events
FROM (
    SELECT customer, CASE WHEN $backwards THEN -us ELSE us END * 64
        + coalesce(list_position($kinds, type), CASE WHEN $backwards THEN 0 ELSE 31 END) * 2
        + (us >= coalesce(begin_us, $begin) AND us < coalesce(end_us, $end))::INT AS event
    FROM happened LEFT JOIN zoned USING (customer)
    WHERE us >= $begin - $shift AND us <= $last
        AND (type IN (SELECT unnest($types)) OR ($others AND NOT starts_with(type, 'message.') AND NOT starts_with(type, 'moment.')))
)
GROUP BY customer;

-- name: reached
-- The step that an event completes at best: of those that it can be, the last one whose chain began
-- within the time. p - 1 is the slot that it goes on from.
CREATE TEMP MACRO reached(slots, event, places, within_us) AS
coalesce(list_max(list_transform(places[(event & 63) >> 1], lambda p: CASE
    WHEN p = 1 THEN event & 1
    WHEN (event >> 6) - slots[p - 1] <= within_us THEN p
    ELSE 0
END)), 0);

-- name: in_order
CREATE TEMP TABLE came AS
SELECT customer, list_max(slots[:$count]) AS latest, slots[$count + 1] AS level,
    slots[$count + 2] AS began, slots[$count + 3] AS ended
FROM (
    SELECT customer, list_reduce(
        list_transform(events, lambda event: [event]),
        lambda slots, event: list_transform(slots, lambda slot, i: CASE
            WHEN i <= $count THEN CASE
                WHEN $steps[i] <> (event[1] & 63) >> 1 THEN
                    CASE WHEN $keeps AND (event[1] & 63) >> 1 <= $kinds THEN slot ELSE $none END
                WHEN i > 1 THEN slots[i - 1]
                WHEN event[1] & 1 = 1 THEN event[1] >> 6
                WHEN $keeps THEN slot
                ELSE $none
            END
            WHEN i = $count + 1 THEN greatest(slot, reached(slots, event[1], $places, $within))
            WHEN reached(slots, event[1], $places, $within) <= slots[$count + 1] THEN slot
            WHEN i = $count + 3 OR slots[$count + 1] = 0 THEN event[1] >> 6
            ELSE slots[reached(slots, event[1], $places, $within) - 1]
        END),
        $slots::BIGINT[]
    ) AS slots
    FROM lists
);

-- name: moved
-- Slot i after an event, going backwards.
CREATE TEMP MACRO moved(slots, event, i, step, earlier_slot, none) AS
CASE
    WHEN event & 63 < 2 THEN none
    WHEN (event & 63) >> 1 <> step THEN slots[i]
    WHEN earlier_slot = 0 THEN event >> 6
    ELSE slots[earlier_slot]
END;

-- name: done
-- When the steps are done that are done within the time of an event, going backwards.
CREATE TEMP MACRO done(slots, event, steps, earlier, none, within_us) AS
list_filter(
    list_transform(steps, lambda step, i: moved(slots, event, i, step, earlier[i], none)),
    lambda us: (event >> 6) - us <= within_us
);

-- name: in_any_order
CREATE TEMP TABLE came AS
SELECT customer, slots[$count + 1] AS level,
    -list_min(list_transform(list_filter(events, lambda event: event & 1 = 1),
        lambda event: event >> 6)) AS latest,
    -slots[$count + 2] AS began, -slots[$count + 3] AS ended
FROM (
    SELECT customer, events, list_reduce(
        list_transform(events, lambda event: [event]),
        lambda slots, event: list_transform(slots, lambda slot, i: CASE
            WHEN i <= $count
                THEN moved(slots, event[1], i, $steps[i], $earlier[i], $none)
            WHEN event[1] & 1 = 0 OR event[1] & 63 < 2 THEN slot
            WHEN i = $count + 1 THEN greatest(slot,
                len(done(slots, event[1], $steps, $earlier, $none, $within)))
            WHEN len(done(slots, event[1], $steps, $earlier, $none, $within))
                < slots[$count + 1] THEN slot
            WHEN i = $count + 2 THEN event[1] >> 6
            ELSE list_min(done(slots, event[1], $steps, $earlier, $none, $within))
        END),
        $slots::BIGINT[]
    ) AS slots
    FROM lists
);

-- name: levels
-- How many customers came how far at best, and how many of them can still come further.
SELECT level, count(*), count(*) FILTER (level < $count AND latest >= $open_since)
FROM came WHERE level > 0 GROUP BY level ORDER BY level;

-- name: events
SELECT coalesce(sum(len(events)), 0)::BIGINT FROM lists;

-- name: by_property
-- The same by a property of the event that began the best chain; of several at once, the least.
CREATE OR REPLACE TEMP TABLE named AS
SELECT came.customer, min(json_extract_string(properties, $path)) AS name
FROM came
LEFT JOIN happened ON happened.customer = came.customer AND us = began AND list_contains($first, type)
WHERE level > 0 GROUP BY came.customer;

-- name: beginnings
-- When the best chain of each customer began.
CREATE TEMP TABLE beginnings AS SELECT customer, began AS us FROM came WHERE level > 0;

-- name: groups
SELECT name, level, count(*) AS customers FROM came LEFT JOIN named USING (customer)
WHERE level > 0 GROUP BY ALL;
