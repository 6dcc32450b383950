"""What is told of each customer: the columns of a row, and hashes as advertisers take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from decision.audiences.hashing import (
    Platform,
    hashed,
    is_calling_code,
    normal_email,
    normal_phone,
)
from decision.core.audience import Audience
from decision.core.document import Document
from decision.core.errors import InputError, meant
from decision.core.fields import FAMILIES, at_path
from decision.core.values import MISSING

ID: Final = "customer_id"
CHANGE: Final = "change"
"""The column that says `joined` or `left`, in a run that tells differences."""

HASHES: Final = ("email", "phone")
_ALIAS: Final = "alias."


class Columns:
    """The columns of an audience, in order: the id, the change, what was asked for, hashes.

    `fields` are `timezone`, `alias.<type>` (the newest of that type), fields of conditions such as
    `customer.state`, and names of attributes. `calling_code` is that of numbers without one.

    Raises:
        InputError: something else is to be hashed, or no country has the calling code.
    """

    def __init__(
        self,
        fields: Sequence[str] = (),
        hashes: Sequence[str] = (),
        platform: Platform = "google",
        calling_code: str = "",
        *,
        changes: bool = False,
    ) -> None:
        if calling_code and not is_calling_code(calling_code):
            said = f"{calling_code} is the calling code of no country; it is 86 for China, for one"
            raise InputError("--calling-code", said)
        self.fields = [name for name in dict.fromkeys(fields) if name != ID]
        for name in hashes:
            if name not in HASHES:
                hint = meant(name, HASHES) or f"; it can be {' and '.join(HASHES)}"
                raise InputError("--hash", f'"{name}" cannot be hashed{hint}')
        self._hashes = list(dict.fromkeys(hashes))
        self._platform: Platform = platform
        self._calling_code = calling_code
        self._changes = changes
        self.read = [_field_of(name) for name in self.fields if not _is_stored(name)]
        """The fields that an `Audience` must read for it."""

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        changes = [CHANGE] if self._changes else []
        return [ID, *changes, *self.fields, *(f"{name}_sha256" for name in self._hashes)]

    def row(
        self, audience: Audience, document: Document, now: int, change: str | None = None
    ) -> list[Any]:
        """The cells of one customer; None where there is nothing."""
        read = iter(audience.values(document, now) if self.read else ())
        return [
            document.customer_id,
            *([change] if self._changes else ()),
            *(
                _stored(document, name) if _is_stored(name) else _told(next(read))
                for name in self.fields
            ),
            *(self._hashed(document, name) for name in self._hashes),
        ]

    def unhashed(self, row: Sequence[Any]) -> list[str]:
        """The columns of hashes in which a row has nothing."""
        count = len(self._hashes)
        hashes = zip(self.names[-count:], row[-count:], strict=True) if count else ()
        return [name for name, value in hashes if value is None]

    def is_unhashed(self, row: Sequence[Any]) -> bool:
        """Whether hashes were asked for, and a row has none."""
        return len(self._hashes) > 0 and len(self.unhashed(row)) == len(self._hashes)

    def had(self, document: Document) -> list[str]:
        """The columns of attributes and aliases that a customer has something for."""
        return [name for name in self.fields if _has(document, name)]

    def filled(self, row: Sequence[Any]) -> list[str]:
        """The columns in which a row has something."""
        return [name for name, cell in zip(self.names, row, strict=True) if cell is not None]

    def _hashed(self, document: Document, kind: str) -> str | None:
        value = address_of(document, kind)
        if value is None:
            return None
        if kind == "email":
            return hashed(normal_email(value, self._platform))
        return hashed(normal_phone(value, self._platform, self._calling_code))


def _is_stored(name: str) -> bool:
    """Whether it is read as it is stored, and not as a field of conditions."""
    return name == "timezone" or name.startswith(_ALIAS)


def _field_of(name: str) -> str:
    """The field of a column: an attribute is named as in files of customers."""
    family, dot, _ = name.partition(".")
    return name if dot and family in FAMILIES else f"customer.{name}"


def _stored(document: Document, name: str) -> str | None:
    if name == "timezone":
        return document.timezone
    return next(reversed(document.aliases.get(name.removeprefix(_ALIAS), ())), None)


def _has(document: Document, name: str) -> bool:
    if _is_stored(name):
        return _stored(document, name) is not None
    path = _field_of(name).removeprefix("customer.")
    return at_path(document.attributes, path) is not MISSING


def names_of(document: Document) -> list[str]:
    """The columns that a customer could be told with: of attributes, and of aliases."""
    return [*document.attributes, *(f"{_ALIAS}{kind}" for kind in document.aliases)]


def _told(value: Any) -> Any:
    return None if value is MISSING else value


def address_of(document: Document, kind: str) -> str | None:
    """Where a customer is reached: the attribute of that name, else the newest such alias."""
    for value in (document.attributes.get(kind), *reversed(document.aliases.get(kind, ()))):
        if isinstance(value, str) and value.strip():
            return value
    return None
