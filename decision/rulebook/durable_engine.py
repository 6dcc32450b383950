"""Business rules in durable-rules: the only module that calls its C engine.

Only some uses of the engine are safe; this is one. A ruleset has at most 32 rules and one constant
`sid`. A question is a fact with a fresh id: it is asserted, the actions that fire are read, and it
is retracted. If no rule fires, nothing is stored, so there is nothing to read or retract. A
retraction needs only the ids.

The engine frees a ruleset's memory only by `delete_state`, which crashes unless a rule has fired
before. So each ruleset has one extra rule, which is fired when the ruleset is made.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from operator import itemgetter

import durable_rules_engine as engine

from decision.core.business_rules import RuleStrata, SlotOf
from decision.core.definition import Rule
from decision.core.errors import NextbestError
from decision.core.values import Value
from decision.rulebook.durable_rulesets import Route, RulesetPlan, compile_rules

_NAME = "nextbest"
_SID = "1"
_FIRST_RULE = "_"
_IDS = f'{{"sid":"{_SID}","id":"'
_FIRST_FACT, _FIRST_IDS = _IDS + 'first","first":true}', _IDS + 'first"}'
_STORED, _NO_MATCH = 0, 1
_NO_HANDLE = 0
_FIRED = -1


class RuleEngineError(NextbestError):
    """The rule engine failed on a ruleset, or was used after `close`."""


class Ruleset:
    """One ruleset of the engine. Not safe for several threads at once: its matcher locks.

    After a failure the state of the engine's ruleset is unknown: it is abandoned, with its memory,
    and made again.
    """

    def __init__(self, plan: RulesetPlan) -> None:
        self._definition = _definition(plan)
        self._firings = range(plan.paths + 1)
        self._masks = {**plan.masks(), _FIRST_RULE: _FIRED}
        self._open()

    def match(self, fact: str, ids: str) -> int:
        """The mask of the rules that hold for a fact; `ids` is the same fact with its ids only.

        Raises:
            RuleEngineError: the engine failed, or the ruleset is closed.
        """
        handle = self._handle
        found = 0
        try:
            code, state = engine.assert_fact(handle, fact)
            if code == _NO_MATCH:
                return 0
            if code != _STORED:
                raise RuleEngineError(f"the rule engine answered a new fact with code {code}")
            message = engine.start_action_for_state(handle, state)[1]
            for _ in self._firings:
                found |= self._masks[message[2]]  # {"A":{"m":{…}}}
                message = engine.complete_and_start_action(handle, state)
                if message is None:
                    engine.retract_fact(handle, ids)
                    return found
            raise RuleEngineError("the rule engine does not stop firing")
        except BaseException as error:
            if self._free and self._free.detach():
                self._open()
            if isinstance(error, Exception) and not isinstance(error, RuleEngineError):
                raise RuleEngineError(f"the rule engine failed: {error}") from error
            raise

    def close(self) -> None:
        """Frees the engine's memory; this also happens when nothing refers to the ruleset."""
        self._handle = _NO_HANDLE  # the engine may give the number to another ruleset
        if self._free:
            self._free()

    def _open(self) -> None:
        self._handle = _NO_HANDLE
        self._free: weakref.finalize[[int], Ruleset] | None = None
        try:
            handle = self._handle = engine.create_ruleset(_NAME, self._definition)
        except engine.error as error:
            raise RuleEngineError(f"the rule engine refuses a ruleset: {error}") from error
        try:
            if self.match(_FIRST_FACT, _FIRST_IDS) != _FIRED:
                raise RuleEngineError("the rule engine does not fire a rule that must hold")
        except BaseException:
            self._handle = _NO_HANDLE
            raise
        self._free = weakref.finalize(self, _delete, handle)
        self._free.atexit = False


def _delete(handle: int) -> None:
    engine.delete_state(handle, _SID)
    engine.delete_ruleset(handle)


def _definition(plan: RulesetPlan) -> str:
    conditions = {**plan.definition(), _FIRST_RULE: '{"first":true}'}
    rules = (f'"{name}":{{"all":[{{"m":{test}}}]}}' for name, test in conditions.items())
    return "{" + ",".join(rules) + "}"


class _RulesetGroup:
    """Rulesets that share encoded facts; those that read most properties get all of them."""

    def __init__(self, route: Route, made: dict[RulesetPlan, Ruleset]) -> None:
        self._encode = route.encoder.encode
        self._of_all = []
        self._of_some = []
        most = 0.75 * len(route.encoder.places)
        for plan, places in route.rulesets:
            if plan not in made:
                made[plan] = Ruleset(plan)
            match = made[plan].match
            if len(places) >= most:
                self._of_all.append(match)
            else:
                # With one place `pick` gives a text, which `join` reads like a tuple of texts.
                self._of_some.append((itemgetter(*places), match))

    def match(self, values: Sequence[Value], head: str) -> int:
        """The mask of the rules that hold; `head` is the start of the question's facts."""
        properties = self._encode(values)
        ids = head + "}"
        found = 0
        if self._of_all and (known := "".join(properties)):
            fact = f"{head}{known}}}"
            for match in self._of_all:
                found |= match(fact, ids)
        for pick, match in self._of_some:
            if known := "".join(pick(properties)):
                found |= match(f"{head}{known}}}", ids)
        return found


class DurableMatcher:
    """Asks rules in durable-rules; answers as `PlainMatcher` does. Safe to use from threads.

    Each rule needs about 30 kB of memory, until `close` or until nothing refers to the matcher.

    Raises:
        RuleEngineError: the engine refuses a ruleset.
    """

    def __init__(self, rules: Sequence[Rule], plan: RuleStrata, slot_of: SlotOf) -> None:
        made: dict[RulesetPlan, Ruleset] = {}
        self._strata = [
            (
                routes.constant,
                routes.always and _RulesetGroup(routes.always, made),
                [
                    (
                        slot,
                        {value: _RulesetGroup(route, made) for value, route in by_value.items()},
                    )
                    for slot, by_value in routes.triggered
                ],
            )
            for routes in compile_rules(rules, plan, slot_of)
        ]
        self._rulesets = list(made.values())
        self._asked = 0
        self._lock = threading.Lock()

    def match(self, stratum: int, values: Sequence[Value]) -> int:
        """A bit mask of the stratum's rules that hold for the slot values.

        Raises:
            RuleEngineError: the engine failed; the next call uses a new ruleset.
        """
        found, always, triggered = self._strata[stratum]
        with self._lock:
            self._asked += 1
            head = f'{_IDS}{self._asked}"'
            if always:
                found |= always.match(values, head)
            for slot, by_value in triggered:
                value = values[slot]
                if isinstance(value, str | bool) and value in by_value:
                    found |= by_value[value].match(values, head)
        return found

    def close(self) -> None:
        """Frees the engine's memory. A later `match` raises RuleEngineError."""
        with self._lock:
            for ruleset in self._rulesets:
                ruleset.close()
