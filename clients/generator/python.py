"""Prints the Python client's types and methods."""

from __future__ import annotations

import keyword
import re
import subprocess
import sys
import textwrap
from typing import Final

from clients.generator.description import (
    Description,
    Operation,
    Schema,
    Type,
    entry,
    named,
    options,
)

_PLAIN: Final = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
}
_LOCATION: Final = "\n\nGives the end of `Location`, where the answer has one."
_DO_NOT_EDIT: Final = "Made by `make clients` from the API: do not edit."


def types_module(description: Description) -> str:
    """`types.py`: what requests and answers look like."""
    rows = [
        f'"""The types of requests and answers. {_DO_NOT_EDIT}"""',
        "from __future__ import annotations",
        "from datetime import datetime",
        "from typing import Any, Literal, NotRequired, TypedDict, final",
        *(_type(one) for one in description.types),
    ]
    return _formatted("\n\n".join(rows))


def client_module(description: Description) -> str:
    """`client.py`: a client that waits, and one for asyncio, with the same methods."""
    rows = [
        f'"""The clients. {_DO_NOT_EDIT}"""',
        "from __future__ import annotations",
        "from collections.abc import AsyncIterator, Iterable, Iterator\n"
        "from typing import Any, Literal",
        "from nextbest_client.calls import Call, JsonCall, LinesCall, encoded\n"
        "from nextbest_client.calls import encoded_lines, has_ids\n"
        "from nextbest_client.asynchronous import AsyncBase\n"
        "from nextbest_client.synchronous import Base\n"
        f"from nextbest_client.types import {', '.join(_names(description))}",
        _class(description, "Client", "Base", ""),
        _class(description, "AsyncClient", "AsyncBase", "async "),
    ]
    return _formatted("\n\n".join(rows))


def _names(description: Description) -> list[str]:
    text = "".join(_class(description, "", "", ""))
    return [one.name for one in description.types if re.search(rf"\b{one.name}\b", text)]


def _type(one: Type) -> str:
    text = _docstring(one.text, "    ")
    fields = {
        field.name: kind if field.required else f"NotRequired[{kind}]"
        for field in one.fields
        for kind in [type_of(field.schema, asked=one.asked)]
    }
    if any(keyword.iskeyword(name) for name in fields):
        entries = ", ".join(f'"{name}": {_later(kind)}' for name, kind in fields.items())
        return f'{one.name} = TypedDict("{one.name}", {{{entries}}})\n{_docstring(one.text, "")}'
    rows = [f"    {name}: {kind}" for name, kind in fields.items()]
    # mypy tells answers apart by their keys (`"error" in answer`) where they are final.
    final = "" if one.asked else "@final\n"
    return "\n".join([f"{final}class {one.name}(TypedDict):", text, "", *rows])


def _later(kind: str) -> str:
    """A type in quotes where it may be defined further down: such a mapping is made at once."""
    names = set(re.findall(r"\b[A-Z]\w*", kind)) - {"Any", "Literal", "None", "NotRequired"}
    return repr(kind) if names else kind


def type_of(schema: Schema, *, asked: bool) -> str:
    """A schema as a type; a time may be asked with a `datetime`, and comes back as text."""
    if (name := named(schema)) is not None:
        return name
    if "enum" in schema:
        return f"Literal[{', '.join(map(_quoted, schema['enum']))}]"
    if found := options(schema):
        return " | ".join(dict.fromkeys(type_of(one, asked=asked) for one in found))
    kind = schema.get("type")
    if kind == "array":
        return f"list[{type_of(entry(schema), asked=asked)}]"
    if kind == "object":
        values = schema.get("additionalProperties")
        inner = type_of(values, asked=asked) if isinstance(values, dict) else "Any"
        return f"dict[str, {inner}]"
    if kind == "string" and schema.get("format") == "date-time" and asked:
        return "str | datetime"
    return _PLAIN.get(str(kind), "Any")


def _class(description: Description, name: str, base: str, prefix: str) -> str:
    text = "Every method waits for its answer." if not prefix else "The same, for asyncio."
    methods = [_method(one, prefix) for one in description.operations if not one.by_hand]
    return "\n\n".join([f'class {name}({base}):\n    """{text} See `{base}`."""', *methods])


def _method(one: Operation, prefix: str) -> str:
    given = [f"{name}: str" for name in one.path_parameters]
    if one.sends_lines:
        given.append("lines: Iterable[Any]")
    elif one.body is not None:
        given.append(f"body: {type_of(one.body, asked=True)}")
    given.append("*")
    given += [
        f"{_name(name)}: {type_of(schema, asked=True)} | None = None"
        for name, schema in one.query.items()
    ]
    given.append("timeout: float | None = None")
    answer = "str | None" if one.answer is None else type_of(one.answer, asked=False)
    call, send, wait = f"JsonCall[{answer}]", "_send", "await " if prefix else ""
    if one.answers_lines:
        answer = "AsyncIterator[Any]" if prefix else "Iterator[Any]"
        call, send, wait, prefix = "LinesCall", "_stream", "", ""
    elif one.answer is None:
        call = "Call"
    values = ", ".join(f'"{name}": {name}' for name in one.path_parameters)
    arguments = [
        _quoted(one.method),
        _quoted(one.path),
        *([f"path={{{values}}}"] if values else []),
        *(
            ["query={" + ", ".join(f'"{name}": {_name(name)}' for name in one.query) + "}"]
            if one.query
            else []
        ),
        *(["body=encoded_lines(lines)", "lines=True"] if one.sends_lines else []),
        *(["body=encoded(body)"] if one.body is not None else []),
        *([_repeatable(one)] if one.repeatable != "never" else []),
        "timeout=timeout",
        *([f"last={tuple(one.last_lines)!r}"] if one.last_lines else []),
    ]
    return "\n".join(
        [
            f"    {prefix}def {_snake(one.name)}(self, {', '.join(given)}) -> {answer}:",
            _docstring(one.text + ("" if answer != "str | None" else _LOCATION), "        "),
            f"        return {wait}self.{send}({call}({', '.join(arguments)}))",
        ]
    )


def _repeatable(one: Operation) -> str:
    return "repeatable=has_ids(body)" if one.repeatable == "with ids" else "repeatable=True"


def _quoted(text: object) -> str:
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _name(name: str) -> str:
    """A parameter that Python can have: `from_` for `from`."""
    return f"{name}_" if keyword.iskeyword(name) else name


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()


def _docstring(text: str, indent: str) -> str:
    paragraphs = [
        textwrap.fill(
            " ".join(one.split()),
            98 - len(indent),
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for one in text.replace("\\", "\\\\").split("\n\n")
        if one.strip()
    ]
    end = "" if len(paragraphs) == 1 and "\n" not in paragraphs[0] else f"\n{indent}"
    return f'{indent}"""' + "\n\n".join(paragraphs).lstrip() + f'{end}"""'


def _formatted(code: str) -> str:
    """The code as `make format` would leave it."""
    for flags in (["check", "--fix", "--quiet", "--select", "I,F401"], ["format", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *flags, "--stdin-filename", "made.py", "-"],
            input=code,
            capture_output=True,
            text=True,
            check=True,
        )
        code = done.stdout
    return code
