"""Checks rules in a child process: `python -m decision.rulebook.checking`.

Reading and checking a large folder takes seconds of Python, and the rule engine can hang or
crash; neither may slow down the requests that a server answers at that time. The child reads,
checks and tries the rules, and writes the definition to a file that is read back in small pieces.

The child reads a `_CheckRequest` and answers with a `_CheckAnswer`, both msgpack. The file is a
pickle, so `place` must be a folder that nobody else can write.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from decision.children import Child, end_with_parent
from decision.core.definition import PolicyDefinition
from decision.core.errors import NextbestError
from decision.rulebook.diagnostics import Diagnostic
from decision.rulebook.reader import load_files, load_folder
from decision.rulebook.rule_trial import try_rules

TIME_LIMIT: Final = 180.0
"""Seconds for reading, checking and trying one policy."""

COMMAND: Final = (sys.executable, "-P", "-m", "decision.rulebook.checking")

_TRIAL_LIMIT: Final = 60.0
"""Seconds for the rule engine: enough for a child with low priority on a busy machine."""

_PIECE: Final = 25
_LONG: Final = ("messages", "rules")


class PolicyRefused(NextbestError, ValueError):
    """The policy could not be put in force; what is in force stays."""


class RulesRefused(PolicyRefused):
    """The rules have errors; `diagnostics` are all of them."""

    def __init__(self, what: str, diagnostics: Sequence[Diagnostic]) -> None:
        errors = [found for found in diagnostics if found.severity == "error"]
        super().__init__(f"{what} has {len(errors)} error{'s' if len(errors) != 1 else ''}")
        self.diagnostics = errors


class _CheckRequest(msgspec.Struct):
    place: str
    folder: str | None = None
    files: dict[str, str] = {}


class _CheckAnswer(msgspec.Struct):
    version: str = ""
    diagnostics: list[Diagnostic] = []
    problem: str | None = None


async def check_folder(folder: str, place: Path, *, time_limit: float = TIME_LIMIT) -> str:
    """Checks and tries a rules folder, and leaves its definition at `place`; gives its version.

    Raises:
        RulesRefused: it has errors.
        PolicyRefused: the rule engine cannot run these rules, or the check failed.
    """
    return await _run(_CheckRequest(str(place), folder=folder), folder, time_limit)


def check_here(folder: str, place: Path) -> str:
    """`check_folder` in this process, except for the trial of the rules. Blocks: for start-up.

    Raises:
        PolicyRefused: as `check_folder`.
    """
    return _version(_check(_CheckRequest(str(place), folder=folder)), folder)


async def check_files(
    files: Mapping[str, str], place: Path, what: str, *, time_limit: float = TIME_LIMIT
) -> str:
    """`check_folder` for the files of a policy; `what` names it in errors.

    Raises:
        PolicyRefused: as `check_folder`.
    """
    return await _run(_CheckRequest(str(place), files=dict(files)), what, time_limit)


def policy_file(place: Path, version: str) -> Path:
    """The file of a checked definition."""
    return place / f"{version}.policy"


def read_checked(place: Path, version: str) -> PolicyDefinition:
    """The definition that a check has written there.

    Raises:
        OSError: there is none.
    """
    long: dict[str, list[Any]] = {name: [] for name in _LONG}
    with policy_file(place, version).open("rb") as file:
        rest: PolicyDefinition = pickle.load(file)
        # One piece at a time: no other thread runs while a piece is unpickled.
        while (piece := pickle.load(file)) is not None:
            name, items = piece
            long[name] += items
    return msgspec.structs.replace(rest, **{name: tuple(items) for name, items in long.items()})


def write_checked(place: Path, definition: PolicyDefinition) -> None:
    """Writes a checked definition to be read back; all of it or nothing."""
    target = policy_file(place, definition.version)
    written = target.with_name(f".{target.name}.{os.getpid()}")
    with written.open("wb") as file:
        pickle.dump(msgspec.structs.replace(definition, **dict.fromkeys(_LONG, ())), file, 5)
        for name in _LONG:
            items = getattr(definition, name)
            for start in range(0, len(items), _PIECE):
                pickle.dump((name, items[start : start + _PIECE]), file, 5)
        pickle.dump(None, file, 5)
    written.replace(target)


async def _run(task: _CheckRequest, what: str, time_limit: float) -> str:
    child = Child(COMMAND)
    try:
        data = msgspec.msgpack.encode(task)
        output, errors, code = await asyncio.to_thread(child.run, data, time_limit)
    except subprocess.TimeoutExpired:
        raise PolicyRefused(f"checking {what} took longer than {time_limit:g} s") from None
    finally:
        child.end()
    if code != 0:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        how = f"it was stopped by {signal.Signals(-code).name}" if code < 0 else last
        raise PolicyRefused(f"checking {what} failed: {how or f'it ended with {code}'}")
    return _version(msgspec.msgpack.decode(output, type=_CheckAnswer), what)


def _version(found: _CheckAnswer, what: str) -> str:
    if found.diagnostics:
        raise RulesRefused(what, found.diagnostics)
    if found.problem is not None:
        raise PolicyRefused(found.problem)
    return found.version


def _check(task: _CheckRequest) -> _CheckAnswer:
    result = load_files(task.files) if task.folder is None else load_folder(task.folder)
    if result.definition is None:
        return _CheckAnswer(diagnostics=result.errors)
    problem = try_rules(result.definition.rules, _TRIAL_LIMIT)
    if problem is not None:
        return _CheckAnswer(problem=problem)
    write_checked(Path(task.place), result.definition)
    return _CheckAnswer(version=result.definition.version)


def _main() -> None:
    task = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=_CheckRequest)
    sys.stdout.buffer.write(msgspec.msgpack.encode(_check(task)))


if __name__ == "__main__":
    end_with_parent()
    _main()
