"""A folder of rule files → a checked policy definition, or all its errors."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from decision.core.definition import Definition, PolicyDefinition, Settings
from decision.files import access_hint
from decision.rulebook.budgets import check_budgets, read_shared_budget
from decision.rulebook.calendars import read_calendar
from decision.rulebook.caps import read_cap
from decision.rulebook.characters import explained
from decision.rulebook.checker import NOUNS, Checker
from decision.rulebook.coupons import read_pool
from decision.rulebook.diagnostics import WARNINGS, Diagnostic, Severity, hint_for
from decision.rulebook.events import check_events, read_event, read_score
from decision.rulebook.field_names import check_contacts
from decision.rulebook.journeys.checks import check_journeys
from decision.rulebook.journeys.journeys import read_journey
from decision.rulebook.journeys.moments import read_moment
from decision.rulebook.measures import read_funnel, read_metric
from decision.rulebook.messages import check_messages, read_message
from decision.rulebook.readings import as_yaml
from decision.rulebook.review import review
from decision.rulebook.rules import check_states, read_rule, read_state
from decision.rulebook.sections import (
    read_channel,
    read_experiment,
    read_placement,
    read_purpose,
    read_settings,
    read_suppression,
)
from decision.rulebook.source_map import SourceMap
from decision.rulebook.yaml_source import Node, Source, read_yaml
from decision.rulebook.yaml_text import read_file

SECTIONS = (
    "calendars",
    "purposes",
    "channels",
    "placements",
    "messages",
    "caps",
    "budgets",
    "coupons",
    "suppressions",
    "events",
    "scores",
    "states",
    "rules",
    "experiments",
    "moments",
    "journeys",
    "metrics",
    "funnels",
)
"""The keys of a rule file, besides `settings`."""

_READERS: Final[dict[str, Callable[[Checker, str, Node], Definition]]] = {
    "calendars": read_calendar,
    "purposes": read_purpose,
    "experiments": read_experiment,
    "channels": read_channel,
    "placements": read_placement,
    "states": read_state,
    "messages": read_message,
    "caps": read_cap,
    "budgets": read_shared_budget,
    "coupons": read_pool,
    "suppressions": read_suppression,
    "events": read_event,
    "scores": read_score,
    "rules": read_rule,
    "moments": read_moment,
    "journeys": read_journey,
    "metrics": read_metric,
    "funnels": read_funnel,
}
"""What reads each section; a section is read after those that it refers to."""


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was read from a folder of rule files. `definition` is None if there is any error.

    Diagnostics, warnings included, are in the order of files and lines. `places` knows where each
    part of the definition was written.
    """

    definition: PolicyDefinition | None
    diagnostics: list[Diagnostic]
    places: SourceMap = msgspec.field(default_factory=SourceMap)

    @property
    def errors(self) -> list[Diagnostic]:
        """The diagnostics because of which the policy is not used."""
        return [found for found in self.diagnostics if found.severity == "error"]

    @property
    def warnings(self) -> list[Diagnostic]:
        """The diagnostics of a policy that can still be used."""
        return [found for found in self.diagnostics if found.severity == "warning"]


def load_folder(path: str | os.PathLike[str]) -> LoadResult:
    """Reads and checks every `*.yaml` under a folder, except under `tests/`; never raises.

    It skips names that start with a dot. Places start with the name of the folder, such as
    `rules/messages.yaml:12`.
    """
    root = Path(path).absolute()
    if root.name in ("", ".."):
        root = root.resolve()
    folder = _printable(root.name or "rules")
    found: list[Diagnostic] = []
    if not root.is_dir():
        reason = "is not a folder" if root.exists() else "does not exist"
        message = f"the rules folder {_printable(str(path))} {reason}"
        hint = (
            "name it with --rules DIR (after check, test and publish as DIR alone), or "
            "in NEXTBEST_RULES; nextbest init makes a new one"
        )
        return _nothing(_of_file("unreadable-file", folder, message, hint))
    files: dict[str, bytes] = {}
    for name, place in _walk(root, found, folder):
        if not name.endswith(".yaml"):
            message = "this file is not read, because rule files end in .yaml"
            hint = "rename it so that it ends in .yaml"
            found.append(_of_file("ignored-file", f"{folder}/{name}", message, hint))
            continue
        try:
            files[name] = read_file(place)
        except OSError as error:
            message = f"the file cannot be read: {error.strerror or error}"
            hint = "restore it, make it readable, or remove it from the folder"
            if isinstance(error, PermissionError):
                hint += access_hint(place)
            found.append(_of_file("unreadable-file", f"{folder}/{name}", message, hint))
    return _load(files, folder, found)


