"""The store of a shop whose time is told: real Redis, real scripts, and a clock that is handed in.

Leases, timers and kept answers go by Redis' own clock, which nobody can hurry. So whatever would
ask it for the time is told the shop's instead: the command `TIME` is answered here, and each script
is sent with a first line that takes the time from its last argument. What Redis forgets by itself
(`PEXPIRE`) still goes by the machine's clock: in the shop's time it stays for longer, and is not
believed any more, because whatever is compared with a time is compared with the shop's.

No setting leads here: the demo alone makes such a store, and the import rules hold that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from decision.core.clock import SECOND
from decision.core.ports import Commit, Committed, Conflict
from decision.core.timers import ClaimedWake, Wake
from decision.store.connection import SharedConnection
from decision.store.pipelined_connection import Command
from decision.store.redis_store import RedisStore
from decision.store.scripts import SCRIPTS, Script

_FIRST_LINE: Final = b"""\
local told, plain = table.remove(ARGV), redis; \
local redis = setmetatable({call = function(what, ...) \
if what == 'TIME' then return {string.sub(told, 1, -7), string.sub(told, -6)} end \
return plain.call(what, ...) end}, {__index = plain}); """

_BY_THE_MACHINE: Final = frozenset({"look_at_log"})
"""Entries of the log have the machine's time in their ids."""

_SCRIPTS: Final = {
    name: Script(_FIRST_LINE + script.text)
    for name, script in SCRIPTS.items()
    if name not in _BY_THE_MACHINE
}
_DIGESTS: Final = {SCRIPTS[name].digest: script.digest for name, script in _SCRIPTS.items()}
_TEXTS: Final = {SCRIPTS[name].text: script.text for name, script in _SCRIPTS.items()}


class Told(Protocol):
    """Is told what the store does."""

    def wrote(self, commit: Commit) -> None:
        """A write was made."""

    def waked(self, customer_id: str, at: int | None) -> None:
        """A customer's timer was set, or taken away: `at` is None."""


class HurriedStore(RedisStore):
    """`clock` gives the shop's time in microseconds; `told` is told of what was done."""

    told: Told | None = None

    def __init__(
        self,
        url: str,
        clock: Callable[[], int],
        *,
        prefix: str = "nb:",
        timeout: float = 10.0,
    ) -> None:
        super().__init__(url, prefix=prefix, timeout=timeout)
        self.connection = _HurriedConnection(url, clock, self._on_connect)
        self._time = lambda: clock() / SECOND

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Committed | Conflict:
        self.connection.node("").clock_ahead = None  # it was so far ahead before the clock was set
        result = await super().commit(commit, timeout=timeout)
        if isinstance(result, Committed) and self.told is not None:
            if commit.wake is not None:
                self.told.waked(commit.customer_id, commit.wake.at)
            self.told.wrote(commit)
        return result

    async def rearm(self, claimed: ClaimedWake, wake: Wake) -> bool:
        if self.told is not None:
            self.told.waked(claimed.customer_id, wake.at)
        return await super().rearm(claimed, wake)

    async def arm(self, wakes: Mapping[str, int]) -> None:
        await super().arm(wakes)
        if self.told is not None:
            for customer_id, at in wakes.items():
                self.told.waked(customer_id, at)


class _HurriedConnection(SharedConnection):
    def __init__(self, url: str, clock: Callable[[], int], on_connect: Any) -> None:
        super().__init__(url, on_connect=on_connect)
        self._shops = clock

    async def call(
        self, command: Command, timeout: float, *, write: bool = False, through_outage: bool = False
    ) -> Any:
        if command[0] == "TIME":
            return divmod(self._shops(), SECOND)
        return await super().call(
            self._timed(command), timeout, write=write, through_outage=through_outage
        )

    async def pipeline(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        now = divmod(self._shops(), SECOND)
        replies = await super().pipeline([self._timed(one) for one in commands], timeout)
        return [
            now if command[0] == "TIME" else reply
            for command, reply in zip(commands, replies, strict=True)
        ]

    def _timed(self, command: Command) -> Command:
        """The command with the time, where it runs a script."""
        match command:
            case ("EVALSHA", str(digest), *rest) if digest in _DIGESTS:
                return ("EVALSHA", _DIGESTS[digest], *rest, self._shops())
            case ("EVAL", bytes(text), *rest) if text in _TEXTS:
                return ("EVAL", _TEXTS[text], *rest, self._shops())
        return command
