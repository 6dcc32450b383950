"""Which fields of an answer are always there, which a schema made of types alone does not say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec.inspect import StructType, multi_type_info


def always_sent(requests: Iterable[Any], answers: Iterable[Any]) -> dict[str, list[str]]:
    """Struct → its fields that every answer has, for structs that only answers have.

    A field with a default may be left out of a request. In an answer it is sent as well, unless
    its struct leaves out defaults, or the default is `UNSET` (which is shown as none).
    """
    asked = {struct.cls for struct in _structs(multi_type_info(list(requests)))}
    return {
        struct.cls.__name__: [
            field.encode_name
            for field in struct.fields
            if field.required
            or field.default is not msgspec.NODEFAULT
            or field.default_factory is not msgspec.NODEFAULT
        ]
        for struct in _structs(multi_type_info(list(answers)))
        if struct.cls not in asked and not struct.cls.__struct_config__.omit_defaults
    }


def _structs(types: Iterable[Any]) -> Iterator[StructType]:
    """All structs within types."""
    seen: set[int] = set()
    todo = list(types)
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, StructType):
            yield one
            todo.extend(field.type for field in one.fields)
        inner = (getattr(one, name, None) for name in ("item_type", "key_type", "value_type"))
        todo.extend(each for each in inner if each is not None)
        todo.extend(getattr(one, "types", ()))
        todo.extend(getattr(one, "item_types", ()))
