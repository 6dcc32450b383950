"""What may be asked of every report, and how texts become it.

The fields of a `Question` are the options of the command and the parameters of the API: their type,
their default and their description say all that both need.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from functools import cache
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from decision.archive.log_columns import Amount
from decision.core import calendar
from decision.core.clock import DAY, parse_duration, to_micros
from decision.core.definition import PolicyDefinition
from decision.core.errors import InputError, meant
from decision.core.local_days import BEGIN, END
from decision.core.said import Said

ANY: Final = "any"
"""In place of a type of event: every one but those about messages."""
CUSTOMER: Final = "customer"
"""The time zone that is each customer's own."""

Q = TypeVar("Q", bound="Question")


Names = Literal[
    "", "events", "called", "properties", "fields", "channels", "placements", "messages",
    "journeys", "funnels", "metrics", "experiments", "variants", "zones",
]  # fmt: skip
"""Of what an option has names: forms offer those of the policy, and `naming` checks them.

`called` are events, or values of the property by which these are called; `fields` are properties
of events (`event.device`), or fields of customers.
"""


def about(
    text: str,
    metavar: str = "TEXT",
    *,
    positional: bool = False,
    of: Names = "",
    afterwards: bool = False,
    **limits: Any,
) -> Meta:
    """The help of an option, what its value is called, and the limits of a number.

    `positional`: a command takes it without the name of the option, as in `report journey welcome`.
    `afterwards`: events of such a name count after the range as well.
    The text is a key of the console's catalogues.
    """
    extra = {"metavar": metavar, "positional": positional, "of": of, "afterwards": afterwards}
    return Meta(description=text, extra=extra, **limits)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What every report takes. Texts that are empty are not given."""

    from_: Annotated[
        str,
        about("What happened before this day (or time with an offset) does not count.", "DATE"),
    ] = msgspec.field(default="", name="from")
    until: Annotated[
        str,
        about("What happened on this day (or from this time on) does not count any more.", "DATE"),
    ] = ""
    timezone: Annotated[
        str,
        about(
            "Whose days these are: a name such as Asia/Shanghai, or customer: each customer's own. "
            "Left out: the time zone of the rules.",
            "ZONE",
            of="zones",
        ),
    ] = ""


class Option(NamedTuple):
    """One field of a question, as commands and the API need it.

    `type` is str, int, bool or list (texts, with commas between); `choices` are all it can be. `of`
    says of what it has names.
    """

    name: str
    help: str
    type: type
    default: Any
    choices: tuple[str, ...] = ()
    metavar: str = "TEXT"
    least: float | None = None
    most: float | None = None
    positional: bool = False
    of: Names = ""
    afterwards: bool = False

    @property
    def label(self) -> str:
        """What a form calls it, as a key of catalogues.

        >>> Option("per_customer", "", str, "").label
        'per customer'
        """
        return self.name.replace("_", " ")


@cache
def options_of(question: type[Question]) -> tuple[Option, ...]:
    """The options of a kind of question, those of its own first."""
    own = list(msgspec.structs.fields(question))
    shared = {field.name for field in msgspec.structs.fields(Question)}
    own.sort(key=lambda field: field.name in shared)
    return tuple(_option(field) for field in own)


def _option(field: msgspec.structs.FieldInfo) -> Option:
    kind, meta = field.type, Meta()
    if get_origin(kind) is Annotated:
        kind, meta = get_args(kind)
    choices: tuple[str, ...] = ()
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(one for one in get_args(kind) if one is not type(None))
    if get_origin(kind) is Literal:
        kind, choices = str, get_args(kind)
    if get_origin(kind) is list:
        kind = list
    default = field.default if field.default is not msgspec.NODEFAULT else None
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    return Option(
        name=field.encode_name,
        help=meta.description or "",
        type=kind,
        default=default,
        choices=choices,
        metavar=(meta.extra or {}).get("metavar", "TEXT"),
        least=meta.ge,
        most=meta.le,
        positional=(meta.extra or {}).get("positional", False),
        of=(meta.extra or {}).get("of", ""),
        afterwards=(meta.extra or {}).get("afterwards", False),
    )


def asked(question: type[Q], given: Mapping[str, Any]) -> Q:
    """A question out of texts, as options and parameters of addresses have them.

    Raises:
        InputError: there is no such option, or it cannot have the value.
    """
    known = {option.name: option for option in options_of(question)}
    made: dict[str, Any] = {}
    for name, value in given.items():
        option = known.get(name)
        if option is None:
            there = nearest(name, known) or Said("; there are %(names)s", names=", ".join(known))
            raise InputError(name[:60], Said("there is no such option%(there)s", there=there))
        if value is None or value == "":
            continue
        if option.type is list and isinstance(value, str):
            value = [one.strip() for one in value.split(",")]
        if option.choices and value not in option.choices:
            choices = [one for one in option.choices if one]
            there = nearest(str(value), choices) or Said("; write %(one)s", one=", ".join(choices))
            text = Said("it cannot be %(given)s%(there)s", given=repr(str(value)[:60]), there=there)
            raise InputError(name, text)
        if option.type is int:
            _check_number(option, value)
        made[name] = value
    try:
        return msgspec.convert(made, question, strict=False)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        raise InputError(place.rstrip("`") or "query", reason) from None


def _check_number(option: Option, value: Any) -> None:
    """Says between which numbers one has to be."""
    text = str(value).strip()
    number = int(text) if text.removeprefix("-").isdecimal() and len(text) < 16 else None
    least, most = option.least, option.most
    if number is not None and (
        (least is None or number >= least) and (most is None or number <= most)
    ):
        return
    if most is None:
        raise InputError(option.name, Said("write a whole number, from %(least)s on", least=least))
    raise InputError(
        option.name,
        Said("write a whole number from %(least)s to %(most)s", least=least, most=most),
    )


def nearest(name: str, known: Iterable[str]) -> Said | str:
    """The end of a sentence about a name that is not known: the nearest that is; "": none is near.

    >>> nearest("purchas", ["purchase", "visit"])
    '; did you mean "purchase"?'
    """
    near = meant(name, known).removeprefix('; did you mean "').removesuffix('"?')
    return Said('; did you mean "%(name)s"?', name=near) if near else ""


def not_there(option: str, kind: Said, name: str, known: Iterable[str]) -> InputError:
    """The error of a name that the policy does not have; `kind` is what it would be.

    >>> not_there("funnel", Said("funnel"), "buuy", ["buy"]).detail
    '"buuy" is not a funnel of the policy; did you mean "buy"?'
    """
    names = sorted(known)
    there = nearest(name, names) or (
        Said("; known are %(names)s", names=", ".join(names[:20])) if names else ""
    )
    text = Said(
        '"%(name)s" is not a %(kind)s of the policy%(there)s',
        name=name[:60], kind=kind, there=there or Said("; it has none"),
    )  # fmt: skip
    return InputError(option, text)


class Range(NamedTuple):
    """From when (included) to when (excluded) something counts, in microseconds.

    The ends are local times of `zone`, or of each customer's own where `zone` is `customer`, and
    `home` for those who have none.
    """

    begin: int
    end: int
    zone: str
    home: str
    first: date | int | None = None
    last: date | int | None = None

    @property
    def shift(self) -> int:
        """How much earlier or later the ends may be for some customers, at most."""
        return DAY if self.zone == CUSTOMER else 0

    def within(self, zone: str) -> tuple[int, int]:
        """The range in a time zone."""
        begin = BEGIN if self.first is None else _moment(self.first, zone)
        return begin, END if self.last is None else _moment(self.last, zone)


def range_of(question: Question, policy: PolicyDefinition | None) -> Range:
    """The range that a question means.

    Raises:
        InputError: a day or a time zone is none, or the range ends before it begins.
    """
    home = policy.settings.timezone if policy else "UTC"
    zone = question.timezone or home
    if zone != CUSTOMER and calendar.known_zone(zone) is None:
        near = calendar.zone_hint(zone)
        raise InputError(
            "timezone",
            Said("%(zone)s is not a time zone; %(hint)s, or customer", zone=zone[:60], hint=near),
        )
    first = _day("from", question.from_)
    last = _day("until", question.until)
    found = Range(0, 0, zone, home if zone == CUSTOMER else zone, first, last)
    begin, end = found.within(found.home)
    if begin >= end:
        raise InputError("until", Said("the range ends before it begins; until is not included"))
    return found._replace(begin=begin, end=end)


def _day(name: str, text: str) -> date | int | None:
    if not text:
        return None
    try:
        if len(text) == len("2026-11-01"):
            return date.fromisoformat(text)
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return to_micros(found)
    except ValueError:
        pass
    raise InputError(
        name,
        Said(
            "%(given)s is not a day; write it as 2026-11-21, or 2026-11-21T10:00:00+08:00",
            given=repr(text[:60]),
        ),
    )


def _moment(at: date | int, zone: str) -> int:
    if isinstance(at, int):
        return at
    try:
        return calendar.day_start(at, calendar.zone(zone))
    except OverflowError:
        return to_micros(datetime.combine(at, time(), calendar.zone("UTC")))


def property_path(name: str, text: str) -> str | None:
    """The JSON pointer of a property that an option names as `event.device`; None: it is empty.

    Raises:
        InputError: it is another field.
    """
    if not text:
        return None
    own = text.removeprefix("event.")
    if own == text or not own:
        raise InputError(
            name,
            Said(
                "%(given)s is not in the archive; write event. and the name of a property",
                given=text[:60],
            ),
        )
    return Amount("", own).path


def duration(name: str, text: str) -> int:
    """Microseconds of a duration that an option has.

    Raises:
        InputError: it is none.
    """
    try:
        return parse_duration(text)
    except ValueError:
        wrong = Said(
            "%(given)s is not a duration; write it as 30s, 15m, 48h or 7d", given=repr(text[:60])
        )
        raise InputError(name, wrong) from None
