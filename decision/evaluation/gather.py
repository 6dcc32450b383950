"""One pass over the log: what each decision earned, and what each target policy would have done.

Only a few numbers per decision stay in memory; documents do not.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.core.values import MISSING, Value
from decision.evaluation.choices import LoggedChoice
from decision.evaluation.log import ArchivedLog, LoggedPolicies
from decision.evaluation.reward_model import RewardModel, fold_of
from decision.evaluation.supports import SILENCE
from decision.evaluation.targets import RANDOM, BoundPolicy, TargetPolicies, TargetProbabilities

Array = NDArray[np.float64]
BATCH: Final = 4096
_NONE: Final = "(none)"


class CodedTexts:
    """One text per decision, stored as codes."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self._codes = array("l")

    def add(self, name: str) -> None:
        """Adds the next decision's text."""
        self._codes.append(self.names.setdefault(name, len(self.names)))

    def codes(self) -> NDArray[np.int64]:
        """The code of each decision's text; `names` maps texts to codes."""
        return np.frombuffer(self._codes, dtype=np.int64) if self._codes else np.empty(0, np.int64)


class TargetFigures:
    """What one target policy would do, per decision.

    `probability`: of the logged choice. `response` and `value`: what the reward model expects of
    the target. `unsupported`: the probability of candidates that could not have been logged.
    `given`: the sum of the probabilities of each candidate and of silence, by their numbers
    (`GatheredLog.numbers`). `squares`: if the target had logged, the sum over decisions of the mean
    squared weight of choosing at random; infinite if it never explores. Of the grid alone.
    """

    def __init__(self) -> None:
        self.probability = array("d")
        self.response = array("d")
        self.value = array("d")
        self.unsupported = array("d")
        self.given = np.zeros(1)
        self.squares = 0.0


class ScoreAgreement(msgspec.Struct, kw_only=True):
    """Whether a model gives the same response probabilities now as were logged.

    Compared for the logged choices of `decisions` decisions that it scored, in force or as a
    challenger. `most` is the largest difference: 0, unless features are computed differently.
    """

    decisions: int = 0
    most: float = 0.0


class GatheredLog:
    """The log as arrays, with one entry per decision.

    `expected` is what the reward model expects of the logged choice; `worth` is what a response
    to it counts and `cost` the channel's cost, 0 for silence. `numbers` are those of the candidates
    (`message/channel`, empty for silence) that targets could choose. `open` counts the decisions
    in which something could be chosen, where there is a grid of explorations.
    """

    def __init__(self, targets: Sequence[str], fields: Sequence[str]) -> None:
        self.reached = array("d")
        self.worth = array("d")
        self.cost = array("d")
        self.logged = array("d")
        self.expected = array("d")
        self.customer = array("q")
        self.choice = CodedTexts()
        self.segments = {name: CodedTexts() for name in fields}
        self.targets = {name: TargetFigures() for name in targets}
        self.numbers = {SILENCE: 0}
        self.silent = 0
        self.open = 0
        self.holdout = 0
        self.unknown_placements = 0
        self.again = ScoreAgreement()

    def __len__(self) -> int:
        return len(self.reached)

    def numbers_of(self, names: Sequence[str]) -> NDArray[np.intp]:
        """The numbers of candidates; those seen for the first time get one."""
        found = [self.numbers.setdefault(name, len(self.numbers)) for name in names]
        for target in self.targets.values():
            target.given = np.pad(target.given, (0, len(self.numbers) - len(target.given)))
        return np.array(found, np.intp)


class _Supported:
    """Which candidates of a policy could have been chosen in the log; decisions have much alike."""

    def __init__(self) -> None:
        self._known: dict[tuple[BoundPolicy, frozenset[str]], NDArray[np.bool_]] = {}

    def __call__(self, bound: BoundPolicy, support: frozenset[str]) -> NDArray[np.bool_]:
        found = self._known.get((bound, support))
        if found is None:
            if len(self._known) >= BATCH:
                self._known.clear()
            found = np.array([name in support for name in bound.names], np.bool_)
            self._known[bound, support] = found
        return found


def gather(
    log: ArchivedLog,
    targets: TargetPolicies,
    fields: Sequence[str],
    rewards: RewardModel | None,
    progress: Callable[[float], None],
) -> GatheredLog:
    """Reads the log, decides everything again, and keeps the figures.

    Raises:
        EvaluationError, ArchiveError: see `ArchivedLog.read`.
    """
    found = GatheredLog(targets.names, fields)
    expectation, chosen = _Expectation(found, rewards), _Chances(found, targets)
    for logged, replay in log.read(shares=False):
        chances = targets.decide_again(replay, logged.customer_id)
        worth, cost = worth_of(logged, chances.bound, log.policies)
        found.reached.append(float(logged.reached))
        found.worth.append(worth)
        found.cost.append(cost)
        found.logged.append(logged.probability)
        found.customer.append(customer_number(logged.customer_id))
        found.choice.add(f"{logged.message}/{logged.channel}" if logged.message else SILENCE)
        found.silent += logged.message == SILENCE
        found.holdout += logged.holdout
        for name, slot in zip(fields, chances.bound.slots, strict=True):
            found.segments[name].add(_text(chances.values[slot]))
        chosen.add(logged, chances)
        expectation.add(logged, chances)
        if len(found) % 256 == 0:
            progress(len(found))
    expectation.flush()
    found.unknown_placements = targets.placements_gone
    return found


