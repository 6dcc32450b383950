"""Reads `rules/tests/*.yaml`; whatever is wrong there is said with its file, line and column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from decision.core.policy import Policy
from decision.core.schema import TriggerEvent
from decision.decoding.explaining import place_and_reason, steps_of
from decision.rulebook.diagnostics import Diagnostic, hint_for
from decision.rulebook.yaml_source import Node, Source, read_yaml
from decision.rulebook.yaml_text import read_file
from decision.scenarios.checks import Checks, place_of
from decision.scenarios.schema import (
    Ask,
    Change,
    Customer,
    Expect,
    ExpectedAsk,
    PastContact,
    PastEvent,
    Scenario,
    Spent,
    Step,
    keys_of,
)
from decision.scenarios.tables import TABLE, rows_of, unique
from decision.scenarios.wording import example_for, home_of, in_words

FOLDER = "tests"


class Placed(NamedTuple):
    """A scenario and its place, `file:line`; a row of a table has that of the row."""

    source: str
    scenario: Scenario


def read_scenarios(folder: Path, policy: Policy) -> tuple[list[Placed], list[Diagnostic]]:
    """Every scenario below `folder`/tests, in path order, and what is wrong with the others.

    Never raises for what is written in the files. A folder without tests holds no scenarios.
    """
    files: dict[str, bytes | OSError] = {}
    root = folder.absolute()
    for path in sorted((root / FOLDER).rglob("*.yaml")):
        try:
            data: bytes | OSError = read_file(path)
        except OSError as error:
            data = error
        files[f"{root.name}/{path.relative_to(root).as_posix()}"] = data
    return _in_files(files, policy)


def scenarios_of(
    files: Mapping[str, str], policy: Policy, folder: str = "rules"
) -> tuple[list[Placed], list[Diagnostic]]:
    """`read_scenarios` from memory: of files by their names in the folder, those below tests."""
    tests = [name for name in files if name.startswith(f"{FOLDER}/") and name.endswith(".yaml")]
    in_order = sorted(tests, key=lambda name: name.split("/"))
    return _in_files({f"{folder}/{name}": files[name].encode() for name in in_order}, policy)


def read_tests(folder: Path) -> dict[str, str]:
    """The files of scenario tests of a rules folder, by their names in it.

    Left out is what cannot be read, or is not UTF-8.
    """
    found = {}
    for path in sorted((folder / FOLDER).rglob("*.yaml")):
        with suppress(OSError, UnicodeDecodeError):
            found[path.relative_to(folder).as_posix()] = read_file(path).decode()
    return found


def _in_files(
    files: Mapping[str, bytes | OSError], policy: Policy
) -> tuple[list[Placed], list[Diagnostic]]:
    found: list[Placed] = []
    diagnostics: list[Diagnostic] = []
    names: dict[str, str] = {}
    for name, data in files.items():
        if isinstance(data, OSError):
            message = f"cannot be read: {data.strerror or data}"
            diagnostics.append(Diagnostic(code="unreadable-file", file=name, message=message))
            continue
        source = read_yaml(name, data)
        found.extend(_scenarios(source, policy, names))
        diagnostics.extend(source.diagnostics)
    return found, diagnostics


def scenarios_in(name: str, text: str, policy: Policy) -> tuple[list[Placed], list[Diagnostic]]:
    """Every scenario of a text, and what is wrong with the others; `name` stands for its file."""
    source = read_yaml(name, text)
    found = list(_scenarios(source, policy, {}))
    return found, source.diagnostics


def _scenarios(source: Source, policy: Policy, names: dict[str, str]) -> Iterable[Placed]:
    root = source.root
    if root is None:
        return
    if not isinstance(root.value, list):
        source.report(
            "wrong-type",
            root.at[1:],
            "a file of scenarios is a list",
            "start each scenario with - name: …",
        )
        return
    for node in root.value:
        if not isinstance(node.value, dict) or TABLE not in node.value:
            yield from _checked(source, node, policy, names)
            continue
        before = len(source.diagnostics)
        for row in rows_of(source, node, policy):
            yield from _checked(source, row, policy, names)
        unique(source, before)


def _checked(source: Source, node: Node, policy: Policy, names: dict[str, str]) -> Iterable[Placed]:
    """The scenario of a node, or nothing after a complaint."""
    before = len(source.diagnostics)
    scenario = _scenario(source, node)
    if scenario is None:
        return
    place = f"{source.name}:{node.line}"
    if scenario.name in names:
        source.report(
            "duplicate-name",
            place_of(node, ["name"])[1:],
            f'the name "{scenario.name}" is given twice: first in {names[scenario.name]}',
            "give each scenario a name of its own",
        )
    names.setdefault(scenario.name, place)
    Checks(policy, source, node).scenario(scenario)
    if len(source.diagnostics) == before:
        yield Placed(place, scenario)


_UNKNOWN = re.compile(r"object contains unknown field `(.*)`$")


def _scenario(source: Source, node: Node) -> Scenario | None:
    try:
        return msgspec.convert(node.plain(), Scenario)
    except msgspec.ValidationError as error:
        at, message = place_and_reason(error)
    path = steps_of(at)
    unknown = _UNKNOWN.search(message)
    if unknown:
        key = unknown[1]
        place = place_of(node, [*path, key], key=True)
        hint = hint_for(key, keys_of(_struct_at(path)))
        if not hint.startswith("did") or "." in key:
            hint = home_of(path, key) or hint
        source.report("unknown-key", place[1:], f'the key "{key}" does not exist here', hint)
    else:
        known = [part for part in path if part != "..."]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in known)
        place = place_of(node, path)
        missing = "missing required" in message
        source.report(
            "missing-key" if missing else "wrong-type",
            place[1:],
            f"{where.lstrip('.') or 'a scenario'}: {in_words(message)}",
            "" if missing else example_for(path),
        )
    return None


_STRUCTS: dict[str, type[msgspec.Struct]] = {
    "customer": Customer,
    "contacts": PastContact,
    "events": PastEvent,
    "ask": Ask,
    "event": TriggerEvent,
    "expect": Expect,
    "asks": ExpectedAsk,
    "steps": Step,
    "spent": Spent,
}


def _struct_at(path: list[str | int]) -> type[msgspec.Struct]:
    """What is written at a path, told by the last name on it that has a form of its own."""
    if path[:1] == ["steps"] and path[-1:] == ["customer"]:
        return Change
    return next((_STRUCTS[str(part)] for part in reversed(path) if part in _STRUCTS), Scenario)
