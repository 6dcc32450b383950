"""What is asked of a kind of report, as an address says it: the fields of its form, and links."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from decision.analytics.reports import Kind, Option
from decision.analytics.reports.asking import Question, asked, range_of
from decision.console.forms import Form
from decision.console.language import N_
from decision.console.rendering import link
from decision.console.span import DAYS, RANGES
from decision.core import calendar
from decision.core.definition import PolicyDefinition
from decision.core.errors import InputError

PATH: Final = "/console/reports"
RANGE: Final = "range"
WORDED: Final = (
    N_("day"),
    N_("week"),
    N_("month"),
    N_("channel"),
    N_("message"),
    N_("placement"),
    N_("gateway"),
    N_("category"),
    N_("journey"),
)
"""Choices of options that forms say in words; of others the help speaks by their names."""
_EVERYTHING: Final = "all"
_LONGEST: Final = 500
_DATE: Final = len("2026-11-21")


class Field(NamedTuple):
    """One field of the form. A list has several `values`; `error` says what is wrong with them."""

    option: Option
    control: str
    values: Sequence[str]
    error: str


class Asked:
    """One address: `given` are its fields that say something, as the API takes them."""

    def __init__(self, kind: Kind[Any, Any], form: Form, now: datetime, home: str) -> None:
        self.kind = kind
        self.said = bool(form.fields)
        self.given = {option.name: text for option in kind.options if (text := _text(form, option))}
        name = form.text(RANGE)
        dated = "from" in self.given or "until" in self.given
        self.range = "" if dated else name if name in RANGES else _EVERYTHING
        self._zone, self._now = home, now

    @property
    def fields(self) -> dict[str, str]:
        """What the address says, the range by its name."""
        named = self.range and self.range != _EVERYTHING
        return {**self.given, **({RANGE: self.range} if named else {})}

    @property
    def options(self) -> dict[str, str]:
        """As `given`, the range by its first day."""
        days = DAYS.get(self.range)
        if days is None:
            return self.given
        zone = self.given.get("timezone", "")
        known = zone if zone and calendar.known_zone(zone) is not None else self._zone
        first = self._now.astimezone(calendar.zone(known)).date() - timedelta(days=days - 1)
        return {**self.given, "from": f"{first}"}

    def question(self, policy: PolicyDefinition | None) -> Question:
        """The question, as far as it can be checked without the archive.

        Raises:
            InputError: a field cannot be used.
        """
        found: Question = asked(self.kind.question, self.options)
        range_of(found, policy)
        return found

    def link(self, *parts: str, **changed: str) -> str:
        """The address of the page, or a part of it, with some fields changed; "" leaves one out."""
        path = "/".join((PATH, self.kind.name, *parts))
        changed = {name.rstrip("_"): text for name, text in changed.items()}
        return link(path, **(self.fields | changed))

    def form(self, error: InputError | None = None) -> list[Field]:
        """The fields of the form, with what is wrong beside the one that it is about."""
        return [
            Field(
                option,
                _control(option, self.given.get(option.name, "")),
                self._values(option),
                error.detail if error is not None and error.path == option.name else "",
            )
            for option in sorted(self.kind.options, key=lambda one: not one.positional)
        ]

    def _values(self, option: Option) -> list[str]:
        given = self.given.get(option.name)
        if option.type is list:
            values = [one.strip() for one in given.split(",")] if given else []
            return [*values, *[""] * max(1, 2 - len(values))]
        default = "" if option.default in (None, False) else str(option.default)
        return [default if given is None else given]

    def command(self, archive: str) -> str:
        """The same question as a command."""
        words = ["nextbest", "report", self.kind.name]
        given = dict(self.options)
        words += [given.pop(one.name, "") for one in self.kind.options if one.positional]
        words += ["--log", archive]
        given.setdefault("timezone", self._zone)
        for name, text in given.items():
            flag = next(one.type is bool for one in self.kind.options if one.name == name)
            words += [f"--{name.replace('_', '-')}", *([] if flag else [text])]
        return shlex.join(word for word in words if word)

    def url(self, base: str) -> str:
        """The same question to the API."""
        return link(f"{base.rstrip('/')}/v1/reports/{self.kind.name}", **self.options)

    def example(self) -> str:
        """The address of the kind's example."""
        words = shlex.split(self.kind.example)
        places = [one.name for one in self.kind.options if one.positional]
        given: dict[str, str] = {}
        while words:
            word = words.pop(0)
            if not word.startswith("--"):
                given[places.pop(0)] = word
                continue
            name = word.removeprefix("--").replace("-", "_")
            flag = next((one.type is bool for one in self.kind.options if one.name == name), False)
            given[name] = "true" if flag or not words else words.pop(0)
        return link(f"{PATH}/{self.kind.name}", **given)


def as_json(question: Question) -> str:
    """A question as JSON, without what is left out."""
    found: Mapping[str, Any] = msgspec.to_builtins(question)
    said = {name: value for name, value in found.items() if value not in ("", [], None, False)}
    return msgspec.json.format(msgspec.json.encode(said)).decode()


def _text(form: Form, option: Option) -> str:
    if option.type is not list:
        return form.text(option.name).strip()[:_LONGEST]
    values = [one.strip() for text in form.all(option.name) for one in text.split(",")]
    return ",".join(filter(None, values))[: _LONGEST * 4]


def _control(option: Option, given: str) -> str:
    if option.type is bool:
        return "flag"
    if option.type is int:
        return "number"
    if option.choices:
        return "choice"
    if option.type is list:
        return "list"
    if option.metavar == "DATE" and len(given) in (0, _DATE):
        return "date"
    return "text"
