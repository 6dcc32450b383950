"""One row of a table of decisions, checked: what was decided, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import tzinfo
from hashlib import blake2b
from typing import Any, Final

import msgspec

from decision.core import calendar
from decision.core.clock import HOUR, time_in_zone
from decision.core.errors import InputError, unknown
from decision.core.identifiers import decision_id, partition_of
from decision.core.values import Value
from decision.engine.identity import clean_id
from decision.intake.cells import cell_value, exact_below, identifier, json_value
from decision.intake.decision_log.arms import SILENCE, Arm, Arms, Uniform, check_probabilities
from decision.intake.decision_log.header import Header
from decision.intake.decision_log.values import (
    DECIMAL_COMMA,
    amount_of,
    moment_of,
    number_of,
    shown,
)

_CACHED: Final = 100_000


class LoggedRow(msgspec.Struct, array_like=True):
    """One decision. Times are microseconds; message and channel are empty for silence.

    `probability` is None where the uniform claim stands in for it. `outcomes` are (place of the
    column, time, amount). `offered` are the arms and their probabilities where the row gives them.
    """

    number: int
    at: int
    customer_id: str
    placement: str
    message: str
    channel: str
    probability: float | None
    attributes: dict[str, Value]
    context: dict[str, Value]
    event_type: str | None
    event: dict[str, Value]
    outcomes: list[tuple[int, int, float]]
    offered: list[tuple[str, str, float]] | None
    timezone: str | None
    request_id: str | None

    @property
    def arm(self) -> Arm:
        """What was given."""
        return Arm(self.message, self.channel)

    def identity(self) -> bytes:
        """9 bytes made of what tells this decision from others, and of nothing else.

        So a file that was corrected, or has later outcomes, is about the same decisions.
        """
        parts = (
            self.customer_id,
            str(self.at),
            self.placement,
            self.message,
            self.channel,
            self.request_id or "",
        )
        return blake2b("\x00".join(parts).encode(), digest_size=9, person=b"imported").digest()

    def decision_id(self, identity: bytes) -> str:
        """The id of the decision: a ULID as ours, the same whenever the row is imported."""
        number = int.from_bytes(identity, "big")
        return decision_id(self.at // 1000, partition_of(self.customer_id), number)


class RowReader:
    """Reads rows of one table. It counts what it had to assume: see the attributes.

    `naive` are times without an offset, taken as the policy's; `commas` are cells that look like
    numbers with a decimal comma, by column; `amounts` are the outcome columns with other values
    than 0 and 1.
    """

    def __init__(
        self,
        header: Header,
        types: Sequence[str],
        arms: Arms,
        uniform: Uniform | None,
        now: int,
    ) -> None:
        self.naive = 0
        self.commas: dict[str, int] = {}
        self.amounts: set[int] = set()
        self._header = header
        self._arms = arms
        self._policy = arms.policy
        self._uniform = uniform
        self._now = now
        self._text = not types
        place = header.fixed["customer_id"]
        self._exact = exact_below(types[place]) if types else 2**53
        self._placement = next(iter(self._policy.placements))
        self._resolved: dict[tuple[str, str, str], Arm] = {}
        self._values: dict[str, Value] = {}

    def read(self, number: int, cells: Sequence[Any]) -> LoggedRow:
        """The row of these cells.

        Raises:
            InputError: what is wrong with it; its path is the column's name.
        """
        fixed = self._fixed
        customer = fixed(cells, "customer_id")
        if customer is None:
            raise InputError("customer_id", "is empty")
        customer_id = clean_id(
            "customer_id", _named(identifier, "customer_id", customer, self._exact)
        )
        at = self._moment("decided_at", fixed(cells, "decided_at"))
        placement = self._word(cells, "placement") or self._only_placement()
        arm = self._arm(cells, placement)
        given = self._offered(cells, placement, arm)
        probability = number_of("probability", fixed(cells, "probability"))
        offered = None
        if given:
            probability = check_probabilities(given, arm, probability)
            offered = [(one.message, one.channel, chance) for one, chance in given.items()]
        self._check_probability(probability, arm)
        event = self._mapping(cells, self._header.event, "event.")
        kind = event.pop("type", None)
        if kind is None and event:
            raise InputError("event.type", f"is empty, but event.{next(iter(event))} is not")
        request_id = fixed(cells, "request_id")
        return LoggedRow(
            number=number,
            at=at,
            customer_id=customer_id,
            placement=placement,
            message=arm.message,
            channel=arm.channel,
            probability=probability,
            attributes=self._mapping(cells, self._header.attributes, "attribute."),
            context=self._mapping(cells, self._header.context, "context."),
            event_type=None if kind is None else str(kind),
            event=event,
            outcomes=self._outcomes(cells, at),
            offered=offered,
            timezone=self._timezone(cells),
            request_id=None
            if request_id is None
            else _named(identifier, "request_id", request_id, 2**53),
        )

    def _fixed(self, cells: Sequence[Any], name: str) -> Any:
        place = self._header.fixed.get(name)
        if place is None:
            return None
        cell = cells[place]
        if isinstance(cell, str) and not cell.strip():
            return None
        return cell

    def _word(self, cells: Sequence[Any], name: str) -> str:
        cell = self._fixed(cells, name)
        if cell is None:
            return ""
        if not isinstance(cell, str):
            raise InputError(name, f"is {shown(cell)}, must be a name")
        return cell.strip()

    def _only_placement(self) -> str:
        if len(self._policy.placements) > 1:
            names = ", ".join(self._policy.placements)
            raise InputError("placement", f"is left out; the policy has several: {names}")
        return self._placement

    def _arm(self, cells: Sequence[Any], placement: str) -> Arm:
        message, channel = self._word(cells, "message"), self._word(cells, "channel")
        key = placement, message, channel
        if (found := self._resolved.get(key)) is not None:
            return found
        if placement not in self._policy.placements:
            raise unknown("placement", "placement", placement, self._policy.placements)
        if message:
            found = self._arms.at(placement, message, channel)
        elif channel:
            raise InputError("message", f"is empty, which is silence, but channel is {channel}")
        else:
            found = SILENCE
        if self._uniform is not None and found not in self._uniform:
            raise InputError(
                "message", f"{found} is none of those that --uniform-over names; add it there"
            )
        return self._resolved.setdefault(key, found)

    def _offered(self, cells: Sequence[Any], placement: str, chosen: Arm) -> dict[Arm, float]:
        found: dict[Arm, float] = {}
        for arm, place in self._header.probabilities:
            name = self._header.names[place]
            chance = number_of(name, cells[place])
            if chance is None or chance == 0:
                continue
            if not 0 < chance <= 1:
                raise InputError(name, f"is {chance:g}; must be between 0 and 1")
            found[self._arms.resolve(arm, placement, chosen)] = chance
        return found

    def _check_probability(self, probability: float | None, arm: Arm) -> None:
        if probability is None:
            if self._uniform is None:
                raise InputError(
                    "probability",
                    "is empty; write with which probability this was drawn, or take the row out",
                )
        elif probability <= 0:
            raise InputError(
                "probability",
                f"is {probability:g}, but {arm} was given, so it could be drawn; write the "
                "probability with which it was, or take the row out",
            )
        elif probability > 1:
            hint = f" ({probability:g}% is {probability / 100:g})" if probability <= 100 else ""
            raise InputError("probability", f"is {probability:g}; must be at most 1{hint}")

    def _moment(self, name: str, cell: Any) -> int:
        at, naive = moment_of(name, cell, self._policy.zone, self._now)
        self.naive += naive
        return at

    def _timezone(self, cells: Sequence[Any]) -> str | None:
        name = self._word(cells, "timezone")
        if not name:
            return None
        if calendar.known_zone(name) is None:
            hint = calendar.zone_hint(name)
            raise InputError("timezone", f"{shown(name)} is not a time zone; {hint}")
        return name

    def _mapping(
        self, cells: Sequence[Any], columns: Sequence[tuple[str, int]], prefix: str
    ) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for name, place in columns:
            cell = cells[place]
            if cell is None or cell == "":
                continue
            value = self._cell(cell, prefix, name) if self._text else None
            if not self._text:
                value = json_value(prefix + name, cell)
            if value is not None:
                found[name] = value
        return found

    def _cell(self, cell: str, prefix: str, name: str) -> Value:
        """What a cell of CSV means; most are seen again and again."""
        try:
            value = self._values[cell]
        except KeyError:
            value = cell_value(cell)
            if len(self._values) < _CACHED:
                self._values[cell] = value
        if "," in cell and DECIMAL_COMMA.fullmatch(cell):
            self.commas[prefix + name] = self.commas.get(prefix + name, 0) + 1
        return value

    def _outcomes(self, cells: Sequence[Any], decided_at: int) -> list[tuple[int, int, float]]:
        found = []
        for number, (kind, place, at_place) in enumerate(self._header.outcomes):
            name = self._header.names[place]
            amount = amount_of(name, cells[place])
            if not amount:
                continue
            at = decided_at + HOUR
            when = None if at_place is None else cells[at_place]
            if when is not None and when != "":
                at = self._moment(f"outcome_at.{kind}", when)
                if at <= decided_at:
                    raise InputError(
                        f"outcome_at.{kind}",
                        f"{_local(at, self._policy.zone)} is not after decided_at, "
                        f"{_local(decided_at, self._policy.zone)}; correct it, give times and not "
                        "dates alone, or leave it empty: an hour after",
                    )
            if amount != 1:
                self.amounts.add(number)
            found.append((number, at, amount))
        return found


def _named(check: Callable[..., str], name: str, value: Any, exact: float) -> str:
    """`identifier` with the column's name as the path of its errors."""
    try:
        return check(name, value, exact)
    except InputError as error:
        raise InputError(name, error.detail.removeprefix(name).strip()) from None


def _local(at: int, zone: tzinfo) -> str:
    return time_in_zone(at, zone)
