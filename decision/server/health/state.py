"""How the server is: noted in one place, told to health checks, metrics and the log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

from decision.core.errors import StoreUnavailable
from decision.observability import get_logger
from decision.server.metrics import Metrics
from decision.store.health import STATES

What = Literal["store", "data", "durability", "log", "clock", "watch"]
"""What can be wrong with the store: it does not answer or take writes, it lost data or may lose
some, nobody takes its log, clocks differ, nobody can look at it or tell what was seen."""

_log = get_logger()


class Trouble(msgspec.Struct, frozen=True):
    """Something that is wrong. Of the same `code` it is the same trouble, whatever the text says.

    `text` is for the log; `public` says the same without an address, for everybody.
    """

    code: str
    text: str
    public: str


def trouble(code: str, text: str) -> Trouble:
    """A trouble with a text that has no address in it."""
    return Trouble(code, text, text)


def trouble_of(error: StoreUnavailable, where: str = "", *, embedded: bool = False) -> Trouble:
    """What an error of the store means; `where` is the address of the store.

    An `embedded` one is started again by those who use it.
    """
    reason = error.reason.rstrip(".")
    if not reason:
        public = str(error)
    elif error.code.isupper():
        public = f"Redis refuses ({error.code}): {reason}"
    else:
        public = f"Redis: {reason}"
    text, fix = str(error), error.fix or _FIXES.get(error.code, "")
    if embedded and error.code in ("unreachable", "lost"):
        text, fix = text.removesuffix(f"; {error.fix}"), _STARTS_AGAIN
    if fix and fix not in text:
        text += f"; {fix}"
    if reason and fix:
        public += f"; {fix}"
    return Trouble(error.code or "unavailable", text, without_address(public, where))


_SLOW: Final = "see whether it runs, its load and its slow log"
_STARTS_AGAIN: Final = (
    "it is the embedded one and is started again by itself; where it does not come back, "
    "redis_not_started in the log says why"
)
_FIXES: Final = {"timeout": _SLOW, "stalled": _SLOW, "lost": "see whether it runs, and its log"}

_ADDRESSES: Final = (
    re.compile(r"\b(?:redis|rediss|unix)://\S+"),
    re.compile(r" ?\('[^']*', \d+[^)]*\)"),  # as Python shows the address of a socket
    re.compile(r"\[?(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}\]?(?::\d+)?"),
    re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"),
    re.compile(r"(?<!\w)/\S+\.sock\b"),
)


def without_address(text: str, where: str) -> str:
    """A text for everybody; `where` is the address of the store."""
    text = re.sub(r" at (?=\S*[\d/:])\S+", "", text)
    for known in filter(None, (where, where.rpartition(":")[0].strip("[]"))):
        text = re.sub(rf"(?<![\w.-]){re.escape(known)}(?![\w-])", "its address", text)
    for pattern in _ADDRESSES:
        text = pattern.sub("", text)
    return " ".join(text.split())


class StoreHealth:
    """The store's state as last seen. `reachable` is whether it answers at all."""

    def __init__(self, metrics: Metrics) -> None:
        self.reachable = True
        self.troubles: dict[What, Trouble] = {}
        self.notices: dict[str, str] = {}
        self._metrics = metrics
        metrics.store_answers(True)  # else a worker that has not looked yet reads as an outage

    @property
    def problem(self) -> str | None:
        """Why the store cannot be used, or None where it can."""
        found = self.troubles.get("store")
        return None if found is None else found.public

    @property
    def degraded(self) -> dict[str, str]:
        """What is wrong, for everybody."""
        return {what: self.troubles[what].public for what in WHAT if what in self.troubles}

    def note(self, what: What, found: Trouble | None, *, logs: bool = True) -> None:
        """Notes what the last look has shown; logs only a change."""
        before = self.troubles.pop(what, None)
        if found is not None:
            self.troubles[what] = found
        if logs and found is not None and (before is None or before.code != found.code):
            _log.error("degraded", what=what, code=found.code, problem=found.text)
        elif logs and found is None and before is not None:
            _log.info("restored", what=what)
        self._metrics.store.degraded(what, found is not None)
        if what == "store":
            self._metrics.store_answers(found is None)

    def notice(self, what: str, text: str | None) -> None:
        """Notes what an operator should know and need not fix."""
        others = {name: told for name, told in self.notices.items() if name != what}
        self.notices = others if text is None else {**others, what: text}

    def failed(self, error: StoreUnavailable, where: str = "", *, embedded: bool = False) -> None:
        """Notes that a call failed: the store did not answer, or refused it."""
        self.reachable = error.code in STATES
        self.note("store", trouble_of(error, where, embedded=embedded))

    def adopt(self, troubles: Mapping[What, Trouble], notices: Mapping[str, str]) -> None:
        """Takes over what another worker of this server has seen, and logged."""
        for what in WHAT:
            self.note(what, troubles.get(what), logs=False)
        self.notices = dict(notices)


WHAT: Final[tuple[What, ...]] = get_args(What)
