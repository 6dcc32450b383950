"""Charts of reports as SVG: one drawing for pages, for files, and for pages in files.

Colours are classes of the style; a picture in a file brings them along (`STYLE`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from itertools import accumulate
from typing import Final
from unicodedata import east_asian_width

from markupsafe import Markup

from decision.analytics.reports.answering import Bars, OverTime
from decision.console.charts import HEIGHT, Series, band, stacked
from decision.console.charts import WIDTH as WIDE
from decision.console.language import Language, zone_of
from decision.console.report_cells import share_text

WIDTH: Final = 560
STYLE: Final = (
    ".s1{fill:#0b7a70;stroke:#0b7a70}.s2{fill:#b8651b;stroke:#b8651b}.s3{fill:#5b5bb5;stroke:#5b5bb5}"
    ".s4{fill:#a33a6f;stroke:#a33a6f}.s5{fill:#4d7a1e;stroke:#4d7a1e}.s6{fill:#2f6fb0;stroke:#2f6fb0}"
    ".s7{fill:#7a6652;stroke:#7a6652}.s8{fill:#68727d;stroke:#68727d}rect{stroke:none}"
    ".band{opacity:.22;stroke:none}.line{fill:none;stroke-width:2}.grid{stroke:#8884}.axis{stroke:#888}"
    "svg{font:12px system-ui,'Noto Sans CJK SC',sans-serif}.drawn{font-size:14px}"
    "svg text{fill:#515c67;stroke:none}"
)
"""Colours on white paper."""
MOST: Final = 40
"""Bars of a chart; the table has all."""
_ROW: Final = 44
_NUMBER: Final = 84
_WIDEST: Final = 58

Chart = Bars | OverTime


def figures(charts: Sequence[Chart], language: Language, zone: str) -> list[Markup]:
    """All charts of a report, as figures of a page. `zone` has the days of charts over time."""
    return [_figure(chart, language, zone) for chart in charts]


def picture_file(chart: Chart, language: Language, zone: str) -> Markup:
    """A chart as a file of its own, with title, legend, colours and white paper."""
    title, names = language.say(chart.title), []
    if isinstance(chart, Bars):
        width, height, picture = WIDTH, _height(chart), _bars(chart, language)
    else:
        width, height, names = WIDE, HEIGHT, [language.say(name) for name, _ in chart.rows]
        figure = str(_over_time(chart, language, zone))
        picture = Markup(figure[: figure.find("</svg>")].partition("<svg ")[2].partition(">")[2])
    legend = [
        Markup(
            '<rect class="s{}" x="0" y="{}" width="10" height="10"/><text x="16" y="{}">{}</text>'
        ).format(number % 8 + 1, height + number * 20 + 10, height + number * 20 + 20, name)
        for number, name in enumerate(names)
    ]
    size = (width + 40, height + len(legend) * 20 + 74)
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="drawn" viewBox="-20 -44 {} {}" '
        'width="{}" height="{}"><title>{}</title><style>{}</style>'
        '<rect x="-20" y="-44" width="100%" height="100%" fill="#fff"/>'
        '<text x="0" y="-16" font-weight="600">{}</text>{}{}</svg>\n'
    ).format(*size, *size, title, Markup(STYLE), title, picture, Markup("").join(legend))


def _figure(chart: Chart, language: Language, zone: str) -> Markup:
    if isinstance(chart, OverTime) and chart.days and chart.rows:
        return _over_time(chart, language, zone)
    title, picture = language.say(chart.title), Markup("<p>–</p>")
    if isinstance(chart, Bars) and chart.rows:
        picture = Markup(
            '<svg class="drawn" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
        ).format(WIDTH, _height(chart), title, _bars(chart, language))
    return Markup('<figure class="chart"><figcaption>{}</figcaption>{}</figure>').format(
        title, picture
    )


def _height(chart: Bars) -> int:
    return max(1, min(MOST, len(chart.rows))) * _ROW


def _bars(chart: Bars, language: Language) -> Markup:
    """A bar for each row, its name above it, its number beside it."""
    rows = [(language.say(name), value) for name, value in chart.rows[:MOST]]
    most = max((chart.most, *(value for _, value in rows))) or 1
    parts = []
    for place, (name, value) in enumerate(rows):
        number = share_text(value, language) if chart.percent else _number(value, language)
        wide = (WIDTH - _NUMBER) * max(0.0, value) / most
        parts.append(
            Markup(
                '<text x="0" y="{}"><title>{}</title>{}</text>'
                '<rect class="s1" x="0" y="{}" width="{:.1f}" height="14" rx="2"/>'
                '<text x="{}" y="{}" text-anchor="end">{}</text>'
            ).format(
                place * _ROW + 17, name, _cut(name),
                place * _ROW + 23, max(1.0, wide) if value else 0.0,
                WIDTH, place * _ROW + 35, number,
            )
        )  # fmt: skip
    return Markup("").join(parts)


def _over_time(chart: OverTime, language: Language, zone: str) -> Markup:
    times = [datetime.combine(day, time(), zone_of(zone)) for day in chart.days]
    rows = [Series(language.say(name), values) for name, values in chart.rows]
    title = language.say(chart.title)
    if not rows:
        return band(title, times, Series("", [None] * len(times)), language, zone=zone)
    if chart.stacked:
        step = times[-1] - times[-2] if len(times) > 1 else timedelta(days=1)
        return stacked(title, times, rows, language, zone=zone, step=step)
    return band(title, times, rows[0], language, others=rows[1:], zone=zone)


def _number(value: float, language: Language) -> str:
    return language.number(value, 0 if float(value).is_integer() else 2)


def _cut(name: str) -> str:
    """A name as long as a line of the picture.

    >>> _cut("x" * 70)[-3:], len(_cut("x" * 70)), len(_cut("周" * 70))
    ('xx…', 57, 29)
    """
    widths = accumulate(2 if east_asian_width(one) in "WF" else 1 for one in name)
    room = sum(width <= _WIDEST - 2 for width in widths)
    return name if room >= len(name) - 1 else name[:room] + "…"
