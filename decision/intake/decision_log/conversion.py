"""Rows of a table, in order of time, into tables of the archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from decision.archive.imported import imported_version
from decision.archive.layout import day_of
from decision.core.clock import DAY
from decision.core.definition import PolicyDefinition
from decision.core.policy_builder import compile_policy
from decision.intake.decision_log.arms import Arm, Arms, Uniform, spread
from decision.intake.decision_log.features import (
    covariates_of,
    features_of,
    longest_window,
    of_history,
)
from decision.intake.decision_log.header import Header
from decision.intake.decision_log.histories import MOST_CONTACTS, Histories, occurrences
from decision.intake.decision_log.log_rows import (
    Happened,
    Seen,
    Situations,
    by_day,
    decisions_table,
    events_table,
    nothing_happened,
    outcomes_table,
    replays_table,
    seen,
)
from decision.intake.decision_log.reading import LoggedRow, RowReader
from decision.intake.decision_log.rules_check import RulesCheck
from decision.intake.decision_log.staging import SettledRows
from decision.intake.decision_log.writing import StagedTables
from decision.learning.balance import MOST_ROWS, Balance, Covariates
from decision.progress import Progress, count_of
from decision.scoring.features import Feature, fields_of

_AT_ONCE: Final = 25_000
"""Rows of a day in one table; this bounds memory."""
_EVENTS_AT_ONCE: Final = 200_000

Offer = tuple[tuple[Arm, ...], list[float]]
"""Arms, and the probability of each."""


class Offers:
    """What each row could have been given, and with which probabilities.

    `there` is what the table gives at each placement.
    """

    def __init__(
        self, arms: Arms, uniform: Uniform | None, there: Mapping[str, Mapping[Arm, int]]
    ) -> None:
        self._arms = arms
        self._uniform = uniform
        self._order: dict[frozenset[Arm], tuple[Arm, ...]] = {}
        self._claimed: dict[tuple[str, Arm], Offer] = {}
        self._there = {placement: arms.order(own) for placement, own in there.items()}

    def of(self, row: LoggedRow) -> Offer:
        """The arms and their probabilities: those of the row, or claimed; else those that the
        table gives at its placement."""
        if row.offered is not None:
            return self._ordered(
                {Arm(message, channel): chance for message, channel, chance in row.offered}
            )
        if row.probability is not None:
            own = self._there[row.placement]
            return own, spread(own, row.arm, row.probability)
        key = row.placement, row.arm
        if key not in self._claimed:
            assert self._uniform is not None, "a row without a probability is refused"
            self._claimed[key] = self._ordered(self._uniform.offered(self._arms, *key))
        return self._claimed[key]

    def _ordered(self, given: Mapping[Arm, float]) -> Offer:
        key = frozenset(given)
        if key not in self._order:
            self._order[key] = self._arms.order(given)
        own = self._order[key]
        return own, [given[arm] for arm in own]


class Conversion:
    """Makes the tables. Afterwards its attributes say what was found on the way.

    `claimed` counts rows whose probability is claimed; `balance` is the check of the assignment.
    """

    def __init__(
        self,
        definition: PolicyDefinition,
        header: Header,
        reader: RowReader,
        features: Sequence[Feature],
    ) -> None:
        self.claimed = 0
        self.balance: Balance | None = None
        self.notes: list[str] = []
        self._rows = 0
        self._version = definition.version
        self._amounts = reader.amounts
        self._types = [column.type for column in header.outcomes]
        self._features = features_of(compile_policy(definition), header, features)
        self._policy = compile_policy(definition, reads=fields_of(self._features))

    def policy_versions(self) -> list[str]:
        """The versions under which the decisions are logged."""
        found = [False] if self.claimed < self._rows else []
        found += [True] if self.claimed else []
        return [imported_version(self._version, claimed=one) for one in found]

    def stage(
        self,
        rows: SettledRows,
        offers: Offers,
        until: int,
        staged: StagedTables,
        progress: Progress,
    ) -> None:
        """Stages the tables of all rows, day by day; outcomes are known up to `until`."""
        batch: list[Seen] = []
        events: list[Happened] = []

        def flush() -> None:
            if batch:
                day = day_of(batch[0].row.at)
                staged.add("decisions", day, decisions_table(batch, self._version, staged.types))
                staged.add("replays", day, replays_table(batch, self._version))
                batch.clear()

        def flush_events() -> None:
            for places in by_day(one.event.at for one in events).values():
                own = [events[place] for place in places]
                day = day_of(own[0].event.at)
                staged.add("events", day, events_table(own, until))
                staged.add("outcomes", day, outcomes_table(own))
            events.clear()

        with progress.bar("Writing decisions", total=float(len(rows))) as move:
            for one, happened in self._seen(rows, offers):
                if batch and (
                    len(batch) >= _AT_ONCE or one.row.at // DAY != batch[0].row.at // DAY
                ):
                    flush()
                batch.append(one)
                events += happened
                if len(events) >= _EVENTS_AT_ONCE:
                    flush_events()
                if self._rows % 1024 == 0:
                    move(self._rows)
            flush()
            if events or any(piece.dataset == "events" for piece in staged.pieces):
                flush_events()
            else:
                last = rows.span()[1]
                staged.add("events", day_of(last), events_table([nothing_happened(last)], until))
                self.notes.append("no row has an outcome: nobody reached anything")

    def _seen(self, rows: SettledRows, offers: Offers) -> Iterator[tuple[Seen, list[Happened]]]:
        """Every decision as it is logged, in order of time, and what came of it."""
        situations = Situations(self._policy, self._features)
        histories = Histories(self._policy, self._types, longest_window(self._features))
        covariates, rules = Covariates(), RulesCheck(situations)
        count = len(rows)
        stride = max(1, count // MOST_ROWS)
        repeated = False
        for row, alone, key in rows.rows():
            offered, chances = offers.of(row)
            decision_id = row.decision_id(row.identity())
            document = histories.seen(row, offered, alone)
            claimed = row.probability is None
            one = seen(row, decision_id, offered, chances, situations, document, claimed=claimed)
            if key % stride == 0:
                known = covariates_of(row, self._policy.zone_of(document))
                covariates.add(str(row.arm), one.probability, tuple(map(str, offered)), known)
            if rules.wants(key, count):
                rules.add(one, document)
            happened = occurrences(row, decision_id, self._types, self._amounts)
            histories.add(row, decision_id, happened)
            self._rows += 1
            self.claimed += claimed
            repeated |= not alone
            yield one, [Happened(row.customer_id, event) for event in happened]
        self.balance = covariates.check()
        self.notes = rules.notes()
        if repeated:
            self.notes.append(
                f"{of_history(self._features)} count what this table has of a customer before each "
                "row: over its first days they are too low"
            )
        if histories.cut:
            self.notes.append(
                f"{count_of(histories.cut, 'decision')} saw the latest {MOST_CONTACTS} contacts of "
                "a customer with more"
            )
