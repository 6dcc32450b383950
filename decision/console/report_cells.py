"""A value of a report as text: the same on pages, in files and at a terminal."""

from __future__ import annotations

from typing import Final

from decision.analytics.reports.answering import Column
from decision.console.language import Language
from decision.core.clock import SECOND
from decision.core.said import lasting_about

_LEAST: Final = 0.001
"""What a share with one digit can show at least, but for 0."""


def cell(value: str | float | None, column: Column, language: Language) -> str:
    """A value as text.

    >>> english = Language("en")
    >>> cell(0.25, Column("of all", "share"), english), cell(None, Column("n"), english)
    ('25.0%', '')
    >>> cell(0.0004, Column("of all", "share"), english), cell(1200, Column("n"), english)
    ('<0.1%', '1,200')
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return language.say(value)
    if column.form == "share":
        return share_text(value, language)
    if column.form == "seconds":
        return language.say(lasting_about(round(value * SECOND)))
    return language.number(value, 0 if float(value).is_integer() else 2)


def share_text(value: float, language: Language) -> str:
    """A share of 1 in percent. One that is too small to show is not 0.

    >>> share_text(0.0, Language("en")), share_text(-0.0004, Language("en"))
    ('0.0%', '>-0.1%')
    """
    if 0 < abs(value) < _LEAST:
        return f"{'<' if value > 0 else '>-'}{language.percent(_LEAST)}"
    return language.percent(value)
