"""One YAML 1.2 file → plain data in which every key and value has its place.

The parser's events are read once, without recursion. What people could misread is refused:
anchors, aliases, merge keys, tags, a second document, and keys that appear twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from decision.rulebook.characters import blamed
from decision.rulebook.diagnostics import Diagnostic, Severity
from decision.rulebook.yaml_errors import explain
from decision.rulebook.yaml_scalars import ScalarError, join_surrogates, resolve
from decision.rulebook.yaml_text import LINE_END, decode

DEEPEST: Final = 50
"""Levels of lists and mappings."""

_LONGEST_LINE = 1_000


class _Invalid:
    """The value of a node that already has a diagnostic."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "INVALID"


INVALID: Final = _Invalid()


class Place(NamedTuple):
    """A line and column, from 1, of a source."""

    source: Source
    line: int
    column: int

    @property
    def label(self) -> str:
        """`file:line`."""
        return f"{self.source.name}:{self.line}"

    @property
    def order(self) -> tuple[str, int, int]:
        """By file, line and column."""
        return self.source.name, self.line, self.column

    def diagnostic(
        self, code: str, message: str, hint: str = "", severity: Severity = "error"
    ) -> Diagnostic:
        """What is wrong here; a source line that is too long to show is left out."""
        text = self.source.line(self.line)
        return Diagnostic(
            code=code,
            file=self.source.name,
            line=self.line,
            column=self.column,
            message=message,
            hint=hint,
            severity=severity,
            source_line=text if len(text) <= _LONGEST_LINE else "",
        )


class Node:
    """A value and its place: text, number, true/false, None, `dict[str, Node]`, `list[Node]`, or
    `INVALID`. In a mapping, `key_line` and `key_column` are the place of its key.
    """

    __slots__ = ("column", "key_column", "key_line", "line", "source", "value")

    def __init__(
        self,
        source: Source,
        value: Any,
        line: int,
        column: int,
        key_line: int = 0,
        key_column: int = 0,
    ) -> None:
        self.source = source
        self.value = value
        self.line = line
        self.column = column
        self.key_line = key_line
        self.key_column = key_column

    @property
    def at(self) -> Place:
        """Where the value starts."""
        return Place(self.source, self.line, self.column)

    @property
    def key(self) -> Place:
        """Where its key starts; without one, where the value starts."""
        if self.key_line:
            return Place(self.source, self.key_line, self.key_column)
        return self.at

    @property
    def quoted(self) -> bool:
        """Whether the value is a text in quotes, or in lines of its own after `|` or `>`."""
        return self.source.line(self.line)[self.column - 1 : self.column] in ('"', "'", "|", ">")

    def plain(self) -> Any:
        """The value without places; None for what is invalid."""
        value = self.value
        if isinstance(value, dict):
            return {key: node.plain() for key, node in value.items()}
        if isinstance(value, list):
            return [node.plain() for node in value]
        return None if value is INVALID else value


