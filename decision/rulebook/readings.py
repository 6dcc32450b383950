"""What people mean by values that YAML takes for texts: `¥12`, `7 days`, `24.12.2026`, `>= 30`.

Each function answers with the value as rule files have it, or with "" where it is not clear. They
are for hints only: nothing is read this way.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime, tzinfo
from typing import Any, Final

from decision.core.clock import DAY, HOUR, MINUTE, SECOND, format_duration
from decision.rulebook.characters import plain
from decision.rulebook.yaml_scalars import ScalarError, resolve

_MONEY: Final = (
    r"(?:[A-Z]{3}|US\$|[$€£¥₹₩₽]|[元块人次岁]|[欧美日]元|[Ee]uros?|[Dd]ollars?|[Yy]uan|times?)"
)
_NUMBER: Final = re.compile(rf"{_MONEY}?\s*(-?[0-9][0-9.,' ]*)\s*([kKmM万千]|%)?\s*{_MONEY}?")
_FACTORS: Final = {
    "k": 1_000,
    "K": 1_000,
    "千": 1_000,
    "m": 1_000_000,
    "M": 1_000_000,
    "万": 10_000,
}
_NUMBER_WORDS: Final = {
    **dict.fromkeys(("one", "once", "eins", "un", "一"), "1"),
    **dict.fromkeys(("two", "twice", "zwei", "deux", "二", "两"), "2"),
    **dict.fromkeys(("three", "drei", "trois", "三"), "3"),
    **dict.fromkeys(("five", "fünf", "cinq", "五"), "5"),
    **dict.fromkeys(("ten", "zehn", "dix", "十"), "10"),
}
_UNIT_WORDS: Final = {
    SECOND: "s|sec|secs|seconds?|秒",
    MINUTE: "m|mins?|minutes?|minuten?|分钟?",
    HOUR: "h|hrs?|hours?|stunden?|heures?|小时|时",
    DAY: "d|days?|tage?n?|jours?|天|日",
    7 * DAY: "w|wks?|weeks?|wochen?|semaines?|周|星期",
    30 * DAY: "mo|mon|months?|monate?|mois|个?月",
    365 * DAY: "y|yrs?|years?|jahre?|ans?|年",
}
_UNITS: Final = {re.compile(words, re.IGNORECASE): micros for micros, words in _UNIT_WORDS.items()}
_PART: Final = re.compile(r"\s*([0-9]+(?:[.,][0-9]+)?)\s*(个?[^\W\d_]+)\.?")
_ISO: Final = re.compile(r"([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?")
_DAY_FIRST: Final = re.compile(r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4})")
_WEEKDAYS: Final = {
    name: re.compile(words)
    for name, words in {
        "mon": "mon(day|tag)?|mo|lundi|(周|星期|礼拜)一|1",
        "tue": "tue(s|sday)?|dienstag|di|mardi|(周|星期|礼拜)二|2",
        "wed": "wed(s|nesday)?|mittwoch|mi|mercredi|(周|星期|礼拜)三|3",
        "thu": "thu(r|rs|rsday)?|donnerstag|do|jeudi|(周|星期|礼拜)四|4",
        "fri": "fri(day)?|freitag|fr|vendredi|(周|星期|礼拜)五|5",
        "sat": "sat(urday)?|samstag|sonnabend|sa|samedi|(周|星期|礼拜)六|6",
        "sun": "sun(day)?|sonntag|so|dimanche|(周|星期|礼拜)[日天]|[07]",
    }.items()
}
_TIME: Final = re.compile(
    r"([0-9]{1,2})(?:[:.h]([0-9]{2})(?::00)?|h|点|时|(?=\s*[aApP]))\s*([aApP]\.?[mM]\.?|[Uu]hr)?"
)
_SECONDS: Final = re.compile(r"([0-9]{2}):([0-9]{2}):[0-9]{2}")
_COMPARED: Final = re.compile(r"(>=|<=|=>|=<|>|<|!=|<>|==?|≥|≤|≠|not |at least |at most )\s*(.*)")
_RANGE: Final = re.compile(r"(-?[0-9.]+)\s*(?:-|–|—|\.\.+|…|~|to|bis|至|到)\s*(-?[0-9.]+)")
_OPERATORS: Final = {
    **dict.fromkeys((">=", "=>", "≥", "at least "), "gte"),
    **dict.fromkeys(("<=", "=<", "≤", "at most "), "lte"),
    **dict.fromkeys(("!=", "<>", "≠", "not "), "ne"),
    **dict.fromkeys(("=", "=="), "eq"),
    ">": "gt",
    "<": "lt",
}
_YES: Final = ("yes", "y", "on", "是", "对", "真", "ja", "oui", "true", "1")
_NO: Final = ("no", "n", "off", "否", "不", "假", "nein", "non", "false", "0")
CURRENCIES: Final = {
    **dict.fromkeys(("rmb", "¥", "￥", "yuan", "元", "人民币"), "CNY"),
    **dict.fromkeys(("€", "euro", "euros"), "EUR"),
    **dict.fromkeys(("$", "us$", "dollar", "dollars"), "USD"),
    "£": "GBP",
}
"""What people write, in small letters → the code of the currency."""
_PLAIN: Final = re.compile(r"[^\s\-?:,\[\]{}#&*!|>'\"%@`][^:#,\[\]{}\n\"]*(?<!\s)")


def as_yaml(value: Any) -> str:
    """A value on one line, as a rule file can have it.

    >>> as_yaml({"any": [{"customer.vip": True}, {"customer.city": "上海"}]})
    'any: [{customer.vip: true}, {customer.city: 上海}]'
    """
    if isinstance(value, dict) and value:
        return ", ".join(f"{_flow(key)}: {_flow(one)}" for key, one in value.items())
    return _flow(value)


def in_quotes(text: str) -> str:
    """A text in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _flow(value: Any) -> str:
    match value:
        case dict():
            return f"{{{as_yaml(value) if value else ''}}}"
        case list() | tuple():
            return f"[{', '.join(map(_flow, value))}]"
        case str():
            return value if _is_plain(value) else in_quotes(value)
    return json.dumps(value)


