"""The section of a profile: attributes, time zone, aliases."""

from __future__ import annotations

from itertools import chain
from typing import Any

from decision.core.document import Document
from decision.store.register import Register
from decision.store.sections.packing import pack, padded, unpack


def write_profile(document: Document, register: Register) -> bytes:
    """The section of a document."""
    number = register.names.numbers
    attributes: dict[Any, Any] = {}
    hundredths = []
    for name, value in document.attributes.items():
        key = number[name]
        if type(value) is float and (amount := _hundredths(value)):
            hundredths.append(key)
            value = amount
        attributes[key] = value
    return pack(
        attributes or None,
        hundredths or None,
        list(chain.from_iterable(document.attribute_runs)) or None,
        number[document.timezone] if document.timezone is not None else None,
        {number[kind]: values for kind, values in document.aliases.items()} or None,
    )


def _hundredths(value: float) -> int:
    """The hundredths of an amount with two decimals; 0 for any other number."""
    if abs(value) < 1 << 24 and (amount := round(value * 100)) / 100 == value:
        return amount
    return 0


def read_profile(document: Document, section: bytes, register: Register) -> None:
    """Fills it in from bytes."""
    name = register.names.names
    attributes, hundredths, runs, timezone, aliases = padded(unpack(section), 5)
    if attributes:
        known = name.known
        try:
            document.attributes = {known[key]: value for key, value in attributes.items()}
        except KeyError:
            document.attributes = {name[key]: value for key, value in attributes.items()}
    for key in hundredths or ():
        amount: Any = document.attributes[name[key]]
        document.attributes[name[key]] = amount / 100
    if runs:
        document.attribute_runs = list(zip(runs[::2], runs[1::2], strict=True))
    if timezone is not None:
        document.timezone = name[timezone]
    if aliases:
        document.aliases = {name[key]: values for key, values in aliases.items()}
