"""The Lua scripts, by the hash under which Redis caches them.

Redis forgets its cache when it restarts or fails over; `NOSCRIPT` says that nothing was run, so the
text is sent then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

from decision.store.pipelined_connection import Argument, Command
from decision.store.refusals import Refused

Call = Callable[[Command], Awaitable[Any]]


class Script:
    """One file of the folder `lua`; its first comment says what goes in and comes out, in units."""

    __slots__ = ("digest", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.digest = sha1(text, usedforsecurity=False).hexdigest()

    async def run(self, call: Call, keys: Sequence[str], arguments: Sequence[Argument] = ()) -> Any:
        """Runs it over `call`, a function that sends one command."""
        try:
            return await call(("EVALSHA", self.digest, len(keys), *keys, *arguments))
        except Refused as error:
            if error.code != "NOSCRIPT":
                raise
        return await call(("EVAL", self.text, len(keys), *keys, *arguments))


SCRIPTS: Final = {
    path.name.removesuffix(".lua"): Script(path.read_bytes())
    for path in sorted((files("decision.store") / "lua").iterdir(), key=lambda path: path.name)
}
"""Every script by the name of its file."""
