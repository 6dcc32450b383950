"""Rule folders as commands need them: read, or refused with everything that is wrong."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
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

    A store that is created for it is told of.

    Raises:
        Fail: the rules cannot be used.
        ModelError: the model cannot be used.
    """
    from decision.scoring.loading import load_scoped_models
    from decision.server.models import read_model
    from decision.server.opening import open_engine

    definition = read_rules(settings.rules)
    model, scoped = read_model(settings.models), load_scoped_models(settings.models)
    if not in_memory:
        tell_of_new_store(settings)
    return open_engine(settings, definition, model, scoped=scoped, in_memory=in_memory)


def need_store(settings: ServerSettings, otherwise: str = "run it where the server runs") -> None:
    """Refuses a folder without a store, for commands that can do nothing with an empty one.

    Raises:
        Fail: there is none; `otherwise` says what else to do.
    """
    if not _has_store(settings):
        raise Fail(
            f"there is no store in {_home()}; say where it is with --redis-url, or {otherwise}"
        )


def tell_of_new_store(settings: ServerSettings) -> None:
    """Says that a store is created, for commands that may be the first to use it."""
    if not _has_store(settings):
        say(
            f"there is no store in {_home()}, so a new one is created; if you mean another one, "
            "say where it is with --redis-url, or run it where the server runs"
        )


def _has_store(settings: ServerSettings) -> bool:
    return settings.redis_url is not None or (_home() / "redis").is_dir()


def _home() -> Path:
    from decision.server.opening import HOME

    return HOME.absolute()


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


async def policy_in_force(store: Store, settings: ServerSettings) -> PolicyDefinition:
    """The policy that servers have: what is published, if they follow that, else the folder's.

    Raises:
        Fail: the folder has errors, or nothing is published.
    """
    from decision.releases.publishing import files_of, published
    from decision.rulebook.reader import load_files

    if settings.follow != "published":
        return read_rules(settings.rules)
    entry = await published(store)
    files = None if entry is None else await files_of(store, entry.version)
    definition = None if files is None else load_files(files).definition
    if definition is None:
        raise Fail("nothing is published that can be read: run nextbest publish RULES")
    return definition


def tally(diagnostics: list[Diagnostic]) -> str:
    """`2 errors, 1 warning`."""
    errors = sum(one.severity == "error" for one in diagnostics)
    warnings = len(diagnostics) - errors
    counts = ((errors, "error"), (warnings, "warning"))
    return ", ".join(count_of(number, noun) for number, noun in counts if number) or "no errors"
