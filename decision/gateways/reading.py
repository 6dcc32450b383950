"""Reads the config of a gateway from YAML: the environment's secrets, typed fields, good errors.

No error shows a value: it may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from decision.core.clock import MINUTE, SECOND, parse_duration
from decision.gateways.problems import Problem
from decision.gateways.protocol import Seconds, Share
from decision.rulebook.diagnostics import Diagnostic, hint_for
from decision.rulebook.yaml_source import INVALID, Node, Place

T = TypeVar("T", bound=msgspec.Struct)

_VARIABLE: Final = re.compile(r"\$(\$?)\{(?!\{)([^}]*)\}?")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PART: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_LONGEST: Final = 5 * MINUTE
_STAND_IN: Final = "x"
"""Read in place of a variable without a value: it can be part of a host, a path or a port."""

_GAP: Final = "\0"
_HOST_KNOWN: Final = re.compile(r"\s*(?:[^:/?#]+://[^/?#]+[/?#]|(?!https?:)[^:/?#]+://)", re.I)
_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%")


@dataclass
class Reading:
    """Errors are collected, and reading goes on. `environ` has the values of `${NAME}`.

    `unset` are the errors of variables that have no value: the file itself may be right. All else
    is checked with `_STAND_IN` in their place. `has_links` is whether the file has `unsubscribe`.
    """

    environ: Mapping[str, str]
    diagnostics: list[Diagnostic] = field(default_factory=list)
    unset: list[Diagnostic] = field(default_factory=list)
    has_links: bool = False
    _filled_in: set[tuple[int, int]] = field(default_factory=set)
    _starts: dict[tuple[int, int], str] = field(default_factory=dict)
    """What a text with variables without a value has before the first of them."""

    _unset: dict[tuple[int, int], set[str]] = field(default_factory=dict)

    @property
    def everything(self) -> list[Diagnostic]:
        """All that was found, in the order of the file."""
        return sorted([*self.diagnostics, *self.unset], key=lambda one: (one.line, one.column))

    def error(self, code: str, place: Place, message: str, hint: str = "") -> None:
        """Adds an error."""
        self.diagnostics.append(_without_line(place.diagnostic(code, message, hint)))

    def mapping(self, node: Node, what: str) -> dict[str, Node]:
        """The nodes of a mapping by their keys; empty, with an error, for anything else."""
        if isinstance(node.value, dict):
            return node.value
        if node.value is not INVALID:
            self.error("wrong-type", node.at, f"{what} must be a mapping of keys and values")
        return {}

    def text(self, node: Node, what: str) -> str | None:
        """A text with the environment's values in it."""
        found = self.plain(node, what)
        if isinstance(found, str) and found.strip():
            return found
        if found is not INVALID:
            self.error("wrong-type", node.at, f"{what} must be a text that is not empty")
        return None

    def is_known(self, node: Node) -> bool:
        """Whether every variable in a value, at any depth, has one."""
        value = node.value
        if isinstance(value, dict | list):
            return all(map(self.is_known, value.values() if isinstance(value, dict) else value))
        return (node.line, node.column) not in self._filled_in

    def _has_known_host(self, node: Node) -> bool:
        """Whether a URL's variables without a value come after its host, or its scheme is wrong."""
        return bool(_HOST_KNOWN.match(self._starts.get((node.line, node.column), "")))

    def plain(self, node: Node, what: str) -> Any:
        """The value as plain data, with the environment's values; `INVALID` where it has errors.

        `$${` stands for `${` itself.
        """
        value = node.value
        if isinstance(value, dict):
            found = {key: self.plain(one, f"{key} of {what}") for key, one in value.items()}
            return INVALID if any(one is INVALID for one in found.values()) else found
        if isinstance(value, list):
            items = [self.plain(one, what) for one in value]
            return INVALID if any(one is INVALID for one in items) else items
        if isinstance(value, str) and "${" in value:
            return self._filled(node, value, what)
        return value

    def _filled(self, node: Node, text: str, what: str) -> Any:
        complete = True

        def value(found: re.Match[str]) -> str:
            nonlocal complete
            escaped, name = found[1], found[2]
            if escaped:
                return found[0][1:]
            if not found[0].endswith("}") or not _NAME.fullmatch(name):
                complete = False
                message = f"{what} has ${{, and no name of a variable and }} after it"
                self.error("bad-value", node.at, message, "write ${NAME}, or $${ for the signs")
                return ""
            if not self.environ.get(name):
                self._filled_in.add((node.line, node.column))
                state = "is empty" if name in self.environ else "is not set"
                if name in self._unset.setdefault((node.line, node.column), set()):
                    return _GAP  # read once more, and said before
                self._unset[node.line, node.column].add(name)
                message = f"the environment variable {name} {state}; {what} needs it"
                hint = f"set {name} where nextbest is started"
                self.unset.append(_without_line(node.at.diagnostic("bad-value", message, hint)))
                return _GAP
            return self.environ[name]

        filled = _VARIABLE.sub(value, text)
        if _GAP in filled:
            self._starts[node.line, node.column] = filled.partition(_GAP)[0]
        return filled.replace(_GAP, _STAND_IN) if complete else INVALID

    def struct(self, node: Node, kind: type[T], what: str, *, skip: str = "") -> T | None:
        """A mapping as a struct; None, with errors, where it cannot be one.

        `skip` is a key that is read elsewhere.
        """
        before = len(self.diagnostics)
        keys = {key: one for key, one in self.mapping(node, what).items() if key != skip}
        own = Node(node.source, keys, node.line, node.column, node.key_line, node.key_column)
        self._check_keys(own, kind, what)
        plain = self.plain(own, what)
        if plain is INVALID or len(self.diagnostics) > before:
            return None
        while True:
            try:
                return msgspec.convert(plain, kind, strict=False, dec_hook=_convert)
            except msgspec.ValidationError as error:
                message, _, path = str(error).partition(" - at `$")
                found, names = at_path(own, path.rstrip("`"))
                if not self.is_known(found):
                    # Nobody knows what it will be; all else is read without it.
                    if not names or not _without(plain, names):
                        return None
                    continue
                label = " of ".join([*reversed(names), what])
                quotes = re.match(r"Expected `str.*`, got `(int|float|bool)`", message)
                hint = "put it in quotes" if quotes else ""
                self.error("bad-value", found.at, f"{label}: {_in_words(message)}", hint)
                return None

    def problems(self, node: Node, found: Iterable[Problem], what: str) -> bool:
        """Adds errors for the problems of a config; whether there are any.

        What is said of a value that nobody knows yet is left out.
        """
        any_found = False
        for path, message, hint in found:
            holder, _ = at_path(node, f".{path}")
            if holder is node or self.is_known(holder) or self._has_known_host(holder):
                any_found = True
                place = node.key if holder is node else holder.at
                label = f"{path} of {what}" if path else what
                self.error("bad-value", place, f"{label}: {message}", hint)
        return any_found

    def _check_keys(self, node: Node, kind: Any, what: str) -> None:
        """Names every key that a struct does not have or lacks, at any depth, and wrong words."""
        words = _words_of(kind)
        if words and isinstance(node.value, str) and "${" not in node.value:
            if node.value not in words:
                hint = hint_for(node.value, words)
                self.error("bad-value", node.at, f"{what} is none of its words", hint)
            return
        struct = _struct_of(kind)
        if struct is None or not isinstance(node.value, dict):
            return
        fields = {one.encode_name: one for one in msgspec.structs.fields(struct)}
        for key, one in node.value.items():
            if key in fields:
                self._check_keys(one, fields[key].type, f"{key} of {what}")
            else:
                message = f'{what} cannot have the key "{key[:60]}"'
                self.error("unknown-key", one.key, message, hint_for(key, fields))
        for name, about in fields.items():
            if about.required and name not in node.value:
                message = f'{what} needs the key "{name}"'
                self.error("missing-key", node.key, message, f"add {name}: …")