def _is_plain(text: str) -> bool:
    try:
        return _PLAIN.fullmatch(text) is not None and resolve(text) == text
    except ScalarError:
        return False


def number(text: str) -> str:
    """Digits for a number with a currency, a unit, or a comma.

    >>> [number(one) for one in ("¥12", "12,50 €", "1,200", "1.200,50", "10k", "20%", "12 pcs")]
    ['12', '12.50', '1200', '1200.50', '10000', '0.2', '']
    """
    if text.strip().lower() in _NUMBER_WORDS:
        return _NUMBER_WORDS[text.strip().lower()]
    found = _NUMBER.fullmatch(plain(text.replace("￥", "¥")).strip())
    if found is None:
        return ""
    digits = _digits(found[1].strip())
    if not digits or not found[2]:
        return digits
    amount = float(digits)
    amount = amount / 100 if found[2] == "%" else amount * _FACTORS[found[2]]
    return f"{amount:.10g}" if abs(amount) < 1e9 else ""


def _digits(text: str) -> str:
    text = re.sub(r",\s+", ",", text)
    if re.fullmatch(r"-?[0-9]{1,3}(?:([,' .])[0-9]{3})(?:\1[0-9]{3})*", text) and "." not in text:
        return re.sub("[,' ]", "", text)
    if re.fullmatch(r"-?[0-9]{1,3}(\.[0-9]{3})+,[0-9]+", text):
        return text.replace(".", "").replace(",", ".")
    if re.fullmatch(r"-?[0-9]{1,3}([,' ][0-9]{3})+\.[0-9]+", text):
        return re.sub("[,' ]", "", text)
    if re.fullmatch(r"-?[0-9]+,[0-9]+", text):
        return text.replace(",", ".")
    return text if re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", text) else ""


def duration(text: str) -> str:
    """A duration with the units of rule files.

    >>> [duration(one) for one in ("7 days", "1w", "7天", "1.5h", "1h30m", "3 months", "7D", "x")]
    ['7d', '7d', '7d', '90m', '90m', '90d', '7d', '']
    """
    text, total, at = _with_digits(plain(text).strip()), 0.0, 0
    while at < len(text):
        part = _PART.match(text, at)
        unit = part and _unit(part[2])
        if not part or not unit:
            return ""
        total += float(part[1].replace(",", ".")) * unit
        at = part.end()
    if not total or total % SECOND:
        return ""
    return format_duration(int(total)) if total < 48 * HOUR or total % DAY else f"{total / DAY:g}d"


_CHINESE: Final = {
    "半": "0.5",
    "一": "1",
    "两": "2",
    "二": "2",
    "三": "3",
    "四": "4",
    "五": "5",
    "六": "6",
    "七": "7",
    "八": "8",
    "九": "9",
    "十": "10",
}


def _with_digits(text: str) -> str:
    """A text that begins with a Chinese number, as digits: 一个月 is 1个月."""
    return _CHINESE[text[0]] + text[1:] if text[:1] in _CHINESE else text


