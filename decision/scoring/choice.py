"""The numbers of one decision by machine code, where trees run as such."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from decision.core.arbitration import Arithmetic, Arrays
from decision.core.policy import Policy
from decision.scoring.compiled import CompiledTrees
from decision.scoring.model import Logistic, Model

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


class MachineCode(Arrays):
    """`Arrays` by machine code: the same numbers to the last bit.

    Raises:
        ImportError: llvmlite is not installed.
    """

    def __init__(self, policy: Policy) -> None:
        from decision.scoring.choice_kernel import compile_choice, compile_priorities
        from decision.scoring.machine_code import address

        super().__init__(policy)
        levers = [one.levers for one in policy.effects]
        places = [0 if each is None else each.ctypes.data for each in levers]
        self._levers = np.array(places, dtype=np.int64)
        known = policy.message_values, policy.costs, self._levers
        self._same = np.array([*(array.ctypes.data for array in known), len(levers)], np.int64)
        self._same_at = self._same.ctypes.data
        self._octets = (len(levers) + 7) // 8
        self._address = address
        self._priorities, self._choice = compile_priorities(), compile_choice()

    def priorities(self, candidates: Indices, effects: Floats, fired: int) -> tuple[Floats, Floats]:
        """As `Arithmetic` says."""
        count = len(candidates)
        found = np.empty(2 * count)
        if count:
            holding = fired.to_bytes(self._octets, "little")
            given = candidates.tobytes(), effects.tobytes(), count, holding
            self._priorities(*given, self._same_at, self._address(found))
        return found[:count], found[count:]

    def choose(self, priorities: Floats, gamma: float | None, u: float) -> tuple[Floats, int]:
        """As `Arithmetic` says."""
        count = len(priorities)
        if gamma is not None and 0 <= gamma < math.inf and count > 1:
            weights = np.empty(count)
            given = priorities.tobytes(), count, gamma, u, self._address(weights)
            if (place := self._choice(*given)) >= 0:
                return weights, place
        return super().choose(priorities, gamma, u)


def arithmetic_of(policy: Policy, models: Iterable[Model]) -> Arithmetic:
    """That of a policy: by machine code where a model has it already, and where it is tried to give
    what arrays do."""
    plain = Arrays(policy)
    if not any(map(_has_code, models)):
        return plain
    found = MachineCode(policy)
    return found if _numbers(found) == _numbers(plain) else plain


def _numbers(arithmetic: Arrays) -> list[object]:
    """What comes of all candidates and rules of its policy."""
    policy = arithmetic.policy
    candidates = np.arange(len(policy.candidates))
    effects = np.linspace(0.01, 0.9, len(candidates))
    lever, priority = arithmetic.priorities(candidates, effects, (1 << len(policy.effects)) - 1)
    found: list[object] = [lever.tobytes(), priority.tobytes()]
    if len(candidates) > 1:
        for gamma in (1.0, 100.0):
            weights, place = arithmetic.choose(priority, gamma, 0.5)
            found += [weights.tobytes(), place]
    return found


def smoothing_by_code(
    model: Model, weight: Floats, offset: Floats, prior: Floats
) -> Callable[[Indices, Floats], Floats] | None:
    """The smoothed probabilities of candidates by the sums of a model's trees: tanh by numpy, and
    what follows it in one call of machine code. `weight`, `offset` and `prior` are those of all
    candidates. None where the trees have no such code, or are calibrated otherwise.
    """
    calibrate = model.calibrate
    if not (_has_code(model) and isinstance(calibrate, Logistic)):
        return None
    from decision.scoring.choice_kernel import compile_smoothing
    from decision.scoring.machine_code import address

    code, known = compile_smoothing(), (weight, offset, prior)
    same = np.array([array.ctypes.data for array in known], dtype=np.int64)
    kept = same.ctypes.data, same, known  # the arrays stay as long as what leads to them

    def smooth(candidates: Indices, trees: Floats) -> Floats:
        half = calibrate.half(trees)
        found: Floats = np.tanh(half)
        if len(found):
            given = candidates.tobytes(), half.tobytes(), len(found)
            code(*given, kept[0], address(found))
        return found

    return smooth


def _has_code(model: Model) -> bool:
    """Whether a model's trees run as loops of machine code."""
    trees = model.trees, model.uplift_trees
    return any(isinstance(each, CompiledTrees) and each.masks is not None for each in trees)
