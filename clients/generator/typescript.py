"""Prints the TypeScript client's types and methods."""

from __future__ import annotations

import json
import re
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
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}
_LOCATION: Final = "\n\nGives the end of `Location`, where the answer has one."
_DO_NOT_EDIT: Final = "Made by `make clients` from the API: do not edit."


def types_module(description: Description) -> str:
    """`types.ts`: what requests and answers look like."""
    head = f"/** The types of requests and answers. {_DO_NOT_EDIT} */"
    return "\n\n".join([head, *(_type(one) for one in description.types)]) + "\n"


def client_module(description: Description) -> str:
    """`client.ts`: the client's methods."""
    methods = [_method(one) for one in description.operations if not one.by_hand]
    text = "\n\n".join(methods)
    types = [one.name for one in description.types if re.search(rf"\b{one.name}\b", text)]
    tools = [name for name in ("encoded", "encodedLines", "hasIds", "target") if f"{name}(" in text]
    rows = [
        f"/** The client. {_DO_NOT_EDIT} */",
        'import { Base, type Options } from "./base.js";\n'
        f'import {{ {", ".join(tools)} }} from "./calls.js";\n'
        "import type {\n" + "".join(f"  {name},\n" for name in types) + '} from "./types.js";',
        "/** One is enough for a process. See `Base`. */\n"
        f"export class Client extends Base {{\n{text}",
    ]
    return "\n\n".join(rows) + "\n}\n"


def _type(one: Type) -> str:
    rows = [_comment(one.text, ""), f"export interface {one.name} {{"]
    for field in one.fields:
        kind = type_of(field.schema, asked=one.asked)
        if one.asked and not field.required:
            kind += " | undefined"
        rows.append(f"  {field.name}{'' if field.required else '?'}: {kind};")
    return "\n".join([*rows, "}"])


def type_of(schema: Schema, *, asked: bool) -> str:
    """A schema as a type; a time may be asked with a `Date`, and comes back as text."""
    if (name := named(schema)) is not None:
        return name
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if found := options(schema):
        return " | ".join(dict.fromkeys(type_of(one, asked=asked) for one in found))
    kind = schema.get("type")
    if kind == "array":
        inner = type_of(entry(schema), asked=asked)
        return f"({inner})[]" if " | " in inner else f"{inner}[]"
    if kind == "object":
        values = schema.get("additionalProperties")
        inner = type_of(values, asked=asked) if isinstance(values, dict) else "any"
        return f"Record<string, {inner}>"
    if kind == "string" and schema.get("format") == "date-time" and asked:
        return "string | Date"
    return _PLAIN.get(str(kind), "any")


def _method(one: Operation) -> str:
    given = [f"{_camel(name)}: string" for name in one.path_parameters]
    if one.sends_lines:
        given.append("lines: Iterable<unknown>")
    elif one.body is not None:
        given.append(f"body: {type_of(one.body, asked=True)}")
    query = [
        f"{name}?: {type_of(schema, asked=True)} | undefined" for name, schema in one.query.items()
    ]
    given.append(f"options: Options{_inner(query)} = {{}}")
    call = [f'method: "{one.method}"', f"target: {_target(one)}"]
    if one.sends_lines:
        call += ["body: encodedLines(lines)", "lines: true"]
    elif one.body is not None:
        call.append("body: encoded(body)")
    if one.repeatable != "never":
        call.append(f"repeatable: {'hasIds(body)' if one.repeatable == 'with ids' else 'true'}")
    if one.last_lines:
        call.append(f"last: {json.dumps(one.last_lines)}")
    prefix, wait = "async ", "return await "
    if one.answers_lines:
        prefix, wait = "async *", "yield* "
        send, answer = "lines", "AsyncGenerator<any, void, undefined>"
    elif one.answer is None:
        send, answer = "location", "Promise<string | null>"
    else:
        kind = type_of(one.answer, asked=False)
        send, answer = f"json<{kind}>", f"Promise<{kind}>"
    text = one.text + ("" if send != "location" else _LOCATION)
    return "\n".join(
        [
            _comment(text, "  "),
            f"  {prefix}{one.name}(",
            *(f"    {each}," for each in given),
            f"  ): {answer} {{",
            f"    {wait}this.{send}(",
            "      {",
            *(f"        {each}," for each in call),
            "      },",
            "      options,",
            "    );",
            "  }",
        ]
    )


def _target(one: Operation) -> str:
    path = ", ".join(f"{name}: {_camel(name)}" for name in one.path_parameters)
    query = ", ".join(f"{name}: options.{name}" for name in one.query)
    if not path and not query:
        return json.dumps(one.path)
    values = [f"{{ {path} }}" if path else "{}", *([f"{{ {query} }}"] if query else [])]
    return f"target({json.dumps(one.path)}, {', '.join(values)})"


def _inner(fields: list[str]) -> str:
    return f" & {{ {'; '.join(fields)} }}" if fields else ""


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def _comment(text: str, indent: str) -> str:
    paragraphs = [" ".join(one.split()) for one in text.replace("*/", "*\\/").split("\n\n")]
    paragraphs = [one for one in paragraphs if one]
    if len(paragraphs) == 1 and len(paragraphs[0]) <= 90 - len(indent):
        return f"{indent}/** {paragraphs[0]} */"
    wrapped = [
        textwrap.wrap(one, 96 - len(indent), break_long_words=False, break_on_hyphens=False)
        for one in paragraphs
    ]
    rows = [row for lines in wrapped for row in (*lines, "")][:-1]
    body = [f"{indent} * {row}".rstrip() for row in rows]
    return "\n".join([f"{indent}/**", *body, f"{indent} */"])
