"""A version judged by the whole log: each decision by the witness that has not seen its customer.

What is in force is judged in the same way, by witnesses of its own, on the same decisions.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.archive.damage import naming_damage
from decision.archive.replays import ArchivedReplay
from decision.core.definition import PolicyDefinition
from decision.evaluation.choices import LoggedChoice
from decision.evaluation.control import ControlRate
from decision.evaluation.gather import worth_of
from decision.evaluation.log import ArchivedLog, EvaluationError, open_log
from decision.evaluation.paired import PairedRows, increments, least_increment, with_silence
from decision.evaluation.supports import SILENCE
from decision.evaluation.targets import BoundPolicy, Candidate, OtherModel, decide_bound
from decision.learning.folds import fold_of
from decision.progress import SILENT, Progress
from decision.scoring.manifest import Responses
from decision.scoring.model import Model
from decision.scoring.reach import EVERYTHING, Reach
from decision.scoring.scope import EVERYWHERE, Scope

Array = NDArray[np.float64]

MOST: Final = 100_000
"""More decisions are not judged: those of some customers, chosen by a hash, say enough."""


class Judged(NamedTuple):
    """The log, one entry per decision in order of time; squared errors of messages given.

    `gain`: increments of the value over `factor` times the value of what is compared with, none
    below −`least`; `control`: what that earns. `before` is None where no version is in force.
    `control_rate`: how often customers respond without a message, where that does not count.
    """

    gain: Array
    least: float
    control: Array
    weight: Array
    reached: Array
    after: Array
    before: Array | None
    days: float
    control_rate: ControlRate | None = None

    def __len__(self) -> int:
        return len(self.gain)


class Rivals(NamedTuple):
    """The witnesses of a version, and the witnesses of the one in force, or that itself; `beside`
    are the models in force in other scopes."""

    challenger: Sequence[Model]
    champion: Sequence[Model]
    beside: Mapping[Scope, Model] = MappingProxyType({})


class _Bound(NamedTuple):
    """Both on one policy, for customers of one fold."""

    challenger: BoundPolicy
    champion: OtherModel | None


def judge_whole_log(
    archive: Path,
    rivals: Rivals,
    responses: Responses | None,
    factor: float,
    *,
    rules: PolicyDefinition | None = None,
    until: int | None = None,
    reach: Reach = EVERYTHING,
    progress: Progress = SILENT,
) -> Judged:
    """Decides the log again under both, and keeps some numbers per decision.

    `factor` is 1 + the lift that is asked for. `rules` None: those that each decision was made
    under. `reach`: only what the version decides is judged. Where no version is in force, what was
    logged is compared with.

    Raises:
        EvaluationError: nothing can be judged by the log; the text says why.
        ArchiveError: the archive lacks a file, or one is damaged; it is named.
    """
    bound: dict[tuple[str | None, int, int, str | None], _Bound] = {}
    sides = (*rivals.challenger, *rivals.champion)
    alone = not rivals.beside and all(one.manifest.scope == EVERYWHERE for one in sides)
    with (
        naming_damage(archive),
        open_log(archive, responses, until=until, reach=reach) as log,
        progress.bar("Decisions") as move,
    ):
        rows = _Rows(rivals, factor, counts_silence=log.counts_silence)
        for logged, replay in log.read(customers=share_judged(log)):
            folds = [fold_of(logged.customer_id, max(1, len(each))) for each in rivals[:2]]
            placement = None if alone else replay.question.placement
            key = (replay.policy_version if rules is None else None, folds[0], folds[1], placement)
            if key not in bound:
                definition = rules or log.policies.get(replay.policy_version)
                bound[key] = _bind(definition, rivals, folds[0], folds[1], placement)
            if replay.question.placement in bound[key].challenger.policy.placements:
                worth = worth_of(logged, bound[key].challenger, log.policies)
                rows.add(bound[key], logged, replay, worth)
            move(len(rows.gain))
        if not rows.gain:
            raise nothing_judged(archive, log)
        days = (log.counted.to_time - log.counted.from_time) / 86_400e6
        return rows.judged(days, log.control())


def nothing_judged(archive: Path, log: ArchivedLog) -> EvaluationError:
    """Why no decision of a log was judged."""
    return EvaluationError(
        f"{archive}: none of {log.counted.decisions} decisions can be judged yet: "
        f"{log.counted.open_windows} have open goal windows"
    )


def share_judged(log: ArchivedLog) -> Callable[[str], bool] | None:
    """Which customers are judged, where the log has more than `MOST` decisions; else all are."""
    share = MOST / max(1, log.counted.decisions)

    def judged(customer_id: str) -> bool:
        digest = blake2b(customer_id.encode("utf-8", "surrogatepass"), digest_size=7).digest()
        return int.from_bytes(digest) / 2**56 < share

    return None if share >= 1 else judged


def _bind(
    definition: PolicyDefinition, rivals: Rivals, fold: int, other: int, placement: str | None
) -> _Bound:
    plain = Candidate(rules=definition, beside=rivals.beside)
    candidate = msgspec.structs.replace(plain, model=rivals.challenger[fold])
    if not rivals.champion:
        return _Bound(BoundPolicy(definition, candidate, None, (), (), placement), None)
    champion = msgspec.structs.replace(plain, model=rivals.champion[other])
    others = tuple(champion.models.values())
    challenger = BoundPolicy(definition, candidate, None, (), others, placement)
    return _Bound(challenger, OtherModel(challenger, champion))


class _Rows:
    def __init__(self, rivals: Rivals, factor: float, *, counts_silence: bool) -> None:
        self.factor = factor
        self.counts_silence = counts_silence
        self.silent = self.alone = 0.0
        self.compared = bool(rivals.champion)
        self.gain, self.control, self.weight = array("d"), array("d"), array("d")
        self.reached, self.after, self.before = array("d"), array("d"), array("d")
        self.least = 1e-9

    def add(
        self,
        bound: _Bound,
        logged: LoggedChoice,
        replay: ArchivedReplay,
        worth: tuple[float, float],
    ) -> None:
        """Adds the next decision."""
        own = bound.challenger
        verdict = decide_bound(own, replay)
        scores, policy = verdict.scores, own.policy
        candidates = scores.candidates
        names = [own.names[index] for index in candidates.tolist()]
        shares = [logged.shares.get(name, 0.0) if name in logged.support else 0.0 for name in names]
        chosen = names.index(said) if (said := _name(logged)) in names else -1
        value, cost = policy.message_values, policy.costs
        old = np.zeros(len(candidates))
        before = None
        if bound.champion is not None:
            before = bound.champion.probabilities(verdict)
            old = bound.champion.selection(verdict, before)
        rows = PairedRows(
            scores.selection[None, :],
            old[None, :],
            np.array(shares)[None, :],
            scores.probability[None, :],
            value[candidates][None, :],
            cost[candidates][None, :],
            np.array([chosen]),
            np.array([logged.reached]),
        )
        silent = logged.message == SILENCE
        if self.counts_silence:
            alone = self.alone / self.silent if self.silent else 0.0
            share = logged.shares.get(SILENCE, 0.0)
            rows = with_silence(rows, share, alone, own.worth_of_silence, chosen=silent)
            self.silent += silent
            self.alone += silent * logged.reached
        factor = self.factor
        if bound.champion is None:
            earned, paid = worth
            control = float(logged.reached) * earned - paid
            gain = float(increments(rows, 0.0)[0]) - factor * control
            top = max(earned, float(value.max(initial=0.0)))
            least = least_increment(np.array([top]), cost, factor)
        else:
            gain = float(increments(rows, factor)[0])
            control = float(increments(rows._replace(challenger=rows.champion), 0.0)[0])
            least = least_increment(value, cost, factor)
        self.least = max(self.least, least)
        self.gain.append(gain)
        self.control.append(control)
        new = float(scores.selection[chosen]) if chosen >= 0 else 0.0
        if silent:
            new = max(0.0, 1.0 - float(scores.selection.sum()))
        self.weight.append(new / logged.probability)
        if chosen >= 0:
            self.reached.append(float(logged.reached))
            self.after.append(float(scores.probability[chosen]))
            if before is not None:
                self.before.append(float(before[chosen]))

    def judged(self, days: float, control: ControlRate | None) -> Judged:
        """All of it, as arrays."""
        reached, after = _of(self.reached), _of(self.after)
        before = (_of(self.before) - reached) ** 2 if self.compared else None
        return Judged(
            _of(self.gain),
            self.least,
            _of(self.control),
            _of(self.weight),
            reached,
            (after - reached) ** 2,
            before,
            days,
            control,
        )


def _name(logged: LoggedChoice) -> str:
    return f"{logged.message}/{logged.channel}"


def _of(numbers: array[float]) -> Array:
    return np.array(numbers, dtype=np.float64)
