"""Comparisons that are valid, and probably not what was meant."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, Final

from decision.core.clock import DAY, format_duration, parse_duration
from decision.core.events import LONGEST_WINDOW
from decision.core.fields import DATE_MEASURES, FAMILIES, UnknownField, parse_field
from decision.rulebook import readings
from decision.rulebook.characters import in_words, spaced, strange

_ORDERED: Final = ("gt", "gte", "lt", "lte")
_FIELD: Final = re.compile(
    r"[${\s]*(?:field\s*:?\s+)?([a-z]+\.[^\s{}]+)(?:\s*[}|][^{]*|\s+([-+*/×])\s.*)?", re.DOTALL
)
"""The name of a field as people write it in a text: bare, in braces, calculated with."""
_DIGITS: Final = re.compile(r"\s*(-?[0-9]{1,9})\s*(?:d|days?|天|日|岁|次|years?)?\s*")
_VERSION: Final = re.compile(r"[vV]?[0-9]+\.[0-9]+\.[0-9]+([-+.][0-9A-Za-z.+-]*)?")
_SEVERAL: Final = re.compile(r"\s*[，、；]\s*|\s+(?:or|oder|ou|或者?)\s+|\s*[|]{1,2}\s*")
_TRUTH: Final = re.compile("yes|no|on|off|y|n|是|否|ja|nein|oui|non", re.IGNORECASE)
_NOTHING: Final = re.compile("none|nil|n/?a|empty|missing|无|空|undefined", re.IGNORECASE)
_TODAY: Final = re.compile("today|now|heute|aujourd'hui|今天|今日", re.IGNORECASE)
_MONTHS: Final = ("1m", "2m", "3m", "6m", "9m", "12m", "18m", "24m")
_DAYS: Final = ("28h", "30h", "60h", "90h", "180h", "365h")
"""Windows that nobody means: months, and days, with the wrong unit."""


def meant(operator: str, value: Any, kind: str = "") -> str:
    """A hint where the name of a field was written as a text, or a number with its unit.

    `kind` is that of the field. Empty where nothing is clear.

    >>> meant("gt", "customer.limit"), meant("eq", "> 3", "number")
    ('to compare with the field, write {gt: {field: customer.limit}}', 'write {gt: 3}')
    >>> meant("eq", "order.shipped"), meant("eq", "field of tea")
    ('', '')
    """
    if not isinstance(value, str) or len(value) > 200:
        return ""
    compared = readings.comparison(value) if operator == "eq" and kind != "text" else {}
    if compared and (
        kind != "number" or all(isinstance(n, int | float) for n in compared.values())
    ):
        return f"write {{{readings.as_yaml(compared)}}}"
    if kind == "number":
        whole = _DIGITS.fullmatch(value)
        digits = whole[1] if whole else readings.number(value)
        if digits:
            return f"write {digits}, without quotes and units"
    if kind == "boolean" and (truth := readings.truth(value)) is not None:
        return f"write {readings.as_yaml(truth)}"
    found = _FIELD.fullmatch(value)
    if found is None or not field_in(value):
        return ""
    if operator in ("in", "not_in"):
        return f"to compare with the field, write any: [{{…: {{eq: {{field: {found[1]}}}}}}}, …]"
    fix = f"write {{{operator}: {{field: {found[1]}}}}}"
    if found[2]:
        return f"nothing can be calculated; to compare with the field alone, {fix}"
    return f"to compare with the field, {fix}"


def field_in(value: Any) -> str:
    """The field that a text names: bare, in braces, with a default, calculated with; or "".

    >>> field_in("{{ customer.limit | default(3) }}"), field_in("unlimited"), field_in(3)
    ('customer.limit', '', '')
    """
    found = _FIELD.fullmatch(value) if isinstance(value, str) and len(value) <= 200 else None
    if found is None:
        return ""
    try:
        return parse_field(found[1]).name
    except UnknownField:
        return ""


def is_of_version(field: str) -> bool:
    """Whether a field is called a version."""
    return re.search(r"version|版本|[._]ver$", field, re.IGNORECASE) is not None


def doubtful(
    operator: str, value: Any, quoted: bool = True, field: str = ""
) -> tuple[str, str] | None:
    """What is doubtful about a text that a field is compared with, and a hint.

    A field that is called a version has versions, also where they look like numbers.
    Quotes say that a text is meant, so some things are doubtful only without them.
    """
    if operator in ("contains", "matches") or not isinstance(value, str) or len(value) > 200:
        return None
    as_text = f'"{value}" is compared as a text, letter by letter'
    if hint := meant(operator, value, "any"):
        if hint.startswith("write "):
            hint += f"; for exactly that text, write {{in: [{readings.in_quotes(value)}]}}"
        return as_text, hint
    if operator in _ORDERED:
        is_version = is_of_version(field) and readings.number(value)
        if is_version or _VERSION.fullmatch(value):
            return (
                f'"{value}" is compared as a text; as texts, "2.10.0" is less than "2.9.0"',
                f'for versions, write {{v{operator}: "{value}"}}',
            )
        if digits := readings.number(value):
            return f'{as_text}; as texts, "9" is more than "10"', f"write {digits}"
        return None
    if value.strip("*") != value and len(value) < 100:
        fix = f"{{{readings.as_yaml(wildcard(value, '*'))}}}"
        return f"{as_text}; * does not stand for other letters", f"write {fix}"
    return None if quoted else _unquoted(value)


def _unquoted(value: str) -> tuple[str, str] | None:
    """What is doubtful about a text without quotes."""
    itself = f"for exactly that text, write {readings.in_quotes(value)}"
    parts = [part.strip("\"'“”‘’ ") for part in _SEVERAL.split(value)]
    if len(parts) > 1 and all(parts):
        message = f'"{value}" is one text'
        return message, f"for several, write {{in: {readings.as_yaml(parts)}}}; {itself}"
    at = strange(value)
    if at >= 0 and (spaced(value).isascii() or value[at] in (value[0], value[-1])):
        bare = spaced(value).strip("\"'")
        return f"{in_words(value[at])}, and part of the text", f"write {bare}; {itself}"
    if _TRUTH.fullmatch(value):
        fix = readings.as_yaml(readings.truth(value))
        return f'{value} is the text "{value}", not {fix}', f"write {fix}; {itself}"
    if _NOTHING.fullmatch(value):
        return f'{value} is the text "{value}"', f"write {{exists: false}}; {itself}"
    if _TODAY.fullmatch(value):
        return (
            f'{value} is the text "{value}", not a date',
            f"compare a measure of the date, such as customer.birthday.anniversary_in: 0; {itself}",
        )
    return None


def wildcard(text: str, sign: str) -> dict[str, Any]:
    """Operator → value for a text in which a sign stands for other letters.

    >>> wildcard("A*", "*"), wildcard("*", "*"), wildcard("%a%", "%")
    ({'matches': '^A'}, {'exists': True}, {'matches': 'a'})
    """
    inner = text.strip(sign)
    if not inner:
        return {"exists": True}
    start = "" if text.startswith(sign) else "^"
    end = "" if text.endswith(sign) else "$"
    middle = ".*".join(map(re.escape, inner.split(sign)))
    return {"matches": f"{start}{middle}{end}"}


def meant_field(name: str) -> str:
    """The field that a name with a wrong ending means; empty where that is not clear.

    >>> meant_field("events.purchase.count_7days"), meant_field("purchase.coutn_7d")
    ('events.purchase.count_7d', 'events.purchase.count_7d')
    >>> meant_field("events.purchase.count_1y"), meant_field("events.purchase.active_days_7")
    ('events.purchase.count_90d', 'events.purchase.active_days_7d')
    """
    if name == "event":
        return "event.type"
    start, _, last = name.rpartition(".")
    word, _, window = last.rpartition("_")
    if not start.startswith(("events.", "contacts.")):
        start = f"events.{start.removeprefix('event.')}"
        if not start.removeprefix("events."):
            return ""
    if not word or not window[:1].isdigit():
        near = get_close_matches(last, ("days_since", "count"), 1, 0.75)
        if near and near[0] != last and _misspells_family(name):
            return ""  # custmer.country is no count
        return _known(f"{start}.{near[0]}") if near else ""
    word = next(iter(get_close_matches(word, ("count", "active_days"), 1, 0.6)), word)
    length = f"{window}d" if window.isdigit() else readings.duration(window)
    if length and parse_duration(length) > LONGEST_WINDOW:
        length = format_duration(LONGEST_WINDOW)
    return _known(f"{start}.{word}_{length}") if length else ""


def _misspells_family(name: str) -> bool:
    family = name.partition(".")[0]
    return family not in FAMILIES and bool(get_close_matches(family, FAMILIES, 1, 0.75))


def _known(name: str) -> str:
    try:
        return parse_field(name).name
    except UnknownField:
        return ""


def doubtful_window(window: str) -> tuple[str, str] | None:
    """What is doubtful about a duration, and what may be meant.

    >>> doubtful_window("3m")
    ('3m is 3 minutes, not 3 months', '90d')
    >>> doubtful_window("30h"), doubtful_window("5m")
    (('30h is 30 hours, not 30 days', '30d'), None)
    """
    count = window[:-1]
    if window in _MONTHS:
        days = min(int(count) * 30, LONGEST_WINDOW // DAY)
        return f"{window} is {count} minutes, not {count} months", f"{days}d"
    if window in _DAYS:
        days = min(int(count), LONGEST_WINDOW // DAY)
        return f"{window} is {count} hours, not {count} days", f"{days}d"
    return None


def exactly(window: str) -> str:
    """The same duration in a smaller unit, which nobody mistakes: `180s` for `3m`."""
    return f"{int(window[:-1]) * 60}{'s' if window.endswith('m') else 'm'}"


_DATED: Final = re.compile(r"birth|date|day$|_at$|_on$|生日|日期")
"""Names of attributes that are dates: in others, `age` may be a part of an object."""
_MEASURES: Final = {
    **dict.fromkeys(("age", "years", "years_old", "年龄"), "years_since"),
    **dict.fromkeys(("today", "is_today", "anniversary", "next_in", "in"), "anniversary_in"),
    **dict.fromkeys(("days_to", "days_left", "in_days", "days_before"), "days_until"),
    **dict.fromkeys(("days", "days_ago"), "days_since"),
}
"""What people call the measures of a date."""
_OTHER_UNITS: Final = re.compile(
    "(?:hours|minutes|weeks|months)_(?:since|until|ago|to|left|before)"
)


_PARTS: Final = {
    "year": ("^{:0>4}-", "yyyy"),
    "month": ("-{:0>2}-", "MMMM"),
    "day": ("-{:0>2}$", "d"),
    "年": ("^{:0>4}-", "yyyy"),
    "月": ("-{:0>2}-", "MMMM"),
    "日": ("-{:0>2}$", "d"),
}
"""Part of a date → what `matches` finds it by, and its letters in formats."""


def part_of_date(name: str) -> tuple[str, str, str] | None:
    """(attribute, what `matches` finds, format) of a part of an attribute that is a date.

    >>> part_of_date("customer.birthday.month"), part_of_date("customer.plan.month")
    (('customer.birthday', '-{:0>2}-', 'MMMM'), None)
    """
    start, _, last = name.rpartition(".")
    if last not in _PARTS or not start.startswith(("customer.", "event.")):
        return None
    return (start, *_PARTS[last]) if _DATED.search(start) else None


def doubtful_part(name: str, value: Any) -> tuple[str, str] | None:
    """What is doubtful about a part of a date in a condition, and a hint.

    >>> doubtful_part("customer.birthday.month", 2)[1]
    'write customer.birthday: {matches: "-02-"}'
    """
    part = part_of_date(name)
    if part is None:
        return None
    attribute, pattern, _ = part
    several = value.get("in", value.get("eq")) if isinstance(value, dict) else value
    listed = several if isinstance(several, list) else [several]
    wanted = [one for one in listed if isinstance(one, int) and not isinstance(one, bool)]
    found = "|".join(pattern.format(one) for one in wanted or [2])
    message = f"{attribute} has such a part only where it is an object, no date"
    fix = f"write {attribute}: {{matches: {readings.in_quotes(found)}}}"
    return message, fix if wanted else f"for the number 2, {fix}"


def doubtful_name(name: str) -> tuple[str, str] | None:
    """What is doubtful about the name of a field: a window, brackets, nearly a measure of a date.

    >>> doubtful_name("customer.birthday.days_untill")[1]
    'did you mean "customer.birthday.days_until"?'
    >>> doubtful_name("customer.birthday.age")[1], doubtful_name("customer.pet.age")
    ('did you mean "customer.birthday.years_since"?', None)
    >>> doubtful_name("events.purchase.count_3m")[1]
    'write events.purchase.count_90d; for the minutes, write events.purchase.count_180s'
    """
    family, _, rest = name.partition(".")
    start, _, last = rest.rpartition(".")
    if not start or start.partition(".")[0] == "segment":
        return None
    if family in ("events", "contacts"):
        before, _, window = name.rpartition("_")
        if found := doubtful_window(window):
            unit = "minutes" if window.endswith("m") else "hours"
            fix = f"write {before}_{found[1]}; for the {unit}, write {before}_{exactly(window)}"
            return found[0], fix
        if brackets := re.search(r"[()\[\]{}<>]", start):
            message = f'{name} counts events whose type has "{brackets[0]}" in its name'
            kind = re.split(r"[\s()\[\]{}<>]", start)[0] or "purchase"
            fix = f"events: {{tea: {{of: {kind}, when: {{event.category: tea}}}}}}"
            return message, f"to count only some of them, define what they are: {fix}"
        return None
    if family in ("event", "context") and last in DATE_MEASURES:
        message = f"{name} is a value of exactly that name; only dates of customers have measures"
        return message, "store the date as an attribute of the customer"
    if family == "event" and re.fullmatch("count(_[0-9]+[smhd])?|active_days_[0-9]+d", last):
        message = f"{name} is a property of the event that asks, not a count"
        return message, f"write events.{start}.{last}"
    if family != "customer" or last in DATE_MEASURES:
        return None
    near = get_close_matches(last, DATE_MEASURES, 1, 0.75)
    if last in _MEASURES and _DATED.search(start):
        near = [_MEASURES[last]]
    if not near and _DATED.search(start) and _OTHER_UNITS.fullmatch(last):
        message = (
            f"{name} is an attribute of exactly that name; dates are measured in days and years"
        )
        return message, f"write customer.{start}.days_since or customer.{start}.days_until"
    if not near:
        return None
    message = f"{name} is an attribute of exactly that name"
    return message, f'did you mean "customer.{start}.{near[0]}"?'
