"""What was chosen in logged decisions, a day as columns: some hundred bytes for each decision.

Texts that repeat are kept once. A decision becomes a value of its own only while it is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from decision.evaluation.supports import Supports


class LoggedChoice(NamedTuple):
    """What was chosen, with which probability, and whether it reached its goal: 1 or 0; less than
    1 where a response is shared among several messages.

    `message` and `channel` are empty for silence. `support` names the candidates
    (`message/channel`, empty for silence) that could have been chosen. If silence is chosen at
    random, it has the probability that the candidates leave, and its row has it too. `shares` has
    the probability of each of the support, where that was asked for. `said` is the
    response probability that the model in question gave this choice, in force or as a challenger;
    None if it did not score it. Times are microseconds.
    """

    decision_id: str
    decided_at: int
    customer_id: str
    message: str
    channel: str
    probability: float
    reached: float
    holdout: bool
    policy_version: str
    placement: str
    said: float | None
    support: frozenset[str]
    shares: Mapping[str, float] = MappingProxyType({})


class _Texts:
    """A column of texts, each distinct one kept once."""

    def __init__(self, column: Any) -> None:
        coded = column.combine_chunks().dictionary_encode()
        self.texts = coded.dictionary.to_pylist()
        self.codes = coded.indices.to_numpy(zero_copy_only=False)

    def __getitem__(self, place: int) -> str:
        found: str = self.texts[self.codes[place]]
        return found


class JudgedDay(Mapping[str, LoggedChoice]):
    """The decisions of a day that can be judged, by id.

    `facts` is an Arrow table of `LoggedChoice` up to `said`, with `shadowed`: the model in
    question was the challenger. `paths` are the day's files. `customers`: those who are wanted.
    """

    def __init__(
        self,
        facts: Any,
        paths: Sequence[Path],
        *,
        shares: bool = False,
        customers: Callable[[str], bool] | None = None,
    ) -> None:
        import pyarrow as pa

        if customers is not None:
            found = _Texts(facts.column("customer_id"))
            wanted = np.array([*map(customers, found.texts)], np.bool_)[found.codes]
            facts = facts.filter(pa.array(wanted))
        ids = facts.column("decision_id").to_pylist()
        self._places = {name: place for place, name in enumerate(ids)}
        self._customer, self._message, self._channel, self._version, self._placement = (
            _Texts(facts.column(name))
            for name in ("customer_id", "message", "channel", "policy_version", "placement")
        )
        self._at, self._probability, self._reached, self._holdout, self._said = (
            facts.column(name).to_numpy()
            for name in ("decided_at", "probability", "reached", "holdout", "said")
        )
        shadowed = np.flatnonzero(facts.column("shadowed").to_numpy()).tolist()
        asked = {place: f"{self._message[place]}/{self._channel[place]}" for place in shadowed}
        self._supports = Supports(paths, self._places, asked, shares=shares)

    def __getitem__(self, decision_id: str) -> LoggedChoice:
        place = self._places[decision_id]
        said = self._said[place]
        return LoggedChoice(
            decision_id,
            int(self._at[place]),
            self._customer[place],
            self._message[place],
            self._channel[place],
            float(self._probability[place]),
            float(self._reached[place]),
            bool(self._holdout[place]),
            self._version[place],
            self._placement[place],
            self._supports.shadow.get(place) if said != said else float(said),
            self._supports.names(place),
            self._supports.shares(place),
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def pop(self, decision_id: str) -> LoggedChoice:
        """A decision, which is then no longer there."""
        found = self[decision_id]
        del self._places[decision_id]
        return found
