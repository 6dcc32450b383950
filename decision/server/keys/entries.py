"""API keys: random, kept as SHA-256, with scopes, and until a time.

A key is 256 random bits, so a fast hash is enough: it cannot be guessed. The file holds
hashes, never keys. `file` follows it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta

from decision.files import access_hint, read_regular
from decision.server.settings import SettingsError

KeyScope = Literal[
    "decide", "events", "customers", "admin", "customers.read", "reports",
    "view", "edit", "publish", "operate",
]  # fmt: skip
SCOPES: Final[tuple[KeyScope, ...]] = get_args(KeyScope)

LARGEST_FILE: Final = 8 * 1024 * 1024
"""Bytes of a keys file; an entry has about 130."""

_MARK = "nbk_"
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_RATES = "write it as 100/second, 1000/minute or 5000/hour"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class ApiKey(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """An entry of the keys file. From `expires` on the key is refused; None: never.

    `rate` is how often its holder may call: `100/second`.
    """

    name: Annotated[str, Meta(min_length=1)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    scopes: Annotated[list[KeyScope], Meta(min_length=1)]
    expires: Annotated[datetime, Meta(tz=True)] | None = None
    rate: str | None = None


def make_key(
    name: str,
    scopes: Sequence[str],
    expires: datetime | None = None,
    rate: str | None = None,
) -> tuple[str, ApiKey]:
    """A new secret, and the entry for the keys file; the secret is in neither file nor log.

    Raises:
        ValueError: there is no such scope, none was given, or the rate is none.
    """
    if rate is not None and not is_rate(rate):
        raise ValueError(f"the rate is {rate!r}; {_RATES}")
    secret = _MARK + secrets.token_urlsafe(32)
    entry = {"name": name, "sha256": digest(secret.encode()), "scopes": list(scopes)}
    try:
        return secret, msgspec.convert({**entry, "expires": expires, "rate": rate}, ApiKey)
    except msgspec.ValidationError:
        raise ValueError(
            f"a key needs a name and scopes out of {', '.join(SCOPES)}; "
            f"given were {name!r} and {', '.join(scopes) or 'none'}"
        ) from None


def load_keys(path: str | Path) -> list[ApiKey]:
    """The entries of a keys file, YAML or JSON; at least one.

    Raises:
        SettingsError: the file cannot be read, is not a list of keys, or has none.
    """
    data = read_keys(path)
    keys = [] if data is None else parse_keys(path, data)
    if data is None or not data.strip():
        reason = "cannot be read: No such file" if data is None else "is empty: not a list of keys"
        raise SettingsError(f"the keys file {path} {reason}; make one with nextbest key create")
    if not keys:
        raise SettingsError(f"the keys file {path} has no keys; make one with nextbest key create")
    return keys


def read_keys(path: str | Path) -> bytes | None:
    """The bytes of a keys file, or None where there is none.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        return read_regular(path, LARGEST_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        reason = f"it cannot be read: {why.removeprefix('it is ')}"
        if isinstance(error, PermissionError):
            why += access_hint(Path(path)) + " (it holds hashes, no secrets)"
        raise SettingsError(f"the keys file {path} cannot be read: {why}", reason=reason) from None


def parse_keys(path: str | Path, data: bytes) -> list[ApiKey]:
    """The entries in the bytes of a keys file; none where it is empty.

    Raises:
        SettingsError: it is not a list of keys.
    """
    try:
        keys = msgspec.convert(_entries(path, data), list[ApiKey])
    except msgspec.ValidationError as error:
        raise SettingsError(
            f"the keys file {path} is not a list of keys with name, sha256, scopes "
            f"({', '.join(SCOPES)}) and perhaps expires: {str(error).replace('`', '')}",
            reason="it is not a list of keys",
        ) from None
    for what, fix in (("name", "rename one"), ("sha256", "delete one")):
        seen: set[str] = set()
        for key in keys:
            value = getattr(key, what)
            if value in seen:
                raise SettingsError(
                    f"the keys file {path} has the {what} {value!r} twice; {fix}",
                    reason=f"it has a {what} twice",
                )
            seen.add(value)
    for key in keys:
        if key.rate is not None and not is_rate(key.rate):
            raise SettingsError(
                f"the keys file {path}: the rate of {key.name!r} is {key.rate!r}; {_RATES}",
                reason="a rate in it is not one",
            )
    return keys


def is_rate(text: str) -> bool:
    """Whether a text says how often something may happen."""
    from limits import parse_many

    try:
        items = parse_many(text)
    except ValueError:
        return False
    return bool(items) and all(item.amount >= 1 for item in items)


def digest(secret: bytes) -> str:
    """The hash under which a key is kept."""
    return hashlib.sha256(secret).hexdigest()


def as_expiry(text: str) -> str:
    """A time as it is; a date as its first moment, UTC."""
    return f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text


def _entries(path: str | Path, data: bytes) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import SafeConstructor
    from ruamel.yaml.error import YAMLError

    class Constructor(SafeConstructor):
        """Leaves times as they are written: ruamel.yaml would drop their offset."""

    Constructor.add_constructor(_TIMESTAMP, SafeConstructor.construct_yaml_str)
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = Constructor
    try:
        found = yaml.load(data.decode())
    except UnicodeDecodeError:
        raise SettingsError(
            f"the keys file {path} cannot be read: it is not UTF-8", reason="it is not UTF-8"
        ) from None
    except (YAMLError, RecursionError, ValueError) as error:
        place = getattr(error, "problem_mark", None)
        line = f":{place.line + 1}" if place else ""
        raise SettingsError(
            f"the keys file {path}{line} is not YAML", reason="it is not YAML"
        ) from None
    if not isinstance(found, list):
        return [] if found is None else found
    for entry in found:
        if isinstance(entry, dict) and isinstance(entry.get("expires"), str):
            entry["expires"] = as_expiry(entry["expires"])
    return found
