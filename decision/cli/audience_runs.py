"""Runs of audiences by what the command line says: which one is meant, and whether it fits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from decision.cli.audience_lock import busy, is_held, lock_of
from decision.cli.output import Fail

if TYPE_CHECKING:
    from decision.audiences.state import RunSettings, RunState

RUNS: Final = ".nextbest/audiences"
"""Where runs are kept, below the folder in which the command is run."""

LATEST: Final = ""
"""What `--resume` without a run means."""

ASKED: Final = (
    *("when", "segment", "purpose", "channel", "fields", "hashes", "hash_for", "calling_code"),
    *("out", "gateway", "portion", "since", "without_holdouts"),
)
"""The options that a run keeps."""

LATEST_ALIKE: Final = "latest"
"""What `--since` takes in place of the name of a run."""

_SAME: Final = ("condition", "segment", "purpose", "channel", "gateway", "without_holdouts")
_LARGEST: Final = 5_000_000


def path_of(runs: Path, name: str) -> Path:
    """The file of a run.

    Raises:
        Fail: no run can have the name.
    """
    if not name or Path(name).name != name:
        raise Fail(f"{name!r} is not the name of a run")
    return runs / f"{name}.sqlite"


def earlier_run(asked: dict[str, Any], runs: Path, name: str) -> RunState | None:
    """The run of that name; without one the latest for the same file or gateway, or None.

    Raises:
        RunError, Fail: it is not there, or began with other options.
    """
    from decision.audiences.state import RunError, RunState, runs_in

    if name != LATEST:
        state = RunState.open(path_of(runs, name))
        _check_same(asked, state.settings)
        return state
    target = (absolute(asked["out"]), asked["gateway"])
    if asked["segment"] or asked["when"]:
        condition = "" if asked["when"] is None else text_of(asked["when"])
        where = target_of(*target)
        if is_held(lock_of(runs, where, asked["segment"] or "", condition)):
            raise busy(where)
    for path in runs_in(runs):
        try:
            state = RunState.open(path)
        except RunError:
            continue  # it had not begun, or is at work
        if target in ((None, None), (state.settings.out, state.settings.gateway)):
            _check_same(asked, state.settings)
            return state
        state.close()
    if asked["when"] is None and asked["segment"] is None:
        raise Fail(f"there is no run in {runs} to go on with")
    return None


@contextmanager
def told(runs: Path) -> Iterator[None]:
    """Says what the system says of the files of runs, and what to do.

    Raises:
        Fail: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        said = f"{error.filename or runs}: {error.strerror or error}"
        raise Fail(f"{said}; runs are kept in {runs}, --runs names another folder") from error


def target_of(out: str | None, gateway: str | None) -> str | None:
    """Where an audience goes, in words; None where customers are only counted."""
    return out if gateway is None else f"gateway {gateway}"


def finished_run(runs: Path, name: str) -> RunState:
    """A run to compare with.

    Raises:
        RunError, Fail: it is not there, or not finished.
    """
    from decision.audiences.state import RunState

    state = RunState.open(path_of(runs, name))
    if not state.progress.finished:
        state.close()
        raise Fail(f"run {name} is not finished; go on with: nextbest audience --resume {name}")
    return state


def like(asked: RunSettings, runs: Path) -> str:
    """The name of the latest finished run of the same audience, for the same gateway or a file.

    Raises:
        Fail: there is none.
    """
    from decision.audiences.state import RunError, RunState, runs_in

    for path in runs_in(runs):
        try:
            with RunState.open(path) as state:
                kept, finished = state.settings, state.progress.finished
        except RunError:
            continue
        if finished and all(getattr(kept, name) == getattr(asked, name) for name in _SAME):
            return kept.run
    raise Fail("there is no finished run of this audience yet; leave --since out for the first")


def _check_same(asked: dict[str, Any], kept: RunSettings) -> None:
    """Refuses options that are not those with which a run began."""
    now: dict[str, Any] = dict(asked) | {
        "fields": names_in(asked["fields"]) or None,
        "hashes": names_in(asked["hashes"]) or None,
        "out": absolute(asked["out"]),
        "without_holdouts": asked["without_holdouts"] or None,
    }
    if now["since"] == LATEST_ALIKE:
        now["since"] = kept.since
    if asked["when"] is not None:
        now["condition"] = text_of(asked["when"])
    for name, value in now.items():
        if value is not None and value != getattr(kept, name):
            option = {"hashes": "hash", "condition": "when"}.get(name, name).replace("_", "-")
            raise Fail(
                f"run {kept.run} began with another --{option}; leave the option out, "
                "or begin a new run"
            )


def names_in(text: str) -> tuple[str, ...]:
    """Names that commas part."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def absolute(path: str | None) -> str | None:
    """A path as it can be found from any folder."""
    return None if path is None else str(Path(path).absolute())


def text_of(path: str) -> str:
    """The text of a file with a condition.

    Raises:
        Fail: it cannot be read, or is no text.
    """
    from decision.files import read_regular

    try:
        return read_regular(path, _LARGEST).decode()
    except UnicodeDecodeError:
        raise Fail(f"{path}: the file is not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise Fail(f"{path}: {error.strerror or error}") from None
