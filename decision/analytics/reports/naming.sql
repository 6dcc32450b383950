-- Which names the archive has. Times are microseconds since 1970.
-- {…} is filled in: a view, its column with names, and its time.

-- name: named
-- Each name, those with most rows first: how many of them are in the range, the first and the last.
SELECT {column} AS name, count(*) FILTER (us >= $begin AND us < $end), min(us), max(us)
FROM (SELECT {column}, epoch_us({moment}) AS us FROM {view})
WHERE name IS NOT NULL GROUP BY name ORDER BY count(*) DESC, name;

-- name: has_property
-- A row, if an event (of a type; null: of any) has the property at a JSON pointer.
SELECT 1 FROM archived
WHERE ($event IS NULL OR type = $event) AND json_extract(properties, $path) IS NOT NULL LIMIT 1;

-- name: properties
-- The names of properties that some of these events have.
SELECT DISTINCT unnest(json_keys(properties)) AS name FROM (
    SELECT properties FROM archived
    WHERE ($event IS NULL OR type = $event) AND properties IS NOT NULL LIMIT 10000
)
ORDER BY name;

-- name: values
-- Which of some names are values of the property at a JSON pointer.
SELECT DISTINCT json_extract_string(properties, $path) AS name FROM archived
WHERE list_contains($names, json_extract_string(properties, $path));
