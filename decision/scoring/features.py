"""Features: situations and candidates as numbers, with the same code to serve and to train.

Features have names. Most are fields (`customer.country`, `events.app_open.count_7d`, see
`core.fields`), which are the same for all candidates of a decision. These depend on the candidate:

- `message.name`, `message.channel`, `message.category`, `message.purpose` (categorical),
  `message.value`, `message.tag.<tag>` (1 or 0)
- `message.count_7d` (any duration): contacts of this message; `message.days_since`: days since the
  last one

`contacts.count_7d` counts contacts on all channels. Contacts count as they do for caps. A missing
or unknown value is NaN.
"""

from __future__ import annotations

import math
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from operator import itemgetter
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from decision.core.candidates import CandidateInfo
from decision.core.clock import DAY, parse_duration
from decision.core.contact_policy import counts_until
from decision.core.document import Contact, ContactState, Document
from decision.core.errors import NextbestError
from decision.core.events import LONGEST_WINDOW
from decision.core.fields import UnknownField, parse_field
from decision.core.values import MISSING, Value

Matrix = NDArray[np.float64]
Kind = Literal["numeric", "categorical"]
Categories = Mapping[str, Sequence[Value]]
Columns = Mapping[str, Sequence[Value] | NDArray[Any]]
"""Logged values by feature name; all of one length. MISSING, None and NaN are missing."""

NAN = math.nan
_INFINITE, _MINUS_INFINITE = (struct.pack("d", number) for number in (math.inf, -math.inf))
_PLAIN = "biuf"
"""The kinds of numpy arrays whose every value is a number, or true or false."""
_FOR_GOOD = frozenset({int(ContactState.CONFIRMED), int(ContactState.RESERVED_THEN_COUNT)})
MOST_CATEGORIES = 1_000
"""This many of the most frequent values of a categorical feature are distinguished."""


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The name of a feature, and whether it is numeric or categorical."""

    name: str
    kind: Kind


class UnknownFeature(NextbestError, ValueError):
    """A feature that cannot exist as declared; the text says why and names the nearest one."""


class _Source(NamedTuple):
    """Where a feature comes from: a field, the candidate, or contacts within a window."""

    origin: Literal["field", "static", "message_count", "message_days", "contact_count"]
    read: Callable[[CandidateInfo], Value] | None = None
    window: int = 0
    only: Kind | None = None


_STATIC: dict[str, tuple[Callable[[CandidateInfo], Value], Kind]] = {
    "message.name": (lambda c: c.message, "categorical"),
    "message.channel": (lambda c: c.channel, "categorical"),
    "message.category": (lambda c: c.category, "categorical"),
    "message.purpose": (lambda c: c.purpose, "categorical"),
    "message.value": (lambda c: c.value, "numeric"),
}
_CANDIDATE_FORMS = (*_STATIC, "message.tag.<tag>", "message.count_7d", "message.days_since")
_COUNT = re.compile(r"(message|contacts)\.count_(\w+)")
_ENCODABLE = re.compile("[^\ud800-\udfff]*")
_TEXT_FIELDS = ("placement", "event.type", "time.weekday", "time.date", "customer.state")


def check_feature(feature: Feature) -> None:
    """Raises UnknownFeature if there can be no such feature, or not of that kind.

    >>> check_feature(Feature("events.app_open.count_7d", "numeric"))
    >>> check_feature(Feature("message.value", "categorical"))
    Traceback (most recent call last):
        ...
    decision.scoring.features.UnknownFeature: 'message.value' is categorical; must be numeric
    """
    only = _source(feature.name).only
    if only is not None and feature.kind != only:
        raise UnknownFeature(f"{feature.name!r} is {feature.kind}; must be {only}")


def _source(name: str) -> _Source:
    if found := _STATIC.get(name):
        return _Source("static", read=found[0], only=found[1])
    if name.startswith("message.tag.") and len(name) > len("message.tag."):
        tag = name.removeprefix("message.tag.")
        return _Source("static", read=lambda c: int(tag in c.tags), only="numeric")
    if name == "message.days_since":
        return _Source("message_days", only="numeric")
    if counted := _COUNT.fullmatch(name):
        try:
            window = parse_duration(counted[2])
        except ValueError as error:
            raise UnknownFeature(f"{name!r}: {error}") from None
        if window > LONGEST_WINDOW:
            raise UnknownFeature(f"{name!r}: windows reach 90d at most")
        own = counted[1] == "message"
        return _Source("message_count" if own else "contact_count", window=window, only="numeric")
    if name.startswith("message."):
        near = get_close_matches(name, _CANDIDATE_FORMS, 1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(_CANDIDATE_FORMS)}"
        raise UnknownFeature(f"{name!r} is not a feature of a message; {hint}")
    try:
        parse_field(name)
    except UnknownField as error:
        raise UnknownFeature(str(error)) from None
    text = name in _TEXT_FIELDS or name.startswith("experiment.")
    return _Source("field", only="categorical" if text else None)


def fields_of(features: Iterable[Feature]) -> list[str]:
    """The fields among the features: what a field table must have to encode them.

    Raises:
        UnknownFeature: one of them cannot exist.
    """
    return [each.name for each in features if _source(each.name).origin == "field"]


def varies(feature: Feature) -> bool:
    """Whether the feature differs between the candidates of one decision."""
    return _source(feature.name).origin in ("static", "message_count", "message_days")


def of_message(feature: Feature) -> bool:
    """Whether the feature says what the message is, whoever is asked about.

    >>> of_message(Feature("message.category", "categorical"))
    True
    >>> of_message(Feature("message.count_7d", "numeric"))
    False
    """
    return _source(feature.name).origin == "static"


def counts_contacts(feature: Feature) -> Literal["count", "days"] | None:
    """Whether the feature tells of earlier contacts of the candidate's message, and what."""
    found: dict[str, Literal["count", "days"]] = {"message_count": "count", "message_days": "days"}
    return found.get(_source(feature.name).origin)


