"""Bodies: read within limits of size and time, decoded, and refused in words a caller can mend."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, Final, Generic, TypeVar

import msgspec
from litestar.types import Receive, Scope
from msgspec import inspect

from decision.api.problems import Problem, bad_field

T = TypeVar("T")

DEEPEST: Final = 32
"""How deep a body may be nested."""

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_LEAST, _MOST = -(2**63), 2**64 - 1
_MESSAGE = re.compile(r"(?s)(.*?)(?: - at (`key` in )?`\$(.*)`)?")
_TOKEN = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_DRAIN_SECONDS = 1.0
_TRIED_KEYS = 2000
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "datetime": "a time such as 2026-11-21T10:00:00+08:00",
    "null": "null",
}


async def read_body(
    scope: Scope, receive: Receive, allowed: frozenset[bytes], limit: int, seconds: float
) -> bytes:
    """The whole body of a request in one of the `allowed` content types.

    Raises:
        Problem: 415 for another content type, 413 where it is larger than `limit` bytes, 408
            where it took longer than `seconds`, 400 where the client went away.
    """
    check_headers(scope, allowed, limit)
    size = 0
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Problem("invalid-request", "the client went away before its body ended")
                part = message["body"]
                size += len(part)
                if size > limit:
                    break
                if not message["more_body"]:
                    return b"".join((*parts, part)) if parts else part
                parts.append(part)
    except TimeoutError:
        raise late(seconds) from None
    await _drain(receive)
    raise too_large(limit)


def check_headers(scope: Scope, allowed: frozenset[bytes], limit: int) -> None:
    """Refuses a body by what its headers say of it.

    Raises:
        Problem: 415 or 413.
    """
    headers = dict(scope["headers"])
    given = headers.get(b"content-type", b"")
    if given not in allowed and given.split(b";", 1)[0].strip().lower() not in allowed:
        shown = given.decode("latin-1")[:60] or "missing"
        wanted = " or ".join(sorted(name.decode() for name in allowed))
        raise Problem("unsupported-media-type", f"Content-Type is {shown}; send {wanted}")
    encoding = headers.get(b"content-encoding", b"identity")
    if encoding.lower() != b"identity":
        shown = encoding.decode("latin-1")[:60]
        raise Problem(
            "unsupported-media-type", f"Content-Encoding is {shown}; send the body as it is"
        )
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and (len(length) > 18 or int(length) > limit):
        raise too_large(limit)


def late(seconds: float) -> Problem:
    """A 408 that names the limit."""
    return Problem("request-timeout", f"the body did not arrive within {seconds:g} s", close=True)


def too_large(limit: int) -> Problem:
    """A 413 that names the limit."""
    return Problem("too-large", f"the body is larger than {limit} bytes; send less", close=True)


async def _drain(receive: Receive) -> None:
    """Reads on for a moment, so that an honest client gets to read the answer."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request" or not message["more_body"]:
                    return
    except TimeoutError:
        return


class JsonDecoder(Generic[T]):
    """Decodes JSON of one type, or raises a problem that names the field, the value and the mend.

    With `numbers` false, whole numbers of more than 64 bits are let through, for parts that are
    decoded later.
    """

    def __init__(self, type: type[T] | Any, *, numbers: bool = True) -> None:
        self.type = type
        self._numbers = numbers
        self._decode = msgspec.json.Decoder(type).decode

    def decode(self, body: bytes) -> T:
        """The value.

        Raises:
            Problem: 400.
        """
        check_depth(body)
        try:
            value: T = self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.explain(error, body) from None
        if self._numbers and _LONG_NUMBER.search(body):
            check_numbers(body)
        return value

    def explain(self, error: Exception, body: bytes) -> Problem:
        """The problem that a decoder's error stands for."""
        if isinstance(error, msgspec.ValidationError):
            return bad_field(*_explain(str(error), body, self.type))
        if isinstance(error, UnicodeDecodeError):
            return bad_field("", "the body is not UTF-8")
        if isinstance(error, RecursionError):
            return _too_deep()
        if not body.strip():
            return bad_field("", "the body is empty; send a JSON object")
        reason = str(error).removeprefix("JSON is malformed: ")
        if reason == "Input data was truncated":
            reason = "it ends too early, or has half a character as a \\u escape"
        return bad_field("", f"the body is not JSON: {reason}")


def check_depth(body: bytes) -> None:
    """Refuses what is nested too deeply, before any decoder recurses into it.

    Raises:
        Problem: 400.
    """
    if body.count(b"{") + body.count(b"[") <= DEEPEST:
        return
    depth = 0
    for bracket in _STRINGS.sub(b"", body).translate(None, _NOT_BRACKETS):
        if bracket in b"{[":
            depth += 1
            if depth > DEEPEST:
                raise _too_deep()
        else:
            depth -= 1


def _too_deep() -> Problem:
    return bad_field("", f"the body is nested more than {DEEPEST} levels deep")


