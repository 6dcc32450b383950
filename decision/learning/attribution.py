"""Attribution: which selections an event is a response to, so that one conversion counts once.

One rule in SQL for training and evaluation. An event may belong to every selection whose goal it
is, in time, as long as it names no other (see `goals`). Then

- `last_touch`: it counts for the latest of them;
- `each`: it counts for each;
- `discounted`: it is shared; each has half of what the next later one has.

Of several selections of one decision the last is the latest.
"""

from __future__ import annotations

from typing import Final

from decision.core.event_effects import RELEASING
from decision.core.machines import SEEN
from decision.core.said import marked
from decision.learning.goals import IN_TIME, REACHED
from decision.scoring.manifest import Attribution

IN_WORDS: Final[dict[Attribution, str]] = {
    "last_touch": marked("an event counts for the latest message that it may belong to"),
    "each": marked("an event counts for each message that it may belong to"),
    "discounted": marked(
        "an event is shared among the messages that it may belong to, the latest most"
    ),
}

MANY: Final = 10_000
"""With more events of one type by one customer, pairs are found by sorting, not by trying all."""

_TURN: Final = "struct_pack(moment := one.moment, position := one.position, tie := one.tie) AS turn"
_SAME: Final = (
    "{0}.decision_id = one.decision_id AND coalesce({0}.message, one.message) = one.message"
)


def never_seen(selections: str, about: str) -> str:
    """SQL of the `place` of selections that were released and never seen.

    `about` has what happened to contacts: decision_id, type, and message, or null for all.
    """
    released, seen = (", ".join(map(repr, types)) for types in (RELEASING, SEEN))
    return f"""
        SELECT DISTINCT place FROM {selections} AS one
        JOIN (SELECT DISTINCT decision_id, message FROM {about} WHERE type IN ({released})) AS went
        ON {_SAME.format("went")}
        WHERE NOT EXISTS (
            SELECT 1 FROM {about} AS saw WHERE saw.type IN ({seen}) AND {_SAME.format("saw")})"""


def credits_of(attribution: Attribution, touches: str, happened: str, *, many: bool = True) -> str:
    """SQL of (place, credit): the selections with a response, and how much of one, at most 1.

    `touches` has place (their key), decision_id, message, customer, moment, event, within,
    position, and tie, which orders those alike in time and position; `happened` has id (their
    key), customer, type, moment, and what an event names: decision_id, message. With `last_touch`
    the credits of all sum to the number of events at most. `many`: a customer may have very many
    events of one type (see `MANY`); it is found the same by sorting then.
    """
    if attribution == "last_touch" and not many:
        return (
            "SELECT DISTINCT place, 1.0::DOUBLE AS credit FROM ("
            f"SELECT arg_max(place, turn) AS place FROM (SELECT h.id, one.place, {_TURN} "
            f"FROM {touches} AS one JOIN {happened} AS h ON {REACHED}) GROUP BY id)"
        )
    if attribution == "each":
        first = " UNION ".join(
            (
                _first(touches, happened, named=False),
                _first(touches, happened, named=True),
                f"SELECT place FROM {touches} AS one "
                f"JOIN (SELECT * FROM {happened} WHERE decision_id IS NOT NULL) AS h "
                f"ON one.decision_id = h.decision_id AND {REACHED}",
            )
        )
        return f"SELECT place, 1.0::DOUBLE AS credit FROM ({first})"
    if attribution == "last_touch":
        latest = " UNION ALL ".join(
            (
                _latest(touches, happened, named=False),
                _latest(touches, happened, named=True),
                f"SELECT h.id, one.place, {_TURN} FROM {touches} AS one "
                f"JOIN (SELECT * FROM {happened} WHERE decision_id IS NOT NULL) AS h "
                f"ON one.decision_id = h.decision_id AND {REACHED}",
            )
        )
        return (
            "SELECT DISTINCT place, 1.0::DOUBLE AS credit FROM ("
            "SELECT arg_max(place, turn) AS place "
            f"FROM ({latest}) GROUP BY id)"
        )
    return f"""
        SELECT place, least(1.0, sum(credit))::DOUBLE AS credit FROM (
            SELECT place, 0.5 ** row_number() OVER latest_first
                          / (1 - 0.5 ** count(*) OVER event) AS credit
            FROM (SELECT one.place, {_TURN}, h.id
                  FROM {touches} AS one JOIN {happened} AS h ON {REACHED})
            WINDOW event AS (PARTITION BY id),
                   latest_first AS (PARTITION BY id ORDER BY turn DESC))
        GROUP BY place"""


def _first(touches: str, happened: str, *, named: bool) -> str:
    """SQL: the selections after which an event that names no decision came in time.

    The next event after each says it. By sorting, so that a customer with very many events costs
    no more than others.
    """
    same = "AND one.message = h.message" if named else ""
    return f"""
        SELECT place FROM {touches} AS one
        ASOF JOIN (SELECT * FROM {happened} WHERE decision_id IS NULL
                   AND message IS {"NOT" if named else ""} NULL) AS h
        ON one.customer = h.customer AND one.event = h.type {same} AND one.moment < h.moment
        WHERE {IN_TIME}"""


def _latest(touches: str, happened: str, *, named: bool) -> str:
    """SQL: the latest selection of each event that names no decision, of each window there is.

    By sorting, as `_first`.
    """
    message = ", message" if named else ""
    same = "AND one.message = h.message" if named else ""
    return f"""
        SELECT h.id, one.place, one.turn FROM (
            SELECT log.*, windows.within FROM {happened} AS log
            JOIN (SELECT DISTINCT event, within FROM {touches}) AS windows
            ON windows.event = log.type
            WHERE decision_id IS NULL AND message IS {"NOT" if named else ""} NULL) AS h
        ASOF JOIN (
            SELECT customer, event, within, moment{message}, max(turn) AS turn,
                   arg_max(place, turn) AS place
            FROM (SELECT *, {_TURN} FROM {touches} AS one)
            GROUP BY customer, event, within, moment{message}) AS one
        ON one.customer = h.customer AND one.event = h.type AND one.within = h.within {same}
           AND one.moment < h.moment
        WHERE {IN_TIME}"""