class _Chances:
    """Adds up what targets choose, and what of it could not have been logged."""

    def __init__(self, found: GatheredLog, targets: TargetPolicies) -> None:
        self._found = found
        self._ask_again = not targets.by_witnesses
        self._numbers: dict[BoundPolicy, NDArray[np.intp]] = {}
        self._supported = _Supported()

    def add(self, logged: LoggedChoice, chances: TargetProbabilities) -> None:
        """Adds the next decision."""
        found, bound, candidates = self._found, chances.bound, chances.candidates
        if bound not in self._numbers:
            self._numbers[bound] = found.numbers_of(bound.names)
        numbers = self._numbers[bound][candidates]
        unlogged = ~self._supported(bound, logged.support)[candidates]
        some_unlogged = bool(unlogged.any())
        place = bound.place.get((logged.message, logged.channel), -1)
        here = np.flatnonzero(candidates == place)
        if self._ask_again and logged.said is not None and len(here):
            found.again.decisions += 1
            gap = abs(float(chances.responses[here[0]]) - logged.said)
            found.again.most = max(found.again.most, gap)
        for name, target in found.targets.items():
            chance = chances.targets[name]
            if logged.message == SILENCE:
                probability = chance.silence
            else:
                probability = float(chance.probability[here[0]]) if len(here) else 0.0
            target.probability.append(min(1.0, max(0.0, probability)))
            target.given[numbers] += chance.probability
            target.given[0] += chance.silence
            unsupported = 0.0
            for share in chance.probability[unlogged].tolist() if some_unlogged else ():
                unsupported += share
            if chance.silence > 0 and SILENCE not in logged.support:
                unsupported += chance.silence
            target.unsupported.append(unsupported)
        if RANDOM in chances.targets:
            self._add_squares(chances)

    def _add_squares(self, chances: TargetProbabilities) -> None:
        random = chances.targets[RANDOM].probability
        drawn = random > 0
        if not drawn.any():
            return
        self._found.open += 1
        above = random[drawn] ** 2
        with np.errstate(divide="ignore"):
            for name, target in self._found.targets.items():
                target.squares += float((above / chances.targets[name].probability[drawn]).sum())


class _Expectation:
    """Asks the reward model, in batches, for the expected reward of targets and logged choices."""

    def __init__(self, found: GatheredLog, rewards: RewardModel | None) -> None:
        self._found = found
        self._rewards = rewards
        self._pending: list[tuple[int, LoggedChoice, TargetProbabilities]] = []
        self._matrices: list[Array] = []
        self._rows = 0

    def add(self, logged: LoggedChoice, chances: TargetProbabilities) -> None:
        """Adds the next decision."""
        encoder = chances.bound.encoder
        if self._rewards is None or encoder is None:
            return
        count = len(chances.candidates)
        if count:
            self._matrices.append(
                encoder.encode(
                    chances.candidates, chances.values, chances.document, logged.decided_at
                )
            )
        self._rows += count
        self._pending.append((count, logged, chances))
        if self._rows >= BATCH or len(self._pending) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Processes what is pending."""
        rewards = self._rewards
        if rewards is None or not self._pending:
            return
        counts = [count for count, _, _ in self._pending]
        fold_by_decision = [fold_of(logged.customer_id) for _, logged, _ in self._pending]
        matrix = np.concatenate(self._matrices) if self._matrices else np.empty((0, 0))
        expected = rewards.expect(matrix, np.repeat(fold_by_decision, counts))
        start = 0
        for (count, logged, chances), fold in zip(self._pending, fold_by_decision, strict=True):
            self._keep(logged, chances, expected[start : start + count], fold)
            start += count
        self._pending, self._matrices, self._rows = [], [], 0

    def _keep(
        self, logged: LoggedChoice, chances: TargetProbabilities, expected: Array, fold: int
    ) -> None:
        assert self._rewards is not None
        policy, found = chances.bound.policy, self._found
        silence = self._rewards.expect_silence(fold)
        after = silence * chances.bound.worth_of_silence
        values = (
            policy.message_values[chances.candidates] * expected - policy.costs[chances.candidates]
        )
        for name, target in found.targets.items():
            chance = chances.targets[name]
            probability = chance.probability
            if len(probability):
                target.response.append(float(probability @ expected) + chance.silence * silence)
                target.value.append(float(probability @ values) + chance.silence * after)
            else:
                target.response.append(chance.silence * silence)
                target.value.append(chance.silence * after)
        if logged.message == SILENCE:
            found.expected.append(silence)
            return
        # A choice that the candidate does not have has weight 0: its expectation does not matter.
        place = chances.bound.place.get((logged.message, logged.channel), -1)
        here = np.flatnonzero(chances.candidates == place)
        found.expected.append(float(expected[here[0]]) if len(here) else 0.0)


def worth_of(
    logged: LoggedChoice, bound: BoundPolicy, policies: LoggedPolicies
) -> tuple[float, float]:
    """The message's value and the channel's cost: by the candidate's rules, if they have both.

    Silence costs nothing, and has a response only where that counts.
    """
    if logged.message == SILENCE:
        return bound.worth_of_silence, 0.0
    place = bound.place.get((logged.message, logged.channel))
    if place is not None:
        return float(bound.policy.message_values[place]), float(bound.policy.costs[place])
    definition = policies.get(logged.policy_version)
    values = {message.name: message.value for message in definition.messages}
    costs = {channel.name: channel.cost for channel in definition.channels}
    return values.get(logged.message, 0.0), costs.get(logged.channel, 0.0)


def customer_number(customer_id: str) -> int:
    """A number of 64 bits for a customer, always the same."""
    digest = blake2b(customer_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _text(value: Value | Any) -> str:
    if value is MISSING or value is None:
        return _NONE
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