def load_files(
    files: Mapping[str, str | bytes], folder: str = "rules", *, again: bool = False
) -> LoadResult:
    """`load_folder` from memory: names are relative to the folder; files are read in name order.

    The files of a `PolicyDefinition` give the same definition, with the same version. `again` is
    for files of a policy that was in force: they are not reviewed, so that past decisions can be
    explained even if the review now finds an error.
    """
    chosen = {
        name: data.encode("utf-8", "surrogatepass") if isinstance(data, str) else bytes(data)
        for name, data in sorted(files.items())
        if name.endswith(".yaml") and _is_rule_path(name.split("/"))
    }
    return _load(chosen, folder, [], reviewed=not again)


def policy_version(files: Mapping[str, bytes]) -> str:
    """The first 12 hexadecimal digits of the SHA-256 over the names and bytes of all files."""
    digest = hashlib.sha256()
    for name, data in sorted(files.items()):
        for part in (name.encode("utf-8", "surrogatepass"), data):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()[:12]


def _is_rule_path(parts: list[str]) -> bool:
    return "tests" not in parts[:-1] and not any(part.startswith(".") for part in parts)


def _walk(root: Path, found: list[Diagnostic], folder: str) -> Iterator[tuple[str, Path]]:
    """(name, path) of every file that is or looks like a rule file, in the order of names."""

    def name_of(place: Path) -> str:
        return _printable(place.relative_to(root).as_posix())

    def failed(error: OSError) -> None:
        message = f"the folder cannot be read: {error.strerror or error}"
        name = f"{folder}/{name_of(Path(error.filename))}".removesuffix("/.")
        hint = "make it readable"
        if isinstance(error, PermissionError):
            hint += access_hint(Path(error.filename))
        found.append(_of_file("unreadable-file", name, message, hint))

    names: dict[str, Path] = {}
    seen: set[Path] = set()
    for place, folders, files in os.walk(root, onerror=failed, followlinks=True):
        here = Path(place)
        if here.resolve() in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add(here.resolve())
        folders[:] = [name for name in folders if name != "tests" and not name.startswith(".")]
        for file in files:
            if file.lower().endswith((".yaml", ".yml")) and not file.startswith("."):
                names[name_of(here / file)] = here / file
    yield from sorted(names.items())


