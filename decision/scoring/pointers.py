"""Pointer files of a models folder: which version is meant in which scope.

A line is a path relative to the models folder, such as `engagement/02450e50e31b`, and then, after
tabs, `placement=NAME` and `purpose=NAME` where it is meant there alone. A pointer may also be a
link to a version's folder.

What is written changes one scope. Lines that cannot be read may be those of another: they stay as
they are until somebody has looked at them.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from decision.files import read_regular, sync_folder, write_whole
from decision.scoring.manifest import ModelError
from decision.scoring.scope import EVERYWHERE, Scope, parse_scope

CURRENT: Final = "current"
"""In the models folder: what is in force, by scope."""
SHADOW: Final = "shadow"
"""In the models folder: the challengers, by scope."""
_LONGEST: Final = 65_536
_NOTHING: Final = "# no version is in force"
"""A pointer with no other line was written on purpose; an empty one lost what it had."""


class Pointer(NamedTuple):
    """What a pointer names, by scope; damaged lines, with a scope if they have one, and the
    problems with them."""

    named: Mapping[Scope, Path]
    damaged: tuple[tuple[str, Scope | None], ...] = ()
    problems: tuple[str, ...] = ()


def read_pointer(models: Path, name: str) -> Pointer | None:
    """What a pointer names; None: there is no such file.

    Of two lines of one scope the first counts, and the other one is damaged.

    Raises:
        ModelError: the file cannot be read at all.
    """
    path = models / name
    try:
        if path.is_dir():
            return Pointer({EVERYWHERE: path})
        lines = read_regular(path, _LONGEST).decode().splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ModelError(
            f"{path} cannot be read: {reason}; restore it, or take it away and promote again "
            f"what {models / 'history'} names last"
        ) from None
    named: dict[Scope, Path] = {}
    damaged: list[tuple[str, Scope | None]] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.strip() in ("", _NOTHING):
            continue
        version, *parts = line.strip().split("\t")
        scope = parse_scope(parts)
        why = ""
        if scope is None:
            why = 'write VERSION, then after tabs "placement=NAME" and "purpose=NAME"'
        elif scope in named:
            why = "another line is for the same scope; keep one of them"
        if why or scope is None:
            damaged.append((line, scope))
            problems.append(f"{path}, line {number}: {line.strip()!r} is not used: {why}")
        else:
            named[scope] = models / version
    if not any(map(str.strip, lines)):
        problems.append(f"{path} is empty; promote the version that is to decide, or take it away")
    return Pointer(named, tuple(damaged), tuple(problems))


@contextmanager
def changing(models: Path) -> Iterator[None]:
    """One change at a time: two at once, in two scopes, would lose one of them."""
    folder = os.open(models, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def set_in_pointer(models: Path, name: str, scope: Scope, version: Path | None) -> Path | None:
    """Names another version in a scope, or with None no version any more; what was named before.

    To be called within `changing`.

    Raises:
        ModelError: the file cannot be read; nothing was written, as other scopes are in it.
        OSError: it cannot be written.
    """
    pointer = read_pointer(models, name) or Pointer({})
    named = dict(pointer.named)
    before = named.pop(scope, None)
    if version is not None:
        named[scope] = version
    elif before is None:
        return None
    lines = [
        "\t".join((name_of(models, named[one]), *one.parts()))
        for one in sorted(named, key=lambda one: one.sorted_by)
    ]
    lines += [line for line, own in pointer.damaged if own != scope]
    if lines or name == CURRENT:
        text = "".join(f"{line}\n" for line in lines or [_NOTHING])
        write_whole(models / name, text.encode())
    else:
        (models / name).unlink()
        sync_folder(models)
    return before


def name_of(models: Path, version: Path) -> str:
    """The path of a version, relative to the models folder.

    Raises:
        ModelError: it is not below it.
    """
    try:
        return version.resolve().relative_to(models.resolve()).as_posix()
    except ValueError:
        raise ModelError(f"{version} is not below {models}; copy the version there") from None