class Source:
    """One file as read. `complete` is false if a part of it could not be understood."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""
        self.root: Node | None = None
        self.diagnostics: list[Diagnostic] = []
        self.complete = True
        self._lines: list[str] | None = None

    def line(self, number: int) -> str:
        """The text of a line, counted from 1."""
        if self._lines is None:
            self._lines = LINE_END.split(self.text)
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""

    def report(self, code: str, place: tuple[int, int], message: str, hint: str = "") -> None:
        """Adds an error at a line and column of this file."""
        self.diagnostics.append(Place(self, *place).diagnostic(code, message, hint))


def read_yaml(name: str, data: bytes | str) -> Source:
    """Reads one file; never raises: errors are in the source's diagnostics.

    The root is None if the file is empty or could not be read at all.
    """
    source = Source(name)
    source.text, problem = decode(data)
    if problem is not None:
        source.complete = False
        source.report(*problem)
        return source
    builder = _Builder(source)
    try:
        builder.build(YAML(typ="safe", pure=True).parse(source.text))
    except MarkedYAMLError as error:
        source.root, source.complete = None, False
        line, column, message, hint = explain(error, source.text)
        if found := blamed(source.text, line, _fails):
            source.report("bad-character", found[:2], *found[2:])
        else:
            source.report("bad-yaml", (line, column), message, hint)
    except (YAMLError, ValueError, AssertionError) as error:
        # The parser raises these for escapes beyond Unicode and wrong numbers in directives.
        source.root, source.complete = None, False
        source.report(
            "bad-yaml", builder.last, f"the text after this place is not valid YAML: {error}"
        )
    return source


def _fails(text: str) -> int:
    """The line where the parser gives up; 0 if it does not."""
    try:
        for _ in YAML(typ="safe", pure=True).parse(text):
            pass
    except MarkedYAMLError as error:
        return explain(error)[0]
    except (YAMLError, ValueError, AssertionError):
        return 1
    return 0


def _place(mark: Any) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


class _Frame:
    """A mapping or list being filled; `waiting` is true between a key and its value."""

    __slots__ = ("key", "key_place", "node", "waiting")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.waiting = False
        self.key: str | None = None  # None while waiting: the key was refused
        self.key_place = (0, 0)

    @property
    def wants_key(self) -> bool:
        return type(self.node.value) is dict and not self.waiting


class _Builder:
    """Makes a source's nodes from the parser's events."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.stack: list[_Frame] = []
        self.started = False
        self.last = (1, 1)

    def build(self, events: Iterable[Any]) -> None:
        """Fills `source.root`; stops early if the rest cannot be trusted."""
        stack = self.stack
        for event in events:
            kind = type(event)
            if kind is ScalarEvent:
                self.last = _place(event.start_mark)
                self.scalar(event)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                if len(stack) >= DEEPEST:
                    self.source.root, self.source.complete = None, False
                    message = f"there are more than {DEEPEST} levels of nesting here"
                    hint = "a closing bracket may be missing"
                    self.source.report("too-deep", _place(event.start_mark), message, hint)
                    return
                self.collection(event, {} if kind is MappingStartEvent else [])
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                stack.pop()
            elif kind is AliasEvent:
                self.alias(event)
            elif kind is DocumentStartEvent and not self.document(event):
                return

    def scalar(self, event: Any) -> None:
        if event.anchor or event.ctag is not None:
            self.refuse_properties(event)
        value: Any = event.value
        try:
            if event.style == '"' and not value.isascii():
                value = join_surrogates(value)
            if self.stack and self.stack[-1].wants_key:
                self.key(event, value)
                return
            if event.style is None:
                value = resolve(value)
        except ScalarError as error:
            self.source.report("bad-value", _place(event.start_mark), str(error), error.hint)
            value = INVALID
        self.attach(event, value)

    def key(self, event: Any, key: str) -> None:
        frame, place = self.stack[-1], _place(event.start_mark)
        frame.waiting, frame.key, frame.key_place = True, None, place
        if event.style is None and key == "<<":
            message = "<< is a YAML merge key, which rule files do not allow"
            self.source.report("unsupported-yaml", place, message, "write out all keys")
        elif not key:
            message = "there is no key before this colon"
            self.source.report("bad-yaml", place, message, "write key: value")
        else:
            frame.key = key

    def collection(self, event: Any, value: Any) -> None:
        if event.anchor or event.ctag is not None:
            self.refuse_properties(event)
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.wants_key:
            self.refuse_key(event)
            node = Node(self.source, value, *_place(event.start_mark))
        else:
            node = self.attach(event, value)
        self.stack.append(_Frame(node))

    def attach(self, event: Any, value: Any) -> Node:
        """Puts a value in its place: the root, the next item of a list, the value of a key."""
        mark = event.start_mark
        node = Node(self.source, value, mark.line + 1, mark.column + 1)
        if not self.stack:
            self.source.root = node
            return node
        frame = self.stack[-1]
        holder = frame.node.value
        if type(holder) is list:
            holder.append(node)
            return node
        key, frame.key, frame.waiting = frame.key, None, False
        if key is None:
            return node
        node.key_line, node.key_column = frame.key_place
        if value is None and not event.value:
            # The parser places a missing value where the next thing starts.
            node.line, node.column = frame.key_place
        first = holder.setdefault(key, node)
        if first is not node:
            message = f'"{key}" appears twice here; the first is in line {first.key_line}'
            hint = "delete one of them"
            if len(self.stack) == 1 and type(value) is dict and type(first.value) is dict:
                # A section that appears twice: the second joins the first, so both are checked.
                node.value = first.value
                hint = "move what is under it to the first, and delete it here"
            self.source.report("duplicate-key", frame.key_place, message, hint)
        return node

    def alias(self, event: Any) -> None:
        message = f'"*{event.anchor}" is a YAML alias, which rule files do not allow'
        hint = "write the value out; put a text that starts with * in quotes"
        self.source.report("unsupported-yaml", _place(event.start_mark), message, hint)
        if self.stack and self.stack[-1].wants_key:
            self.stack[-1].waiting = True
        else:
            self.attach(event, INVALID)

    def document(self, event: Any) -> bool:
        place = _place(event.start_mark)
        if self.started:
            self.source.complete = False
            message = "a second YAML document starts here; a rule file can have only one"
            hint = "delete the line ---, or split the file"
            self.source.report("unsupported-yaml", place, message, hint)
            return False
        self.started = True
        if (event.version is not None and tuple(event.version) != (1, 2)) or event.tags:
            message = "rule files do not allow YAML directives"
            hint = "delete the lines that start with %"
            self.source.report("unsupported-yaml", (1, 1), message, hint)
        return True

    def refuse_key(self, event: Any) -> None:
        frame, (line, column) = self.stack[-1], _place(event.start_mark)
        frame.waiting, frame.key = True, None
        if (frame.node.line, frame.node.column) == (line, column - 1):
            message = "a text with {{ … }} must be in quotes"
            hint = 'write, for example, title: "Hello {{ customer.name }}"'
            self.source.report("bad-yaml", (line, column - 1), message, hint)
        else:
            message = "a key must be a name, not a list or mapping"
            self.source.report("unsupported-yaml", (line, column), message, "write key: value")

    def refuse_properties(self, event: Any) -> None:
        if event.anchor:
            message = f'"&{event.anchor}" is a YAML anchor, which rule files do not allow'
            hint = "delete it; put a text that starts with & in quotes"
        else:
            message = f'"{event.tag}" is a YAML tag, which rule files do not allow'
            hint = "delete it; put a text that starts with ! in quotes"
        self.source.report("unsupported-yaml", _place(event.start_mark), message, hint)
