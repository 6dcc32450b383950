"""The steps of a decision, timed in place: in a real server, under load, adding up to the whole.

    python -m benchmarks._http.marks FILE serve --rules …

runs `nextbest serve` with marks around its steps. On SIGUSR1 it writes into FILE how much CPU the
thread of the event loop has used in each, and how often. Nothing of it is in nextbest: marks are put
around functions from outside, before the server starts, so they cost nothing where this is not run.

A step has the CPU of its functions without that of the steps within it. What no step has is the
event loop's. So the steps add up to all that the thread has used. What the marks themselves cost is
measured when they are put there, and taken off.
"""

from __future__ import annotations

import importlib
import inspect
import json
import signal
import sys
import threading
import time
import types
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterator
from functools import reduce
from pathlib import Path
from typing import Any, Final

LOOP: Final = "event loop, sockets, timers"
STEPS: Final[dict[str, tuple[str, ...]]] = {
    "HTTP: read": ("decision.api.protocol:BoundedProtocol.data_received",),
    "HTTP: write": ("decision.api.cycle:Cycle.give_now",),
    "request around its decision": ("decision.api.direct:DirectDecisions.__call__",),
    "request from JSON": ("decision.api.decisions:decode_request",),
    "answer to JSON": ("decision.api.answers:encode_json",),
    "engine around its steps": ("decision.engine.deciding:Deciding.run",),
    "plan around the decision": ("decision.engine.planning:plan",),
    "reservation around its commit": ("decision.engine.reserving:reserve",),
    "metrics": ("decision.server.metrics:Metrics.decided",),
    "store: read": ("decision.store.redis_store:RedisStore.read",),
    "document decoded": ("decision.store.codec:decode",),
    "store: connection": (
        "decision.store.pipelined_connection:PipelinedConnection.data_received",
        "decision.store.pipelined_connection:PipelinedConnection._flush",
        "decision.store.pipelined_connection:PipelinedConnection._send",
    ),
    "the decision around its steps": ("decision.core.decide:decide_in_steps",),
    "fields read": ("decision.core.policy:Policy.read",),
    "business rules": ("decision.core.business_rules:run",),
    "contact policy": (
        "decision.core.contact_policy:ContactPolicy.standing",
        "decision.core.contact_policy:ContactPolicy.pauses",
    ),
    "stages": ("decision.core.stages:pass_stages",),
    "feature matrix": ("decision.scoring.features:FeatureEncoder.encode",),
    "scores": (
        "decision.scoring.scorers:ModelScorer.score",
        "decision.scoring.scorers:PriorScorer.score",
    ),
    "priorities and draw": (
        "decision.core.arbitration:prioritise",
        "decision.core.arbitration:arbitrate",
    ),
    "features to log": ("decision.engine.planning:_selections",),
    "answer and content": ("decision.engine.answering:answer_of",),
    "record": ("decision.engine.log_records:decision_record",),
    "commit encoded": ("decision.store.commits:encode_commit",),
    "store: commit": ("decision.store.redis_store:RedisStore.commit",),
}
"""Step → its functions, as `module:name`."""

_CALIBRATED: Final = 20_000


