"""Sessions in the store: under the hash of a cookie, with the hash of the key that began them."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Final

import msgspec

from decision.console.visitors import SESSION_COOKIE
from decision.core.clock import DAY, HOUR, MINUTE
from decision.core.kept_sessions import SessionStore
from decision.engine.runtime import Runtime
from decision.redaction import redacted
from decision.server.keys.entries import digest
from decision.server.opening import HOME
from decision.server.settings import ServerSettings

LASTS: Final = 12 * HOUR
"""How long a session lasts after it was used last, in microseconds."""

LASTS_AT_MOST: Final = 7 * DAY
"""How long a session lasts at most."""

_RENEWED: Final = 5 * MINUTE
_MOST_KNOWN: Final = 10_000


class Session(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the store keeps of a session. `key` is the SHA-256 of the key that began it."""

    key: str
    began: int


def cookie_name(settings: ServerSettings) -> str:
    """The name of the cookie of sessions: the same for all servers on one store, whatever port a
    proxy in front of them has; another one for another store.

    >>> cookie_name(ServerSettings(redis_url="redis://app:secret@cache:6379/0"))
    'nextbest_session_f761821e'
    """
    place = str((Path.cwd() / HOME).resolve()) if settings.redis_url is None else settings.redis_url
    told = f"{redacted(place)}\0{settings.key_prefix}"
    return SESSION_COOKIE + hashlib.blake2b(told.encode(), digest_size=4).hexdigest()


class Sessions:
    """The sessions of this server, which all its workers and others share.

    `cookie` is the name of the cookie that has one.
    """

    def __init__(self, runtime: Runtime, cookie: str) -> None:
        self.cookie = cookie
        self._store: SessionStore = runtime.store
        self._clock = runtime.clock
        self._renewed: dict[str, int] = {}

    async def begin(self, key: str) -> str:
        """Begins a session for a key, by its hash; returns the cookie.

        Raises:
            StoreUnavailable: it is not begun.
        """
        cookie = secrets.token_urlsafe(32)
        session = Session(key, self._clock())
        data = msgspec.msgpack.encode(session)
        await self._store.put_session(digest(cookie.encode()), data, LASTS)
        return cookie

    async def find(self, cookie: str) -> tuple[str, Session] | None:
        """The session of a cookie, with its name in the store; it lasts longer from now on.

        Raises:
            StoreUnavailable: it does not answer.
        """
        if len(cookie) != 43:
            return None
        name, now = digest(cookie.encode()), self._clock()
        data = await self._store.get_session(name)
        if data is None:
            return None
        try:
            session = msgspec.msgpack.decode(data, type=Session)
        except (msgspec.DecodeError, ValueError):  # written by another version, or by somebody else
            return None
        left = session.began + LASTS_AT_MOST - now
        if left <= 0:
            return None
        if self._renewed.get(name, session.began) + _RENEWED <= now:
            if len(self._renewed) >= _MOST_KNOWN:
                self._renewed.clear()
            self._renewed[name] = now
            await self._store.keep_session(name, min(LASTS, left))
        return name, session

    async def end(self, name: str) -> None:
        """Ends a session.

        Raises:
            StoreUnavailable: it goes on.
        """
        await self._store.end_session(name)
