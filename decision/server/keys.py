"""API keys: random, kept as SHA-256, with scopes; their file is read again when it changes.

A key is 256 random bits, so a fast hash is enough: it cannot be guessed. The file holds
hashes, never keys.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta

from decision.files import access_hint
from decision.observability import get_logger
from decision.server.settings import SettingsError

KeyScope = Literal["decide", "events", "customers", "admin"]
SCOPES: Final[tuple[KeyScope, ...]] = get_args(KeyScope)
_MARK = "nbk_"

_log = get_logger()


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An entry of the keys file."""

    name: Annotated[str, Meta(min_length=1)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    scopes: Annotated[list[KeyScope], Meta(min_length=1)]


def make_key(name: str, scopes: Sequence[str]) -> tuple[str, ApiKey]:
    """A new secret, and the entry for the keys file; the secret is in neither file nor log.

    Raises:
        ValueError: there is no such scope, or none was given.
    """
    secret = _MARK + secrets.token_urlsafe(32)
    entry = {"name": name, "sha256": digest(secret.encode()), "scopes": list(scopes)}
    try:
        return secret, msgspec.convert(entry, ApiKey)
    except msgspec.ValidationError:
        raise ValueError(
            f"a key needs a name and scopes out of {', '.join(SCOPES)}; "
            f"given were {name!r} and {', '.join(scopes) or 'none'}"
        ) from None


def load_keys(path: str | Path) -> list[ApiKey]:
    """The entries of a keys file, YAML or JSON.

    Raises:
        SettingsError: the file cannot be read or is not a list of keys.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        data: Any = YAML(typ="safe", pure=True).load(Path(path).read_text("utf-8"))
        keys = msgspec.convert(data, list[ApiKey])
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, PermissionError):
            reason += access_hint(Path(path)) + " (it holds hashes, no secrets)"
        raise SettingsError(f"the keys file {path} cannot be read: {reason}") from None
    except YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f":{place.line + 1}" if place else ""
        raise SettingsError(f"the keys file {path}{line} is not YAML") from None
    except msgspec.ValidationError as error:
        raise SettingsError(
            f"the keys file {path} is not a list of keys with name, sha256 and scopes "
            f"({', '.join(SCOPES)}): {str(error).replace('`', '')}"
        ) from None
    if not keys:
        raise SettingsError(f"the keys file {path} has no keys; make one with nextbest key create")
    names = [key.name for key in keys]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"the keys file {path} has the name {name!r} twice; rename one")
    return keys


class KeysFile:
    """The keys file, or none. Keys in force stay where it cannot be read."""

    def __init__(self, path: str | None, use: Callable[[list[ApiKey]], None]) -> None:
        self._path = path
        self._use = use
        self._changed = self._time()

    def refresh(self) -> None:
        """Puts the file's keys in force if it has changed."""
        changed = self._time()
        if self._path is None or changed is None or changed == self._changed:
            return
        self._changed = changed
        try:
            keys = load_keys(self._path)
        except SettingsError as error:
            _log.error("keys_refused", problem=str(error))
            return
        self._use(keys)
        _log.info("keys_in_force", keys=len(keys))

    def _time(self) -> float | None:
        try:
            return None if self._path is None else Path(self._path).stat().st_mtime
        except OSError:
            return None


def digest(secret: bytes) -> str:
    """The hash under which a key is kept."""
    return hashlib.sha256(secret).hexdigest()