class Marks:
    """Step → seconds of CPU of this thread in it, without the steps within it; and calls."""

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._thread = threading.get_ident()
        self._open = [LOOP]
        self._since = clock()
        self._inner_cost = self._outer_cost = 0.0
        self.spent: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._within: Counter[str] = Counter()

    def enter(self, step: str) -> None:
        """A function of the step begins."""
        now = self._clock()
        around = self._open[-1]
        self.spent[around] += now - self._since
        self._within[around] += 1
        self.calls[step] += 1
        self._open.append(step)
        self._since = now

    def leave(self) -> None:
        """The function entered last ends."""
        now = self._clock()
        self.spent[self._open.pop()] += now - self._since
        self._since = now

    def calibrate(self) -> None:
        """Measures what a mark around a function costs, within its step and outside."""
        marked = self.around("calibration", lambda: None)
        self.enter("around")
        for _ in range(_CALIBRATED):
            marked()
        self.leave()
        self._inner_cost = self.spent["calibration"] / _CALIBRATED
        self._outer_cost = self.spent["around"] / _CALIBRATED
        for counter in (self.spent, self.calls, self._within):
            counter.clear()

    def told(self) -> dict[str, dict[str, float]]:
        """Step → its seconds, without what marks cost, and its calls; `marks` has what they cost."""
        self.enter(LOOP)  # what is under way counts up to now
        self.leave()
        found, marks = {}, 0.0
        for step in (*STEPS, LOOP):
            calls = self.calls[step]
            cost = calls * self._inner_cost + self._within[step] * self._outer_cost
            marks += cost
            found[step] = {"seconds": self.spent[step] - cost, "calls": calls}
        found["marks"] = {"seconds": marks, "calls": sum(self.calls.values())}
        return found

    def around(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with marks around it; of a coroutine, or of work in steps, around each part
        that runs at once."""
        if inspect.iscoroutinefunction(function):

            async def marked_coroutine(*given: Any, **named: Any) -> Any:
                return await _awaited(self, step, function(*given, **named))

            return marked_coroutine

        if inspect.isgeneratorfunction(function):

            def marked_steps(*given: Any, **named: Any) -> Any:
                return (yield from _driven(self, step, function(*given, **named)))

            return marked_steps

        def marked(*given: Any, **named: Any) -> Any:
            if threading.get_ident() != self._thread:  # such as the trial of a new policy
                return function(*given, **named)
            self.enter(step)
            try:
                return function(*given, **named)
            finally:
                self.leave()

        return marked


def _driven(
    marks: Marks, step: str, coroutine: Coroutine[Any, Any, Any] | Generator[Any, Any, Any]
) -> Generator[Any, Any, Any]:
    """Runs a coroutine or steps; while they wait, what they do not do is not counted."""
    go_on, given = coroutine.send, None
    while True:
        marks.enter(step)
        try:
            waits_for = go_on(given)
        except StopIteration as ended:
            return ended.value
        finally:
            marks.leave()
        try:
            go_on, given = coroutine.send, (yield waits_for)
        except BaseException as error:  # noqa: BLE001 - handed in, as it would be without marks
            go_on, given = coroutine.throw, error  # type: ignore[assignment]


@types.coroutine
def _awaited(
    marks: Marks, step: str, coroutine: Coroutine[Any, Any, Any]
) -> Generator[Any, Any, Any]:
    return (yield from _driven(marks, step, coroutine))


def put(marks: Marks) -> None:
    """Puts marks around all steps, wherever their functions were imported to.

    Raises:
        LookupError: a step has a function that is not there; the text says which.
    """
    for step, names in STEPS.items():
        for name in names:
            owner, attribute, function = find(name)
            marked = marks.around(step, function)
            setattr(owner, attribute, marked)
            for module in list(sys.modules.values()):
                if getattr(module, "__name__", "").startswith("decision"):
                    for other, value in list(vars(module).items()):
                        if value is function:
                            setattr(module, other, marked)


def find(name: str) -> tuple[Any, str, Callable[..., Any]]:
    """What owns a function, the function's name there, and the function.

    Raises:
        LookupError: it is not there.
    """
    module, _, path = name.partition(":")
    *within, attribute = path.split(".")
    try:
        owner = reduce(getattr, within, importlib.import_module(module))
        return owner, attribute, getattr(owner, attribute)
    except (ImportError, AttributeError):
        raise LookupError(
            f"{name} is not there any more: correct benchmarks/_http/marks.py"
        ) from None


def between(before: dict[str, Any], after: dict[str, Any]) -> Iterator[tuple[str, float, int]]:
    """Step, seconds and calls between two times at which marks were told."""
    for step, now in after.items():
        then = before[step]
        yield step, now["seconds"] - then["seconds"], now["calls"] - then["calls"]


def main() -> None:
    """Serves with marks."""
    importlib.import_module("decision.api.app")  # all that is marked is imported
    from decision.cli.app import cli

    path, marks = Path(sys.argv[1]), Marks()
    put(marks)
    marks.calibrate()

    def tell(*_: object) -> None:
        aside = path.with_suffix(".aside")
        aside.write_text(json.dumps(marks.told()))
        aside.replace(path)

    signal.signal(signal.SIGUSR1, tell)
    cli(sys.argv[2:], prog_name="nextbest")


if __name__ == "__main__":
    main()
