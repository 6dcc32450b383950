"""Changes of a keys file by commands: one entry more or less, and the rest as it was."""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from decision.core.errors import NotFound
from decision.files import sync_folder
from decision.server.keys.entries import ApiKey, load_keys, parse_keys, read_keys
from decision.server.settings import SettingsError


def as_yaml(entry: ApiKey) -> str:
    """The entry as an item of a YAML list."""
    name = msgspec.json.encode(entry.name).decode()
    lines = [
        f"- name: {name}",
        f"  sha256: {entry.sha256}",
        f"  scopes: [{', '.join(entry.scopes)}]",
    ]
    if entry.expires is not None:
        lines.append(f"  expires: {entry.expires.isoformat()}")
    if entry.rate is not None:
        lines.append(f"  rate: {msgspec.json.encode(entry.rate).decode()}")
    return "\n".join(lines) + "\n"


def add_key(path: Path, entry: ApiKey) -> None:
    """Adds an entry to a keys file, readable by its owner alone where it is new.

    Raises:
        SettingsError: it is not a keys file, or has a key of that name.
        OSError: it cannot be written.
    """
    with _alone(path):
        data = read_keys(path) or b""
        keys, text = parse_keys(path, data), data.decode()
        if any(known.name == entry.name for known in keys):
            raise SettingsError(
                f"{path} has a key {entry.name} already; revoke it, or choose a new name"
            )
        if keys and _is_flow(path, text):
            _replace(path, _as_json([*keys, entry]))
            return
        if not keys:  # what is left of it are comments, or an empty list
            text = "".join(line for line in _lines(text) if line.lstrip().startswith("#"))
        if text and not text.endswith("\n"):
            text += "\n"
        _replace(path, text + as_yaml(entry))


def remove_key(path: Path, name: str) -> int:
    """Takes the entry of that name out of a keys file; how many are left.

    Raises:
        SettingsError: it is not a keys file.
        NotFound: it has no such key; the nearest is named.
        OSError: it cannot be written.
    """
    with _alone(path):
        keys = load_keys(path)
        names = [key.name for key in keys]
        if name not in names:
            near = get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]}?" if near else "nextbest key list shows what it has"
            raise NotFound(f"{path} has no key {name}; {hint}")
        left = [key for key in keys if key.name != name]
        text = (read_keys(path) or b"").decode()
        if _is_flow(path, text):
            _replace(path, _as_json(left))
        else:
            _replace(path, _without(path, text, names.index(name), left))
        return len(left)


def _without(path: Path, text: str, place: int, left: list[ApiKey]) -> str:
    """A block list without one item; comments above the next one belong to that.

    Raises:
        SettingsError: what is then in it are not the keys that are to be left.
    """
    from ruamel.yaml import YAML

    lines = _lines(text)
    found: Any = YAML(typ="rt").load(text)
    starts = [_dash(lines, found.lc.item(index)[0]) for index in range(len(found))]
    first = starts[place]
    end = starts[place + 1] if place + 1 < len(starts) else len(lines)
    while end > first + 1 and _is_blank(lines[end - 1]):
        end -= 1
    without = "".join(lines[:first] + lines[end:])
    with suppress(SettingsError):
        if parse_keys(path, without.encode()) == left:
            return without
    raise SettingsError(f"{path} is not written as a list of one key each; take it out by hand")


def _dash(lines: list[str], line: int) -> int:
    """The line of an item's dash; the item itself may begin further down."""
    while line > 0 and not lines[line].lstrip().startswith("-"):
        line -= 1
    return line


def _lines(text: str) -> list[str]:
    return io.StringIO(text, newline="").readlines()


def _is_blank(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _is_flow(path: Path, text: str) -> bool:
    """Whether it is JSON.

    Raises:
        SettingsError: it is a list in brackets, and no JSON.
    """
    lines = (line for line in _lines(text) if not _is_blank(line) and line.strip() != "---")
    if not next(lines, "").lstrip().startswith("["):
        return False
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        raise SettingsError(
            f"{path} is neither JSON nor a list with a line for each key; change it by hand"
        ) from None
    return True


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """No other command changes a file of this folder meanwhile: it could undo a revocation."""
    folder = os.open(path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _as_json(keys: list[ApiKey]) -> str:
    return msgspec.json.format(msgspec.json.encode(keys), indent=1).decode() + "\n"


def _replace(path: Path, text: str) -> None:
    """Puts a file in place in one step, with the rights of the one before, or for us alone.

    A link stays a link: what it leads to is replaced.
    """
    path = path.resolve()
    written = path.with_name(f".{path.name}.{os.getpid()}")
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    try:
        opened = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(opened, "wb") as out:
            out.write(text.encode())
            out.flush()
            os.fsync(out.fileno())
        written.replace(path)
        sync_folder(path.parent)
    finally:
        written.unlink(missing_ok=True)
