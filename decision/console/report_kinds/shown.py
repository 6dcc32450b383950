"""An answer as a page shows it: its texts in the reader's language, its cells as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from decision.analytics.reports.answering import Answer, Column, Shaded, Shown, Table, local
from decision.console.language import N_, Language
from decision.console.report_cells import cell
from decision.console.report_charts import figures
from decision.core.said import Said

_SHADES: Final = 5
_SHORT: Final = 24
"""Letters of a text that is not broken."""
ROWS: Final = 200
"""Rows of a table on the page; all are in the JSON."""


class ShownTable(NamedTuple):
    """`columns` as the macro of tables takes them; the first of a row is its name.

    A cell is its text and its class. `left_out` are rows that are not on the page.
    """

    title: str
    columns: Sequence[str | tuple[str, str]]
    rows: Sequence[Sequence[tuple[str, str]]]
    left_out: int


class ShownReport(NamedTuple):
    """What the page says of one answer."""

    warnings: Sequence[str]
    said: Sequence[str]
    about: str
    charts: Sequence[Markup]
    tables: Sequence[ShownTable]
    incomplete: Sequence[str]


def shown_report(
    found: Answer, shown: Shown, incomplete: Sequence[str], language: Language
) -> ShownReport:
    """A report in a language. `incomplete` is what it says of itself, as texts of `core.said`."""
    return ShownReport(
        [_sentence(one, language) for one in shown.warnings],
        [_sentence(one, language).rstrip(".。") for one in shown.said],
        _first_large(about(found, language)),
        figures(shown.charts, language, found.timezone),
        [_table(one, language) for one in shown.tables],
        [_sentence(one, language) for one in incomplete],
    )


def _class(value: str | float | None, text: str, column: Column) -> str:
    """The class of a cell: figures and short texts stay in one line; a share is a shade."""
    if isinstance(value, Shaded):
        return f"number shade-{min(_SHADES, int(value.share * _SHADES) + 1)}"
    if column.form != "text":
        return "number"
    return "long" if len(text) > _SHORT else "short"


def about(found: Answer, language: Language) -> str:
    """The range of an answer, its time zone, and how many it was counted from."""
    say = language.gettext
    begin, end = (local(at, found.timezone) for at in (found.from_, found.until))
    return say(
        N_("%(begin)s to %(end)s (%(zone)s); %(customers)s customers, %(events)s events"),
        begin=begin or say(N_("the beginning")),
        end=end or say(N_("the end")),
        zone=found.timezone,
        customers=language.number(found.customers),
        events=language.number(found.events),
    )


def _sentence(text: str, language: Language) -> str:
    """A text with a large first letter; a name stays as it is, also where it begins the text.

    >>> [_sentence(Said("%(name)s: ended", name=one), Language("en")) for one in ("a", Said("b"))]
    ['a: ended', 'B: ended']
    """
    if not isinstance(text, Said):
        return text
    begins = re.match(r"%\((\w+)\)s", text.template)
    name = begins is not None and not isinstance(text.values.get(begins[1]), Said)
    said = language.say(text)
    return said if name else _first_large(said)


def _first_large(text: str) -> str:
    return text[:1].upper() + text[1:]


def _table(table: Table, language: Language) -> ShownTable:
    shaded = {
        place
        for row in table.rows[:ROWS]
        for place, value in enumerate(row)
        if isinstance(value, Shaded)
    }
    columns = [
        (name, "number") if column.form != "text" or place in shaded else name
        for place, column in enumerate(table.columns)
        for name in [_sentence(column.name, language)]
    ]
    rows = [
        [
            (text := cell(value, column, language), _class(value, text, column))
            for value, column in zip(row, table.columns, strict=True)
        ]
        for row in table.rows[:ROWS]
    ]
    left_out = max(0, len(table.rows) - ROWS)
    return ShownTable(_sentence(table.title, language), columns, rows, left_out)