def _printable(text: str) -> str:
    """The name of a file, with bytes that are not UTF-8 as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _of_file(code: str, file: str, message: str, hint: str) -> Diagnostic:
    severity: Severity = "warning" if code in WARNINGS else "error"
    return Diagnostic(code=code, file=file, message=message, hint=hint, severity=severity)


def _nothing(*diagnostics: Diagnostic) -> LoadResult:
    return LoadResult(definition=None, diagnostics=list(diagnostics))


def _load(
    files: dict[str, bytes], folder: str, found: list[Diagnostic], *, reviewed: bool = True
) -> LoadResult:
    if not files and not any(one.severity == "error" for one in found):
        message = f"there is no *.yaml file in {folder}"
        hint = "check the path; it must be the folder with the rule files"
        return _nothing(*found, _of_file("no-rules", folder, message, hint))
    checker = Checker(again=not reviewed)
    checker.diagnostics.extend(found)
    checker.complete = not any(one.severity == "error" for one in found)
    sources = [read_yaml(f"{folder}/{name}", data) for name, data in files.items()]
    for source in sources:
        checker.diagnostics.extend(source.diagnostics)
        checker.complete = checker.complete and source.complete
    definition = _read_all(checker, sources)
    if reviewed:
        review(checker, definition, checker.places)
    if not any(source.root for source in sources) and not checker.diagnostics:
        message = "the rule files are empty"
        hint = "add a section, such as messages:"
        checker.diagnostics.append(_of_file("no-rules", folder, message, hint))
    diagnostics = sorted(
        map(explained, checker.diagnostics), key=lambda one: (one.file, one.line, one.column)
    )
    if any(one.severity == "error" for one in diagnostics):
        return _nothing(*diagnostics)
    texts = {name: data.decode("utf-8") for name, data in files.items()}
    return LoadResult(
        definition=msgspec.structs.replace(definition, version=policy_version(files), files=texts),
        diagnostics=diagnostics,
        places=checker.places,
    )


def _read_all(checker: Checker, sources: list[Source]) -> PolicyDefinition:
    """All names first, so that definitions can refer to each other; then the definitions."""
    checker.places.nodes = found = {
        section: _named(checker, sources, section) for section in ("settings", *SECTIONS)
    }
    for section in SECTIONS:
        checker.names[section].update(found[section])
    for source in sources:
        _check_top(checker, source)
    settings = Settings()
    if found["settings"]:
        first = next(iter(found["settings"].values()))
        whole = Node(first.source, found["settings"], first.key_line, first.key_column)
        settings = read_settings(checker, whole)
    read: dict[str, Any] = {
        section: tuple(one(checker, name, node) for name, node in found[section].items())
        for section, one in _READERS.items()
    }
    definition = PolicyDefinition(version="", settings=settings, **read)
    check_states(checker, definition.states)
    check_messages(checker, definition)
    check_events(checker, definition)
    check_contacts(checker)
    check_budgets(checker, definition)
    check_journeys(checker, definition)
    return definition


def _check_top(checker: Checker, source: Source) -> None:
    root = source.root
    if root is None or root.value is None:
        return
    if not isinstance(root.value, dict):
        checker.wrong_type(root, "a rule file", "a mapping of sections such as messages:")
        return
    for key, node in root.value.items():
        if key != "settings" and key not in SECTIONS:
            hint = hint_for(key, ("settings", *SECTIONS))
            checker.error("unknown-key", node.key, f'there is no section "{key}"', hint)


def _named(checker: Checker, sources: list[Source], section: str) -> dict[str, Node]:
    """Everything of a section in all files; names that are used twice get an error."""
    found: dict[str, Node] = {}
    for source in sources:
        root = source.root.value if source.root is not None else None
        node = root.get(section) if isinstance(root, dict) else None
        if node is None or node.value is None:
            continue
        if not isinstance(node.value, dict):
            checker.wrong_type(node, section, "a mapping of names", _by_name(node.plain()))
            checker.complete = False  # its names are not known
            continue
        for name, item in node.value.items():
            noun = NOUNS.get(section, "setting")
            if section != "settings":
                checker.usable_name(name, item.key, noun)
            first = found.setdefault(name, item)
            if first is not item:
                message = f'{noun} "{name}" is defined twice; first at {first.key.label}'
                checker.error("duplicate-name", item.key, message, "rename or delete one of them")
    return found


def _by_name(value: Any) -> str:
    """A hint for a section that was written as a list, or as one name."""
    found: dict[str, Any] = {}
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, str):
            found[one] = {}
        elif isinstance(one, dict) and isinstance(name := one.get("name", one.get("id")), str):
            found[name] = {key: kept for key, kept in one.items() if key not in ("name", "id")}
        elif isinstance(one, dict):
            found.update(one)
    fix = as_yaml(found) if found else ""
    return f"write {{{fix}}}" if 0 < len(fix) <= 100 else "write a name before each: {name: {…}}"