def can_be_missing(feature: Feature) -> bool:
    """Whether a decision can lack the feature: times, counts and sums are always known.

    >>> can_be_missing(Feature("customer.age", "numeric"))
    True
    >>> can_be_missing(Feature("time.hour", "numeric"))
    False
    """
    family, _, measure = feature.name.rpartition(".")
    if family.startswith(("events.", "message")):
        return measure.startswith(("days_since", "last_"))
    return family.partition(".")[0] in ("customer", "event", "context")


def number_of(value: Value) -> float:
    """The number of a numeric feature: true is 1, false is 0, all but finite numbers are NaN.

    >>> number_of(3), number_of(True), number_of("3")
    (3.0, 1.0, nan)
    """
    if type(value) is float:
        return value if math.isfinite(value) else NAN
    if isinstance(value, int):  # and bool
        try:
            return float(value)
        except OverflowError:
            return NAN
    return NAN


def category_key(value: Value) -> Value:
    """What distinguishes categories: `true` is not `1`, and `"5"` is not `5`."""
    if isinstance(value, bool):
        return (value,)
    if isinstance(value, str):
        return value if value.isascii() or _ENCODABLE.fullmatch(value) else None
    return value if isinstance(value, int | float) else None


def encoder_of(feature: Feature, categories: Categories) -> Callable[[Value], float]:
    """The function from a feature's value to its number in the matrix.

    If None is among the categories, it is that of every missing or unknown value.
    """
    if feature.kind == "numeric":
        return number_of
    codes = {
        category_key(value): float(code)
        for code, value in enumerate(categories.get(feature.name, ()))
    }
    otherwise = codes.get(None, NAN)
    return lambda value: codes.get(category_key(value), otherwise)


def learn_categories(features: Iterable[Feature], columns: Columns) -> dict[str, tuple[Value, ...]]:
    """The categories that training distinguishes, most frequent first, ties in order of value."""
    found: dict[str, tuple[Value, ...]] = {}
    for feature in features:
        if feature.kind != "categorical":
            continue
        counts: dict[Value, int] = {}
        shown: dict[Value, Value] = {}
        for value in _plain(columns[feature.name]):
            key = category_key(value)
            if key is None or key != key:
                continue
            counts[key] = counts.get(key, 0) + 1
            shown.setdefault(key, value)
        found[feature.name] = tuple(shown[key] for key in most_frequent(counts))
    return found


