"""Charts of reports as SVG: one drawing for pages, for files, and for pages in files.

Colours are classes of the style; a picture in a file brings them along (`STYLE`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final
from unicodedata import east_asian_width

from markupsafe import Markup

from decision.analytics.reports.answering import Bars
from decision.console.language import Language

WIDTH: Final = 560
STYLE: Final = (
    ".s1{fill:#0b7a70}.s2{fill:#b8651b}.s3{fill:#5b5bb5}.s4{fill:#a33a6f}.s5{fill:#4d7a1e}"
    ".s6{fill:#2f6fb0}.s7{fill:#7a6652}.s8{fill:#68727d}"
    ".drawn{font:14px system-ui,'Noto Sans CJK SC',sans-serif}.drawn text{fill:#515c67}"
)
"""Colours on white paper."""
MOST: Final = 40
"""Bars of a chart; the table has all."""
_ROW: Final = 44
_NUMBER: Final = 84
_WIDEST: Final = 58


def drawn(chart: Bars, language: Language, *, file: bool = False) -> Markup:
    """The picture of a chart; for a `file` of its own, with title, colours and white paper."""
    rows = [(language.say(name), value) for name, value in chart.rows[:MOST]]
    most = max((value for _, value in rows), default=0) or 1
    parts = []
    for place, (name, value) in enumerate(rows):
        number = language.percent(value) if chart.percent else _number(value, language)
        parts.append(
            Markup(
                '<text x="0" y="{}"><title>{}</title>{}</text>'
                '<rect class="s1" x="0" y="{}" width="{:.1f}" height="14" rx="2"/>'
                '<text x="{}" y="{}" text-anchor="end">{}</text>'
            ).format(
                place * _ROW + 17, name, _cut(name),
                place * _ROW + 23, max(1.0, (WIDTH - _NUMBER) * max(0.0, value) / most),
                WIDTH, place * _ROW + 35, number,
            )
        )  # fmt: skip
    title = language.say(chart.title)
    height = max(1, len(rows)) * _ROW
    if not file:
        return Markup(
            '<svg class="drawn" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
        ).format(WIDTH, height, title, Markup("").join(parts))
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="drawn" viewBox="-20 -44 {} {}" '
        'width="{}" height="{}"><title>{}</title><style>{}</style>'
        '<rect x="-20" y="-44" width="100%" height="100%" fill="#fff"/>'
        '<text x="0" y="-16" font-weight="600">{}</text>{}</svg>\n'
    ).format(
        WIDTH + 40, height + 64, WIDTH + 40, height + 64,
        title, Markup(STYLE), title, Markup("").join(parts),
    )  # fmt: skip


def _number(value: float, language: Language) -> str:
    return language.number(value, 0 if float(value).is_integer() else 2)


def _cut(name: str) -> str:
    """A name as long as a line of the picture.

    >>> _cut("x" * 70)[-3:], len(_cut("x" * 70)), len(_cut("周" * 70))
    ('xx…', 57, 28)
    """
    widths = accumulate(2 if east_asian_width(one) in "WF" else 1 for one in name)
    room = sum(width <= _WIDEST - 2 for width in widths)
    return name if room >= len(name) - 1 else name[:room] + "…"


def figures(charts: Sequence[Bars], language: Language) -> list[Markup]:
    """All charts of a report that have anything to show, as figures of a page."""
    return [
        Markup('<figure class="chart"><figcaption>{}</figcaption>{}</figure>').format(
            language.say(chart.title), drawn(chart, language)
        )
        for chart in charts
        if chart.rows
    ]
