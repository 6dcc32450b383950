"""Work in steps: a generator that gives way between them, and has its result at the end.

Whoever has several such works runs each step of all of them before the next. A step's code is then
in the processor's caches, which it is not after the rest of a whole decision.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

Steps = Generator[None, None, T]


def finish(work: Steps[T]) -> T:
    """The result of work, with one step after another.

    >>> def halved(number: int) -> Steps[float]:
    ...     yield
    ...     return number / 2
    >>> finish(halved(5))
    2.5
    """
    try:
        while True:
            next(work)
    except StopIteration as ended:
        found: T = ended.value
        return found


def at_once(stepwise: Callable[P, Steps[T]]) -> Callable[P, T]:
    """The function that does at once what another one does in steps."""

    @wraps(stepwise)
    def whole(*given: P.args, **named: P.kwargs) -> T:
        return finish(stepwise(*given, **named))

    return whole