def check_numbers(body: bytes) -> None:
    """Refuses whole numbers that no store or log can keep.

    Raises:
        Problem: 400.
    """
    for path, value in _leaves(msgspec.json.decode(body), ""):
        if isinstance(value, int) and not _LEAST <= value <= _MOST:
            raise bad_field(
                path, f"{str(value)[:30]} does not fit into 64 bits; send it as text or rounded"
            )


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def _explain(message: str, body: bytes, type: Any) -> tuple[str, str]:
    """(path, detail) of a msgspec validation error."""
    found = _MESSAGE.fullmatch(message)
    assert found is not None
    reason, of_key, place = found[1], found[2] is not None, found[3] or ""
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # A number that no decoder can hold: the path has to do.
        return place.replace("[...]", ".…").lstrip("."), _lower(reason)
    path, value, info = _walk(data, inspect.type_info(type), place, message, data, type)
    if reason.startswith("Object contains unknown field"):
        name = reason.split("`")[1]
        fields = [field.encode_name for field in _struct_fields(info)]
        return _join(path, name), f"there is no such key{_near(name, fields)}"
    if reason.startswith("Object missing required field"):
        return _join(path, reason.split("`")[1]), "is missing"
    if of_key:
        return path, f"a key in it is not {_expected(reason, info)}"
    return path, f"is {_shown(value)}, must be {_expected(reason, info)}"


def _walk(
    data: Any, info: inspect.Type, place: str, message: str, whole: Any, type: Any
) -> tuple[str, Any, inspect.Type]:
    """(path, value, type) at a place such as `.event.at` or `[...]`, which is some key."""
    path = ""
    steps: list[Any] = []
    for name, index in _TOKEN.findall(place):
        if index and index != "...":
            path += f"[{index}]"
            key: Any = int(index)
        else:
            key = name or _bad_key(data, steps, message, whole, type)
            path = _join(path, str(key))
        info = _inner(info, key)
        steps.append(key)
        try:
            data = data[key]
        except (KeyError, IndexError, TypeError):
            return path, None, info
    return path, data, info


def _bad_key(data: Any, steps: list[Any], message: str, whole: Any, type: Any) -> Any:
    """The key of a mapping that the error is about: the first that gives it alone."""
    if not isinstance(data, dict):
        return "…"
    for key, item in list(data.items())[:_TRIED_KEYS]:
        try:
            msgspec.convert(_only(whole, steps, {key: item}), type)
        except msgspec.ValidationError as error:
            if str(error) == message:
                return key
    return "…"


def _only(whole: Any, steps: list[Any], part: dict[str, Any]) -> Any:
    """The document with the mapping at `steps` replaced by `part`."""
    if not steps:
        return part
    copied = dict(whole) if isinstance(whole, dict) else list(whole)
    copied[steps[0]] = _only(whole[steps[0]], steps[1:], part)
    return copied


def _plain(info: inspect.Type) -> inspect.Type:
    """The type without its metadata, and without `| null`."""
    while isinstance(info, inspect.Metadata):
        info = info.type
    if isinstance(info, inspect.UnionType):
        for one in info.types:
            if not isinstance(one, inspect.NoneType):
                return _plain(one)
    return info


def _inner(info: inspect.Type, key: Any) -> inspect.Type:
    """The type of what is under a key or an index."""
    plain = _plain(info)
    if isinstance(plain, inspect.StructType):
        for field in plain.fields:
            if field.encode_name == key:
                return field.type
    if isinstance(plain, inspect.DictType):
        return plain.value_type
    if isinstance(plain, inspect.ListType):
        return plain.item_type
    return inspect.AnyType()


def _struct_fields(info: inspect.Type) -> tuple[inspect.Field, ...]:
    plain = _plain(info)
    return plain.fields if isinstance(plain, inspect.StructType) else ()


def _near(name: str, known: list[str]) -> str:
    near = get_close_matches(name[:200], known, 1)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; there are {', '.join(known)}" if known else ""


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:57] + "…"


def _lower(reason: str) -> str:
    return reason[:1].lower() + reason[1:]


def _expected(reason: str, info: inspect.Type) -> str:
    """What a msgspec error expected, in words."""
    if reason.startswith("Invalid RFC3339") or "timezone component" in reason:
        return "a time with an offset, such as 2026-11-21T10:00:00+08:00"
    if reason.startswith("Invalid enum value"):
        plain = _plain(info)
        values = plain.values if isinstance(plain, inspect.LiteralType) else ()
        return "one of " + ", ".join(map(str, values))
    if reason.endswith("out of range"):
        return "a number of at most 64 bits"
    expected = re.match(r"(?s)Expected `([^`]*)`(?! with)(.*?)(?:, got .*)?$", reason)
    if expected is None:
        return _lower(reason).replace("`", "")
    kinds = " or ".join(_WORDS.get(kind, kind) for kind in expected[1].split(" | "))
    return f"{kinds}{expected[2]}".rstrip()