def _unit(text: str) -> int:
    if text == "M":
        return 30 * DAY
    return next((micros for words, micros in _UNITS.items() if words.fullmatch(text)), 0)


def day(text: str) -> str:
    """A date as rule files have it.

    >>> [day(one) for one in ("24.12.2026", "12/24/2026", "2026年1月5日", "3/4/2026", "Xmas")]
    ['2026-12-24', '2026-12-24', '2026-01-05', '', '']
    """
    text = plain(text).strip()
    if found := _ISO.fullmatch(text):
        return _date(found[1], found[2], found[3])
    found = _DAY_FIRST.fullmatch(text)
    if found is None:
        return ""
    first, sign, second, year = found.groups()
    if sign == ".":
        return _date(year, second, first)
    possible = {one for one in (_date(year, second, first), _date(year, first, second)) if one}
    return possible.pop() if len(possible) == 1 else ""


def moment(text: str, zone: tzinfo) -> str:
    """A date, or a time with the offset of a time zone.

    >>> from datetime import UTC
    >>> moment("12.11.2026", UTC), moment("2026-11-12 23:59", UTC)
    ('2026-11-12', '2026-11-12T23:59:00+00:00')
    """
    date_, _, rest = plain(text).strip().replace("T", " ").partition(" ")
    found, at = day(date_), clock(rest.strip()) if rest.strip() else ""
    if not rest.strip() or not found:
        return found
    if not at:
        return ""
    seconds = rest.strip()[5:8] if _SECONDS.fullmatch(rest.strip()) else ":00"
    return datetime.fromisoformat(f"{found}T{at}{seconds}").replace(tzinfo=zone).isoformat()


_AFTER_NOON: Final = ("晚上", "下午", "傍晚", "夜里")
_PARTS_OF_DAY: Final = (*_AFTER_NOON, "早上", "上午", "凌晨", "清晨", "中午")


def clock(text: str) -> str:
    """A time of day as rule files have it.

    >>> [clock(one) for one in ("8:00", "10pm", "22.30", "22h", "22点", "25:00")]
    ['08:00', '22:00', '22:30', '22:00', '22:00', '']
    """
    text = plain(text).strip()
    part = next((one for one in _PARTS_OF_DAY if text.startswith(one)), "")
    text = text.removeprefix(part)
    found = _TIME.fullmatch(text) or _SECONDS.fullmatch(text)
    if found is None:
        return ""
    hour, minute = int(found[1]), int(found[2] or 0)
    if part in _AFTER_NOON and 1 <= hour < 12:
        hour += 12
    half = (found[3] or "" if found.re is _TIME else "").lower().replace(".", "")
    if half in ("pm", "am") and 1 <= hour <= 12:
        hour = hour % 12 + 12 * (half == "pm")
    return f"{hour:02}:{minute:02}" if hour < 24 and minute < 60 else ""


def weekday(text: str) -> str:
    """A day of the week as rule files have it.

    >>> weekday("周日"), weekday("Sonntag"), weekday("Saturday"), weekday("7"), weekday("Sunny")
    ('sun', 'sun', 'sat', 'sun', '')
    """
    word = text.strip().lower()
    return next((name for name, words in _WEEKDAYS.items() if words.fullmatch(word)), "")


def _date(year: str, month: str, of_month: str) -> str:
    try:
        return date(int(year), int(month), int(of_month)).isoformat()
    except ValueError:
        return ""


def comparison(text: str) -> dict[str, Any]:
    """Operator → value, for a comparison or a range that was written as a text.

    >>> comparison(">= 30"), comparison("30-40"), comparison("not 上海"), comparison("上海")
    ({'gte': 30}, {'gte': 30, 'lte': 40}, {'ne': '上海'}, {})
    """
    text = text.strip()
    if found := _RANGE.fullmatch(plain(text)):
        low, high = _scalar(found[1]), _scalar(found[2])
        if isinstance(low, int | float) and isinstance(high, int | float) and low < high:
            return {"gte": low, "lte": high}
        return {}
    found = _COMPARED.fullmatch(text) or _COMPARED.fullmatch(plain(text))
    if found is None or not found[2]:
        return {}
    return {_OPERATORS[found[1]]: _scalar(found[2])}


def _scalar(text: str) -> Any:
    try:
        return resolve(number(text) or text.strip("\"'"))
    except ScalarError:
        return text


def truth(value: Any) -> bool | None:
    """True or false for `yes`, `是` and the like; None for other values."""
    word = str(value).strip().lower()
    return True if word in _YES else False if word in _NO else None