def most_frequent(counts: Mapping[Value, int]) -> list[Value]:
    """The keys of the categories to distinguish, from the counts of all."""
    ordered = sorted(counts, key=lambda key: (-counts[key], type(key).__name__, key))
    return ordered[:MOST_CATEGORIES]


def encode_columns(features: Sequence[Feature], categories: Categories, columns: Columns) -> Matrix:
    """The matrix of logged features for training, with the encoding that serves.

    >>> features = (Feature("message.name", "categorical"), Feature("customer.age", "numeric"))
    >>> columns = {"message.name": ["tea", "cups", "tea"], "customer.age": [31, None, 52]}
    >>> categories = learn_categories(features, columns)
    >>> categories
    {'message.name': ('tea', 'cups')}
    >>> encode_columns(features, categories, columns).tolist()
    [[0.0, 31.0], [1.0, nan], [0.0, 52.0]]
    """
    rows = len(next(iter(columns.values()))) if columns else 0
    matrix = np.empty((rows, len(features)))
    for index, feature in enumerate(features):
        column = columns[feature.name]
        if (
            feature.kind == "numeric"
            and isinstance(column, np.ndarray)
            and column.dtype.kind in _PLAIN
        ):
            numbers = column.astype(np.float64)
            matrix[:, index] = np.where(np.isfinite(numbers), numbers, NAN)
            continue
        encode = encoder_of(feature, categories)
        matrix[:, index] = [encode(value) for value in _plain(column)]
    return matrix


def _plain(column: Sequence[Value] | NDArray[Any]) -> Sequence[Value]:
    """The column as Python values, without numpy's number types."""
    return column.tolist() if isinstance(column, np.ndarray) else column


