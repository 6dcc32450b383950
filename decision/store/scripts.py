"""The Lua scripts, by the hash under which Redis caches them.

Redis forgets its cache when it restarts or fails over; `NOSCRIPT` says that nothing was run, so the
text is sent then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

from decision.store.wire import Command, Refused

Call = Callable[[Command], Awaitable[Any]]


class Script:
    """One script of the folder `lua`; its first comment says what goes in and comes out."""

    __slots__ = ("digest", "text")

    def __init__(self, name: str) -> None:
        self.text = (files("decision.store") / "lua" / f"{name}.lua").read_bytes()
        self.digest = sha1(self.text, usedforsecurity=False).hexdigest()

    async def run(
        self, call: Call, keys: Sequence[str], arguments: Sequence[str | bytes | int] = ()
    ) -> Any:
        """Runs it over `call`, a function that sends one command."""
        try:
            return await call(("EVALSHA", self.digest, len(keys), *keys, *arguments))
        except Refused as error:
            if error.code != "NOSCRIPT":
                raise
        return await call(("EVAL", self.text, len(keys), *keys, *arguments))


COMMIT: Final = Script("commit")
ERASE: Final = Script("erase")
TAKE_BUDGETS: Final = Script("take_budgets")
RETURN_BUDGETS: Final = Script("return_budgets")
SET_ALIAS: Final = Script("set_alias")
DELETE_ALIAS: Final = Script("delete_alias")
APPEND: Final = Script("append")
FIND_RECORD: Final = Script("find_record")
ADVANCE_LOG: Final = Script("advance_log")

ALL: Final = (
    COMMIT,
    ERASE,
    TAKE_BUDGETS,
    RETURN_BUDGETS,
    SET_ALIAS,
    DELETE_ALIAS,
    APPEND,
    FIND_RECORD,
    ADVANCE_LOG,
)
