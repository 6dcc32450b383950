"""Rule folders as commands need them: read, or refused with everything that is wrong."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from decision.cli.output import Fail, say
from decision.core.definition import PolicyDefinition
from decision.progress import count_of
from decision.rulebook.diagnostics import Diagnostic, render_all
from decision.rulebook.reader import LoadResult, load_folder

if TYPE_CHECKING:
    from decision.core.ports import Store
    from decision.engine import Engine
    from decision.server.settings import ServerSettings


def read_rules(folder: str) -> PolicyDefinition:
    """The definition of a rules folder; how many warnings it has goes to stderr.

    Raises:
        Fail: it has errors; all of them are in the text.
    """
    return read_rules_with_places(folder)[0]


def read_rules_with_places(folder: str) -> tuple[PolicyDefinition, LoadResult]:
    """As `read_rules`, with what knows where everything was written.

    Raises:
        Fail: it has errors; all of them are in the text.
    """
    result = load_folder(folder)
    if result.definition is None:
        text = render_all(result.errors)
        raise Fail(f"{folder} cannot be used ({tally(result.diagnostics)}):\n\n{text}")
    if result.warnings:
        say(f"{folder} has {count_of(len(result.warnings), 'warning')}: nextbest check {folder}")
    return result.definition, result


def engine_of(
    settings: ServerSettings, *, in_memory: bool = False
) -> AbstractAsyncContextManager[Engine]:
    """An engine for loading and upkeep, with the policy and model that the settings name.

    Raises:
        Fail: the rules cannot be used.
        ModelError: the model cannot be used.
    """
    from decision.server.models import read_model
    from decision.server.opening import open_engine

    definition = read_rules(settings.rules)
    return open_engine(settings, definition, read_model(settings.models), in_memory=in_memory)


def need_store(settings: ServerSettings, otherwise: str = "run it where the server runs") -> None:
    """Refuses a folder without a store, for commands that can do nothing with an empty one.

    Raises:
        Fail: there is none; `otherwise` says what else to do.
    """
    from decision.server.opening import HOME

    if settings.redis_url is None and not (HOME / "redis").is_dir():
        where = f"there is no store in {HOME.absolute()}; say where it is with --redis-url"
        raise Fail(f"{where}, or {otherwise}")


def open_existing(
    settings: ServerSettings, otherwise: str = "run it where the server runs"
) -> AbstractAsyncContextManager[Store]:
    """The store, as `need_store` allows it: an embedded one is not created.

    Raises:
        Fail: there is none; `otherwise` says what else to do.
    """
    from decision.server.opening import open_store

    need_store(settings, otherwise)
    return open_store(settings)


def tally(diagnostics: list[Diagnostic]) -> str:
    """`2 errors, 1 warning`."""
    errors = sum(one.severity == "error" for one in diagnostics)
    warnings = len(diagnostics) - errors
    counts = ((errors, "error"), (warnings, "warning"))
    return ", ".join(count_of(number, noun) for number, noun in counts if number) or "no errors"