class FeatureEncoder:
    """Turns one decision into a matrix with a row per candidate.

    What depends only on the candidate is computed once, here; what depends only on the situation is
    computed once per decision and broadcast.

    Raises:
        UnknownFeature: a feature cannot exist.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        categories: Categories,
        candidates: Sequence[CandidateInfo],
        slot_of: Callable[[str], int],
    ) -> None:
        self.names = tuple(feature.name for feature in features)
        self._message_index = {
            name: index
            for index, name in enumerate(dict.fromkeys(info.message for info in candidates))
        }
        self._message_of = np.array(
            [self._message_index[info.message] for info in candidates], dtype=np.intp
        )
        self.template = np.full((len(candidates), len(features)), NAN)
        self._slots: list[tuple[int, int, Callable[[Value], float]]] = []
        self._coded: list[tuple[int, Callable[[Value], float]]] = []
        self._said: list[dict[str, Value]] = [{} for _ in candidates]
        self._message_counts: list[tuple[int, int]] = []
        self._message_days: list[int] = []
        self._contact_counts: list[tuple[int, int]] = []
        for column, feature in enumerate(features):
            check_feature(feature)
            source = _source(feature.name)
            encode = encoder_of(feature, categories)
            match source.origin:
                case "field":
                    if feature.kind == "categorical":
                        self._coded.append((len(self._slots), encode))
                    self._slots.append((column, slot_of(feature.name), encode))
                case "static" if source.read is not None:
                    said = [source.read(info) for info in candidates]
                    self.template[:, column] = [encode(value) for value in said]
                    for own, value in zip(self._said, said, strict=True):
                        own[feature.name] = value
                case "message_count":
                    self._message_counts.append((column, source.window))
                    self.template[:, column] = 0.0
                case "message_days":
                    self._message_days.append(column)
                case "contact_count":
                    self._contact_counts.append((column, source.window))
                    self.template[:, column] = 0.0
        shared = [column for column, *_ in self._slots]
        first = shared[0] if shared else 0
        run = range(first, first + len(shared))  # if they are one, a slice is faster than an index
        one_run = shared == list(run)
        self._shared = slice(run.start, run.stop) if one_run else np.array(shared, dtype=np.intp)
        slots = [slot for _, slot, _ in self._slots]
        self._read: Callable[[Sequence[Value]], Iterable[Any]] = (
            itemgetter(*slots) if len(slots) > 1 else lambda values: [values[at] for at in slots]
        )
        self._pack = struct.Struct(f"{len(shared)}d").pack
        self._logged = [(self.names[column], slot) for column, slot, _ in self._slots]
        self._needs_own = bool(self._message_counts or self._message_days)
        self._needs_contacts = self._needs_own or bool(self._contact_counts)

    def encode(
        self,
        candidates: Sequence[int] | NDArray[np.intp],
        values: Sequence[Value],
        document: Document,
        now: int,
    ) -> Matrix:
        """The matrix, with a row per candidate index and a column per feature."""
        rows = np.asarray(candidates, dtype=np.intp)
        matrix: Matrix = self.template.take(rows, axis=0)
        if self._slots:
            matrix[:, self._shared] = self._encode_shared(values)
        if self._needs_contacts and document.contacts:
            self._encode_contacts(matrix, rows, document, now)
        return matrix

    def _encode_shared(self, values: Sequence[Value]) -> Matrix:
        """The numbers that are the same for all candidates.

        Most values are numbers already, which are packed faster than with a call for each.
        """
        numbers = [*self._read(values)]
        for place, encode in self._coded:
            numbers[place] = encode(numbers[place])
        try:
            packed = self._pack(*numbers)
        except struct.error:  # one is no number, or too large for a float
            packed = b""
        if not packed or packed.count(_INFINITE) or packed.count(_MINUS_INFINITE):
            packed = self._pack(*[encode(values[slot]) for _, slot, encode in self._slots])
        return np.frombuffer(packed)

    def _encode_contacts(
        self, matrix: Matrix, rows: NDArray[np.intp], document: Document, now: int
    ) -> None:
        contacts = _counted(document, now)
        if not contacts:
            return
        for column, window in self._contact_counts:
            start = now - window
            matrix[:, column] = len([1 for contact in contacts if contact[1] > start])
        if not self._needs_own:
            return
        own = self._own_contacts(contacts, document)
        messages = self._message_of[rows]
        for column, window in self._message_counts:
            start = now - window
            counts = Counter([message for message, at in own if at > start])
            matrix[:, column] = self._by_message(counts, 0.0)[messages]
        for column in self._message_days:
            latest = dict(sorted(own, key=itemgetter(1)))
            days = {message: max(0, now - at) // DAY for message, at in latest.items()}
            matrix[:, column] = self._by_message(days, NAN)[messages]

    def _by_message(self, known: Mapping[int, float], otherwise: float) -> Matrix:
        """A number for each message index."""
        found = np.full(len(self._message_index), otherwise)
        for message, number in known.items():
            found[message] = number
        return found

    def _own_contacts(
        self, contacts: Sequence[Contact], document: Document
    ) -> list[tuple[int, int]]:
        """The message index and time of the contacts with a message of the candidates."""
        kinds, index = document.kinds, self._message_index
        return [
            (message, contact[1])
            for contact in contacts
            if (message := index.get(kinds[contact[0]].message)) is not None
        ]

    def features(
        self, candidate: int, values: Sequence[Value], document: Document, now: int
    ) -> dict[str, Value]:
        """The features of one candidate before encoding, without missing ones."""
        found: dict[str, Value] = {
            name: value for name, slot in self._logged if (value := values[slot]) is not MISSING
        }
        found.update(self._said[candidate])
        contacts = _counted(document, now) if self._needs_contacts else []
        for column, window in self._contact_counts:
            start = now - window
            found[self.names[column]] = len([1 for contact in contacts if contact[1] > start])
        if not self._needs_own:
            return found
        message = self._message_of.item(candidate)
        own = [at for index, at in self._own_contacts(contacts, document) if index == message]
        for column, window in self._message_counts:
            found[self.names[column]] = sum(at > now - window for at in own)
        for column in self._message_days:
            if own:
                found[self.names[column]] = max(0, now - max(own)) // DAY
        return found


def _counted(document: Document, now: int) -> list[Contact]:
    """The contacts that count."""
    return [
        contact
        for contact in document.contacts
        if contact[2] in _FOR_GOOD or now < counts_until(contact)
    ]