def _without_line(found: Diagnostic) -> Diagnostic:
    """Without the line of the file: a secret may be written there."""
    return msgspec.structs.replace(found, source_line="")


def _options(kind: Any) -> Iterator[Any]:
    """The types that a value of a type may have."""
    origin = get_origin(kind)
    if origin is Union or isinstance(kind, type(int | str)):
        for one in get_args(kind):
            yield from _options(one)
    else:
        yield kind


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:
    for one in _options(kind):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            return one
    return None


def _words_of(kind: Any) -> list[str]:
    """The words that a value may be, where it may be nothing else."""
    options = [one for one in _options(kind) if one is not type(None)]
    if all(get_origin(one) is Literal for one in options):
        return [word for one in options for word in get_args(one)]
    return []


def at_path(node: Node, path: str) -> tuple[Node, list[str]]:
    """What is at a path such as `.accepted.status[0]`, as far as it leads, and the keys there."""
    names: list[str] = []
    for found in _PART.finditer(path):
        holder: Any = node.value
        try:
            node = holder[found[1]] if found[1] else holder[int(found[2])]
        except (LookupError, TypeError):
            break
        if found[1]:
            names.append(found[1])
    return node, names


def _without(plain: Any, names: list[str]) -> bool:
    """Takes the value at the end of a path of keys out; False where there is none."""
    for name in names[:-1]:
        plain = plain.get(name) if isinstance(plain, dict) else None
    return isinstance(plain, dict) and plain.pop(names[-1], INVALID) is not INVALID


def _in_words(message: str) -> str:
    """What msgspec says, for people: without backquotes, and without the value."""
    text = message.replace("`", "")
    for kind, word in (("str", "text"), ("int", "whole number"), ("object", "mapping")):
        text = re.sub(rf"\b{kind}\b", word, text)
    text = re.sub(r"\bbool\b", "true or false", text).replace("array", "list")
    text = re.sub(r"Invalid enum value .*", "it is none of its words", text)
    return text[:1].lower() + text[1:]


def _convert(kind: type, value: object) -> object:
    """Fields that are written with a unit."""
    if kind is Seconds:
        try:
            micros = parse_duration(str(value))
        except ValueError:
            raise ValueError("write a time such as 30s or 5m") from None
        if micros > _LONGEST:
            raise ValueError("it can be at most 5m")
        return Seconds(micros / SECOND)
    if kind is Share:
        found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
        if found is None or not 0 < float(found[1]) <= 100:
            raise ValueError("write a share such as 1%")
        return Share(float(found[1]) / 100)
    raise NotImplementedError(kind)
