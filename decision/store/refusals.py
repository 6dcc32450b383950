"""What Redis says when it refuses a command, and what to do about it."""

from __future__ import annotations

import re
from typing import Final

from decision.core.errors import StoreUnavailable

_PASSWORD: Final = "put the right user and password into NEXTBEST_REDIS_URL"
_CLUSTER: Final = "it is a cluster: write redis+cluster://host:port in NEXTBEST_REDIS_URL"
_REPLICA: Final = "it is a replica: point NEXTBEST_REDIS_URL at the primary"

_FIXES: Final = {
    "NOAUTH": "put the user and password into NEXTBEST_REDIS_URL",
    "WRONGPASS": _PASSWORD,
    "NOPERM": "allow its user all keys under the prefix, and the commands that nextbest uses",
    "DENIED": "set a password in Redis and put it into NEXTBEST_REDIS_URL",
    "READONLY": _REPLICA,
    "MASTERDOWN": _REPLICA,
    "NOREPLICAS": "start its replicas, or lower min-replicas-to-write",
    "LOADING": "it is reading its data: wait",
    "BUSY": "a script runs for too long: wait, or send SCRIPT KILL",
    "UNKILLABLE": "a script that has written runs for too long: wait",
    "MISCONF": "it cannot write to its disk: free some space, see its log",
    "OOM": "it is full: see that nextbest archive runs and takes the log, or give it more memory",
    "MAXCLIENTS": "it has too many clients: raise maxclients, or stop some of them",
    "FORMAT": "upgrade nextbest",
    "WRONGTYPE": "another program writes under the prefix: give nextbest a prefix of its own",
    "VERSION": "use Redis 6.2 or newer",
    "UNKNOWN": "nextbest needs this command: do not rename or forbid it",
    "NODATABASE": "name a database that it has in NEXTBEST_REDIS_URL",
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "CLUSTERDOWN": "see redis-cli --cluster check: start the nodes that are down, or fix the slots",
    "CROSSSLOT": _CLUSTER,
    "TRYAGAIN": "its slot is being moved to another node: wait until that is done",
}

CODES: Final = (*_FIXES, "EXECABORT", "NOSCRIPT", "LOST", "ERR")
"""Every code of `Refused`; what is not listed is `ERR`."""

WRONG_SERVER: Final = frozenset(
    {"READONLY", "MASTERDOWN", "NOREPLICAS", "NOAUTH", "MOVED", "ASK", "CLUSTERDOWN"}
)
"""What is a reason to connect again, because the address may lead to another server by now.

A replica (`READONLY`, `MASTERDOWN`) is a primary that was demoted; `NOREPLICAS` comes from one that
was cut off, and may have been replaced. A missing login or a cluster was not there when the
connection was made, so another server answers. `LOADING`, `BUSY`, `MISCONF`, `OOM` and `NOPERM`
come from the right server in trouble: another connection would change nothing.
"""

_CODES: Final = frozenset(CODES)
_UNNAMED: Final = (
    ("max number of clients reached", "MAXCLIENTS"),
    ("without any password configured", "WRONGPASS"),
    ("invalid password", "WRONGPASS"),
    ("can't run this command", "NOPERM"),
    ("can't access at least one of the keys", "NOPERM"),
    ("unknown command", "UNKNOWN"),
    ("DB index is out of range", "NODATABASE"),
)
"""Errors that Redis calls `ERR`, by what their text holds."""

_ARGUMENTS: Final = re.compile(r",? with args beginning with:.*", re.DOTALL)
"""What an error must not repeat: arguments may be a password or a customer's."""

_IN_SCRIPT_6: Final = re.compile(r"^ERR Error running script \(call to \w+\): (@?\w+: ?\d+: )+-?")
_COMMAND: Final = re.compile(r"run the '([\w|.-]+)' command")

_IN_SCRIPT_7: Final = re.compile(r" script: [0-9a-f]{40}, on @\w+:\d+\.$")


class Refused(StoreUnavailable):
    """Redis answered a command with an error; `code` is one of `CODES`.

    `asked` is the command and the kinds of its keys, without anybody's id.

    What an error inside a script says is found below the words that Redis puts around it.
    """

    def __init__(self, where: str, error: Exception | str, asked: str = "") -> None:
        said = _unwrapped(_ARGUMENTS.sub("", str(error)))
        code, reason = _parse(said)
        fix = _rights(reason) if code == "NOPERM" else _FIXES.get(code, "")
        message = f"Redis at {where} answered: {said.rstrip('.')}{'; ' + fix if fix else ''}"
        super().__init__(message, code=code, reason=reason, fix=fix)
        self.asked = asked


def _unwrapped(text: str) -> str:
    """What was said inside a script, without the words that Redis puts around it."""
    return _IN_SCRIPT_7.sub("", _IN_SCRIPT_6.sub("", text))


def _rights(reason: str) -> str:
    """The right that a user needs, where Redis names the command, or says that it is a key."""
    if found := _COMMAND.search(reason):
        return f"give its user +{found[1].lower()}"
    if "key" in reason.lower():
        return "give its user all keys under NEXTBEST_KEY_PREFIX, as ~nb:*"
    return _FIXES["NOPERM"]


def _parse(text: str) -> tuple[str, str]:
    """The code of an error reply, and what it says without it."""
    code, _, reason = text.partition(" ")
    for words, unnamed in _UNNAMED:
        if words in text and code not in _FIXES:
            return unnamed, text.removeprefix("ERR ")
    return (code, reason) if code in _CODES else ("ERR", text)
