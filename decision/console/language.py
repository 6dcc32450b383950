"""Languages of the console: texts, numbers, dates.

The English text is the id. Translations are in `locales/<language>/*.po`, a file per page, all of
them one catalogue; Babel reads them, and they are not compiled.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_timedelta
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent
from markupsafe import Markup, escape

from decision.core.said import Counted, Joined, Said

LANGUAGES: Final = {"en": "English", "zh": "中文"}
"""Code → its own name."""

FOLDER: Final = Path(__file__).with_name("locales")


def N_(text: str) -> str:
    """Marks a text for the catalogue that is translated where it is shown."""
    return text


class Language:
    """One language: what templates and pages say in it.

    >>> Language("en").gettext("%(n)s customers", n=3)
    '3 customers'
    >>> Language("zh").number(1234567)
    '1,234,567'
    """

    def __init__(self, code: str) -> None:
        self.code = code
        self.locale = Locale.parse("zh_Hans_CN" if code == "zh" else code)
        self.tag = "zh-Hans" if code == "zh" else code
        self._texts = catalogue(code)

    def gettext(self, text: str, **values: object) -> str:
        """A text with its values put in. Where one of them is Markup, so is the result."""
        return _filled(self._texts.get(text, (text,))[0] or text, values)

    def ngettext(self, one: str, many: str, n: int, /, **values: object) -> str:
        """The form for `n`, which may also stand in it as `%(n)s`."""
        forms = self._texts.get(one)
        if forms is None or not forms[0]:
            found = one if n == 1 else many
        else:
            found = forms[-1]
        return _filled(found, {"n": self.number(n), **values})

    def say(self, text: str) -> str:
        """A text of the engine in this language, as far as it is a `Said`; any other as it is."""
        if not isinstance(text, Said):
            return text
        if isinstance(text, Joined):
            return self.gettext(text.template).join(map(self.say, text.parts))
        values = {
            name: self.say(value) if isinstance(value, str) else value
            for name, value in text.values.items()
        }
        if isinstance(text, Counted):
            return self.ngettext(text.template, text.many, text.n, **values)
        return self.gettext(text.template, **values)

    def known(self, text: str) -> str:
        """A text in this language, where the catalogue has it; else as it is."""
        return self.gettext(text) if text in self._texts else self.say(text)

    def told(self, text: str) -> Markup:
        """As `say`, for a page: what stays English is marked so."""
        if isinstance(text, Said) or self.code == "en":
            return escape(self.say(text))
        if text in self._texts:
            return escape(self.gettext(text))
        return Markup('<span lang="en">{}</span>').format(text)

    def number(self, value: float | Decimal, digits: int | None = None) -> str:
        """A number; with `digits`, that many after the point."""
        form = None if digits is None else "#,##0" + ("." + "0" * digits if digits else "")
        return str(format_decimal(value, form, locale=self.locale))

    def percent(self, share: float, digits: int = 1) -> str:
        """A share of 1 in percent."""
        form = "#,##0" + ("." + "0" * digits if digits else "") + "%"
        return str(format_percent(share, form, locale=self.locale))

    def day(self, at: datetime) -> str:
        """A day as the language writes it."""
        return str(format_date(at, "medium", locale=self.locale))

    def moment(self, at: datetime, zone: str) -> str:
        """A day and a time to the second, in a zone."""
        try:
            own = at.astimezone(zone_of(zone))
        except OverflowError:  # the first or last day of the calendar, somewhere else
            own = at
        return f"{self.day(own)} {own:%H:%M:%S}"

    def ago(self, at: datetime, now: datetime) -> str:
        """How long ago something was."""
        return str(format_timedelta(at - now, add_direction=True, locale=self.locale))

    def time(self, at: datetime | int, zone: str, *, named: bool = True) -> Markup:
        """A time as HTML, with the zone's name. `at` may be microseconds since 1970."""
        if isinstance(at, int):
            at = datetime.fromtimestamp(at / 1e6, UTC)
        shown = self.moment(at, zone)
        after = Markup(' <span class="zone">{}</span>').format(zone) if named else ""
        stamp = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Markup('<time datetime="{}" title="{} {}">{}</time>{}').format(
            stamp, shown, zone, shown, after
        )


@functools.cache
def language(code: str) -> Language:
    """The language with this code, which is one of `LANGUAGES`."""
    return Language(code)


def preferred(accept: str) -> str:
    """The language that `Accept-Language` asks for most, of those that there are; else English.

    >>> preferred("fr, zh-CN;q=0.8, en;q=0.5")
    'zh'
    """
    found: list[tuple[float, int, str]] = []
    for place, part in enumerate(accept.split(",")[:20]):
        name, _, quality = part.partition(";q=")
        code = name.strip()[:2].lower()
        try:
            weight = float(quality or 1)
        except ValueError:
            continue
        if code in LANGUAGES and weight > 0:
            found.append((-weight, place, code))
    return min(found)[2] if found else "en"


@functools.cache
def zone_of(name: str) -> ZoneInfo:
    """A zone by its IANA name; UTC where this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


@functools.cache
def catalogue(code: str) -> Mapping[str, tuple[str, ...]]:
    """Text → its translation, or its forms; empty for English."""
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted((FOLDER / code).glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, locale="zh_Hans_CN" if code == "zh" else code):
                if message.id:
                    plural = isinstance(message.id, list | tuple)
                    key = message.id[0] if plural else str(message.id)
                    forms = (
                        message.string if isinstance(message.string, tuple) else (message.string,)
                    )
                    found[key] = tuple(str(form or "") for form in forms)
    return found


def _filled(text: str, values: Mapping[str, object]) -> str:
    if not values:
        return text
    if any(isinstance(value, Markup) for value in values.values()):
        return Markup(escape(text)) % {name: escape(value) for name, value in values.items()}
    return text % values
