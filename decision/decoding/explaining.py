"""What is wrong with a body, in words a caller can act on: path, value, what must be there."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

import msgspec
from msgspec import inspect

_MESSAGE = re.compile(r"(?s)(.*?)(?: - at (`key` in )?`\$(.*)`)?")
_TOKEN = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_TRIED_KEYS = 2000
_EXAMPLE = "2026-11-21T10:00:00+08:00"
_SHORT = 3
_FREE = ("properties", "attributes", "context")
"""Keys with an object of the caller's own names."""

_SECONDS = range(10**9, 4 * 10**9)
"""Numbers that are seconds since 1970 of these decades."""

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "datetime": f"a time with an offset, such as {_EXAMPLE}",
    "null": "null",
}


def place_and_reason(error: msgspec.ValidationError) -> tuple[str, str]:
    """Where msgspec found an error, such as `.event.at` or `[3][...]`, and what it says of it."""
    reason, of_key, place = _parts(str(error))
    return place, f"a key in it is wrong: {_lower(reason)}" if of_key else _lower(reason)


def _parts(message: str) -> tuple[str, bool, str]:
    """(reason, whether it is about a key there, place) of the message of a validation error."""
    found = _MESSAGE.fullmatch(message)
    assert found is not None
    return found[1], found[2] is not None, found[3] or ""


def steps_of(place: str) -> list[str | int]:
    """The steps to a place such as `.event.at` or `[3][...]`; `...` is some key."""
    return [
        name or (int(index) if index.isdigit() else index) for name, index in _TOKEN.findall(place)
    ]


def explain(message: str, body: bytes, type: Any) -> tuple[str, str]:
    """(path, detail) for the message of a msgspec validation error on this body and type.

    msgspec says what it expected and roughly where; what was there, the key of a mapping, and the
    name that was probably meant are looked up again in the body.
    """
    reason, of_key, place = _parts(message)
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # A number that no decoder can hold: the path has to do.
        return place.replace("[...]", ".…").lstrip("."), _lower(reason)
    path, value, info = _walk(data, inspect.type_info(type), place, message, data, type)
    if reason.startswith("Object contains unknown field"):
        name = reason.split("`")[1]
        fields = [field.encode_name for field in _struct_fields(info)]
        return _join(path, name), f"there is no such key{_near(name, fields)}{_free(name, fields)}"
    if reason.startswith("Object missing required field"):
        return _join(path, reason.split("`")[1]), "is missing"
    if of_key:
        return path, f"a key in it is not {_expected(reason, info)}"
    expected = _expected(reason, info)
    if _EXAMPLE in expected:
        expected = expected.replace(_EXAMPLE, time_like(value))
    if isinstance(value, int) and not isinstance(value, bool) and expected.startswith("text"):
        expected += f', written "{value}"'
    return path, f"is {_shown(value)}, must be {expected}"


def _walk(
    data: Any, info: inspect.Type, place: str, message: str, whole: Any, type: Any
) -> tuple[str, Any, inspect.Type]:
    """(path, value, type) at a place such as `.event.at` or `[...]`, which is some key."""
    path = ""
    steps: list[Any] = []
    for step in steps_of(place):
        key = _bad_key(data, steps, message, whole, type) if step == "..." else step
        path = f"{path}[{key}]" if isinstance(step, int) else _join(path, str(key))
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
    near = _meant(name, known)
    if near is not None:
        return f'; did you mean "{near}"?'
    return f"; there are {', '.join(known)}" if known else ""


def _meant(name: str, known: list[str]) -> str | None:
    """The key that was probably meant, if any.

    Two letters of a short word are in many others, so a key such as `at` must nearly be the word.
    """
    folded = name[:200].casefold()
    for near in get_close_matches(folded, known, 3):
        if len(near) > _SHORT or folded.startswith(near):
            return near
    return None


def _free(name: str, known: list[str]) -> str:
    """Where a key of the caller's own goes, which has no place here."""
    place = next((one for one in known if one in _FREE), None)
    if place is None or _meant(name, known) is not None:
        return ""
    return f"; a value of your own goes into {place}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:57] + "…"


def time_like(value: Any) -> str:
    """How a time is written: the one that was meant, as far as it can be read, else an example.

    >>> time_like("2026-11-02"), time_like(1795255200), time_like("tomorrow")
    ('2026-11-02T00:00:00+08:00', '2026-11-21T10:00:00Z', '2026-11-21T10:00:00+08:00')
    """
    text = str(value).strip()
    try:
        number = float(text)
        for seconds in (number, number / 1000):
            if int(seconds) in _SECONDS:
                return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return _EXAMPLE
    return found.isoformat() + ("+08:00" if found.tzinfo is None else "")


def _lower(reason: str) -> str:
    return reason[:1].lower() + reason[1:]


def _expected(reason: str, info: inspect.Type) -> str:
    """What a msgspec error expected, in words."""
    if reason.startswith("Invalid RFC3339") or "timezone component" in reason:
        return _WORDS["datetime"]
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
