"""Follows the keys file: what it says goes into force, and where it says nothing, no key is valid.

A change is taken when two looks, a second apart, find the same bytes. So an editor that removes or
empties a file before it writes it takes nobody's key; and a key is revoked within three seconds, on
each worker for itself. Bytes are compared and not times, which may be the same after a change.

- A file without keys, and one that is gone, revoke all keys.
- A file that cannot be used (it cannot be read, is not YAML, has a wrong entry) leaves the keys in
  force for `GRACE` seconds, and says so; then no key is valid until it is repaired.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from decision.engine.worker import uncollected
from decision.observability import get_logger
from decision.server.aside import Aside, Unanswered
from decision.server.health.state import Trouble
from decision.server.keys.entries import ApiKey, digest, parse_keys, read_keys
from decision.server.metrics import Metrics
from decision.server.settings import SettingsError
from decision.server.watching import Watch, fingerprint

GRACE: Final = 300.0
"""Seconds for which the keys in force outlive a file that cannot be used."""

EXPIRES_SOON: Final = 14 * 24 * 3600.0
"""Seconds before its end at which a key is named in the log."""

_READ_WITHIN: Final = 5.0
_PARSED_WITHIN: Final = 60.0
_LOOKS_AT_EXPIRY: Final = 3600.0
_MOST_NAMED: Final = 20
_MAKE: Final = "make keys with nextbest key create"

_log = get_logger()


class KeysFile:
    """The keys file, or none. `use` puts keys in force.

    `trouble` says why the file cannot be used, or why no key is valid. Its `public` has no path and
    no content: it may be shown to anybody.
    """

    def __init__(
        self,
        path: str | None,
        use: Callable[[list[ApiKey]], None],
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trouble: Trouble | None = None
        self._path = path
        self._use = use
        self._metrics = metrics
        self._clock = clock
        self._aside = Aside("the keys file")
        self._watch = Watch()
        self._known = ""
        self._broken_since: float | None = None
        self._since = time.time()
        self._why: tuple[str, str] | None = None  # for the log, and for everybody
        self._expiry_seen = 0.0
        self._warned: set[tuple[str, str]] = set()
        self._keys: list[ApiKey] = []
        if path is not None:
            self._start(path)

    @property
    def problem(self) -> str | None:
        """What is wrong, for everybody."""
        return None if self.trouble is None else self.trouble.public

    @property
    def keys(self) -> list[ApiKey]:
        """The keys in force, expired ones included."""
        return list(self._keys)

    def _start(self, path: str) -> None:
        """The first look, before anything is served: it waits for no second one."""
        try:
            data, self._known = _seen(path)
            self._take(None if data is None else parse_keys(path, data))
        except SettingsError as error:
            # Closed, and not ended: health is still answered, and the file may be repaired.
            self._put([])
            self._metrics.keys_refused_since(time.time())
            self._broken_since = self._clock() - GRACE
            self._refuse(error)
        self._judge()

    async def look(self) -> None:
        """Puts in force what the file has come to say."""
        if self._path is None:
            return
        data: bytes | None = None
        broken: SettingsError | None = None
        try:
            data, seen = await self._aside.run(partial(_seen, self._path), _READ_WITHIN)
        except (SettingsError, Unanswered) as error:
            broken = _explained(error)
            seen = fingerprint(str(error))
        if self._watch.settled(seen, self._known):
            self._known = seen
            try:
                if broken is not None:
                    raise broken
                self._take(await self._parsed(data))
            except (SettingsError, Unanswered) as error:
                self._refuse(_explained(error))
        self._judge()
        self._tell_expiry()

    async def _parsed(self, data: bytes | None) -> list[ApiKey] | None:
        """Some seconds of pure Python for thousands of keys, beside the requests."""
        if data is None or self._path is None:
            return None
        with uncollected():
            return await self._aside.run(partial(parse_keys, self._path, data), _PARSED_WITHIN)

    def _take(self, keys: list[ApiKey] | None) -> None:
        self._broken_since, self._since = None, time.time()
        self._metrics.keys_refused_since(None)
        before = {key.name for key in self._keys}
        now = {key.name for key in keys or ()}
        self._put(keys or [])
        if keys:
            added, removed = sorted(now - before), sorted(before - now)
            _log.info(
                "keys_in_force",
                keys=len(keys),
                added=added[:_MOST_NAMED],
                removed=removed[:_MOST_NAMED],
            )
        else:
            what = "is gone; put it back, or" if keys is None else "has no keys;"
            text = f"the keys file {self._path} {what} {_MAKE}"
            self._why = (text, f"the keys file {what} {_MAKE}")
            _log.warning("keys_revoked", problem=f"{text}: every call that needs a key is refused")
        self._tell_expiry(again=True)

    def _put(self, keys: list[ApiKey]) -> None:
        self._keys = keys
        self._use(keys)
        self._metrics.keys_in_force(keys)

    def _refuse(self, error: SettingsError) -> None:
        """Keeps what is in force, for a time; the time of the first refusal counts."""
        if self._broken_since is None:
            self._broken_since, self._since = self._clock(), time.time()
            self._metrics.keys_refused_since(self._since)
        left = max(0.0, self._broken_since + GRACE - self._clock())
        self._why = (str(error), f"the keys file cannot be used: {error.reason}")
        _log.error("keys_refused", problem=str(error), keys_hold_seconds=round(left))

    def _judge(self) -> None:
        """Says what is wrong, if anything is; ends the time for which earlier keys hold."""
        broken = self._broken_since
        if broken is not None and self._clock() >= broken + GRACE and self._keys:
            self._put([])
            self._since = time.time()
            text = "the keys file cannot be used, and no key is valid until it is repaired"
            _log.error("keys_revoked", problem=text)
        self.trouble = self._trouble()
        self._metrics.store.degraded("keys", self.trouble is not None)

    def _trouble(self) -> Trouble | None:
        """The time is in each text: who reads it later knows how long it has been so."""
        since = _shown(self._since)
        if self._broken_since is None and self._keys:
            if any(
                key.expires is None or key.expires.timestamp() > time.time() for key in self._keys
            ):
                return None
            text = f"no key is valid: every key of the keys file has expired; {_MAKE}"
            return Trouble("expired", text, text)
        code, told = "none", f"no key is valid since {since}"
        if self._broken_since is not None and self._keys:
            until = _shown(self._since + GRACE)
            code, told = "refused", f"since {since}; the keys from before hold until {until}"
        text, public = self._why or ("", "")
        fix = "; repair it" if self._broken_since is not None else ""
        return Trouble(code, f"{text}; {told}{fix}", f"{public}; {told}{fix}")

    def _tell_expiry(self, *, again: bool = False) -> None:
        """Names keys that end soon, or have ended: once each."""
        now = self._clock()
        if not again and now < self._expiry_seen + _LOOKS_AT_EXPIRY:
            return
        self._expiry_seen = now
        for key in self._keys:
            if key.expires is None:
                continue
            left = key.expires.timestamp() - time.time()
            event = "key_expired" if left <= 0 else "key_expires_soon"
            if left < EXPIRES_SOON and (key.sha256, event) not in self._warned:
                self._warned.add((key.sha256, event))
                _log.warning(event, key=key.name, expires=key.expires.isoformat())


def _seen(path: str) -> tuple[bytes | None, str]:
    """The bytes of the file, None where it is gone, and what tells them from others."""
    data = read_keys(path)
    return data, "gone" if data is None else digest(data)


def _shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _explained(error: SettingsError | Unanswered) -> SettingsError:
    """An error with a reason that may be shown to anybody."""
    if isinstance(error, SettingsError) and error.reason:
        return error
    return SettingsError(str(error), reason=f"it was not read within {_READ_WITHIN:g} s")
