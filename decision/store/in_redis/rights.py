"""The rights that a Redis user needs: each by its name in `ACL SETUSER`, with a harmless trial."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from decision.store.pipelined_connection import Argument, Command

KEY: Final = "<key>"

_TRIALS: Final[dict[str, tuple[Argument, ...]]] = {
    # Strings, hashes, lists, sorted sets. What some of them write, the last two remove.
    "get": ("GET", KEY),
    "mget": ("MGET", KEY),
    "set": ("SET", KEY, "", "XX", "PX", 1),
    "incr": ("INCR", KEY),
    "incrby": ("INCRBY", KEY, "no number"),
    "rename": ("RENAME", KEY, KEY),
    "exists": ("EXISTS", KEY),
    "type": ("TYPE", KEY),
    "pttl": ("PTTL", KEY),
    "hget": ("HGET", KEY, "f"),
    "hset": ("HSET", KEY, "f", "v", "odd"),
    "hdel": ("HDEL", KEY, "f"),
    "hincrby": ("HINCRBY", KEY, "f", "no number"),
    "hlen": ("HLEN", KEY),
    "hgetall": ("HGETALL", KEY),
    "llen": ("LLEN", KEY),
    "lrange": ("LRANGE", KEY, 0, 0),
    "ltrim": ("LTRIM", KEY, 0, 0),
    "lrem": ("LREM", KEY, 0, "v"),
    "rpush": ("RPUSH", KEY, "v"),
    "zcard": ("ZCARD", KEY),
    "zadd": ("ZADD", KEY, "no number", "m"),
    "zrange": ("ZRANGE", KEY, 0, 0),
    "zrangebyscore": ("ZRANGEBYSCORE", KEY, 0, 0),
    "zrem": ("ZREM", KEY, "m"),
    "zremrangebyscore": ("ZREMRANGEBYSCORE", KEY, 0, 0),
    "zmscore": ("ZMSCORE", KEY, "m"),
    # The log.
    "xadd": ("XADD", KEY, "NOMKSTREAM", "*", "f", "v"),
    "xdel": ("XDEL", KEY, "0-1"),
    "xlen": ("XLEN", KEY),
    "xrange": ("XRANGE", KEY, "-", "+", "COUNT", 1),
    "xrevrange": ("XREVRANGE", KEY, "+", "-", "COUNT", 1),
    "xsetid": ("XSETID", KEY, "0-1"),
    "xtrim": ("XTRIM", KEY, "MAXLEN", 0),
    "xgroup|create": ("XGROUP", "CREATE", KEY, "g", "0"),
    "xgroup|setid": ("XGROUP", "SETID", KEY, "g", "0"),
    "xgroup|destroy": ("XGROUP", "DESTROY", KEY, "g"),
    "xinfo|groups": ("XINFO", "GROUPS", KEY),
    "xinfo|stream": ("XINFO", "STREAM", KEY),
    "memory|usage": ("MEMORY", "USAGE", KEY),
    # The server, scripts, the connection.
    "eval": ("EVAL", "return 1", 0),
    "evalsha": ("EVALSHA", "0" * 40, 0),
    "script|load": ("SCRIPT", "LOAD", "return 1"),
    "scan": ("SCAN", 0, "COUNT", 1),
    "time": ("TIME",),
    "info": ("INFO", "server"),
    "client|id": ("CLIENT", "ID"),
    "client|kill": ("CLIENT", "KILL", "ID", 9_223_372_036_854_775_807),
    "select": ("SELECT", "no number"),
    # At the end.
    "pexpire": ("PEXPIRE", KEY, 1),
    "del": ("DEL", KEY),
}

UNTRIED: Final = ("bgrewriteaof",)
"""What cannot be tried without being done, and what a managed Redis may refuse."""

OF_NODES: Final = ("cluster|slots", "cluster|info", "cluster|nodes", "asking", "wait")
"""What is needed of the nodes of a cluster, and to wait for replicas; docs/operating.md has it."""

OF_BACKUPS: Final = ("hscan", "zscan")
"""What a backup needs where a key has more than 100,000 elements; docs/operating.md has it."""

RIGHTS: Final = tuple(_TRIALS)
"""Every other command that nextbest sends or runs in a script."""


def trials(key: str) -> Iterator[tuple[str, Command]]:
    """Each right, and a command that needs it and changes nothing but a key of no use."""
    for right, command in _TRIALS.items():
        yield right, tuple(key if part is KEY else part for part in command)


def acl_line(user: str, prefix: str) -> str:
    """The command that makes a user with these rights and no others."""
    rights = " ".join(f"+{right}" for right in (*RIGHTS, *UNTRIED))
    return f"ACL SETUSER {user} reset on >PASSWORD ~{prefix}* {rights}"
