"""Charts as SVG, made by the server: bars, stacked bars over time, a line with a band.

Each is a figure with a title and, for who cannot see it, the same numbers as a table. Colours are
classes of the style (`s1` to `s8`). Templates call them as `bars`, `stacked` and `band`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from markupsafe import Markup

from decision.console.chart_axes import date_ticks, number_ticks
from decision.console.language import N_, Language

WIDTH: Final = 720
HEIGHT: Final = 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 8, 26
_COLOURS: Final = 8


class Series(NamedTuple):
    """A named row of numbers, one for each time; None where there is none."""

    name: str
    values: Sequence[float | None]


class _Frame(NamedTuple):
    """Where values are: from a share of the width, and a value, to places in the picture."""

    x: Callable[[float], float]
    y: Callable[[float], float]
    parts: list[Markup]


def bars(
    title: str,
    rows: Sequence[tuple[str, float]],
    language: Language,
    *,
    percent: bool = False,
    none: str = "",
) -> Markup:
    """Horizontal bars, one per row, with their numbers beside them."""
    if not rows:
        return _figure(title, Markup("<p>{}</p>").format(none), Markup(""))
    shown = _formatter(language, percent)
    most = max((value for _, value in rows), default=0) or 1
    body = Markup("").join(
        Markup(
            '<tr><th scope="row">{}</th><td class="number">{}</td><td>'
            '<svg viewBox="0 0 100 10" width="100%" height="12" preserveAspectRatio="none" '
            'aria-hidden="true"><rect class="s1" width="{:.2f}" height="10"/></svg></td></tr>'
        ).format(name, shown(value), max(0.0, 100 * value / most))
        for name, value in rows
    )
    table = Markup(
        '<table class="bars"><caption class="quiet">{}</caption><tbody>{}</tbody></table>'
    )
    return _figure(title, table.format(title, body), Markup(""))


def stacked(
    title: str,
    times: Sequence[datetime],
    series: Sequence[Series],
    language: Language,
    *,
    zone: str = "UTC",
    step: timedelta | None = None,
) -> Markup:
    """Bars over time, each made of the series one above the other.

    `times` are the beginnings of steps of equal length, in order.
    """
    totals = [sum(one.values[n] or 0 for one in series) for n in range(len(times))]
    frame = _frame(times, max(totals, default=0), language, zone, step=step)
    each = 1 / max(1, len(times))
    for n in range(len(times)):
        base = 0.0
        for number, one in enumerate(series):
            value = one.values[n] or 0
            if value <= 0:
                continue
            left, right = frame.x(n * each), frame.x((n + 1) * each)
            gap = min(1.0, (right - left) / 5)
            top, bottom = frame.y(base + value), frame.y(base)
            frame.parts.append(
                Markup(
                    '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
                ).format(_colour(number), left + gap / 2, top, right - left - gap, bottom - top)
            )
            base += value
    return _over_time(title, times, series, language, zone, frame)


def band(
    title: str,
    times: Sequence[datetime],
    line: Series,
    language: Language,
    *,
    low: Sequence[float | None] = (),
    high: Sequence[float | None] = (),
    others: Sequence[Series] = (),
    zone: str = "UTC",
    percent: bool = False,
) -> Markup:
    """A line over time, with a band between `low` and `high`, and other lines."""
    everything = [*line.values, *high, *(value for one in others for value in one.values)]
    most = max((value for value in everything if value is not None), default=0)
    frame = _frame(times, most, language, zone, percent=percent)
    last = max(1, len(times) - 1)
    place = [frame.x(n / last if len(times) > 1 else 0.5) for n in range(len(times))]
    if low and high:
        edge = [
            (place[n], frame.y(top), frame.y(bottom))
            for n, (bottom, top) in enumerate(zip(low, high, strict=True))
            if top is not None and bottom is not None
        ]
        there = " ".join(f"{x:.1f},{top:.1f}" for x, top, _ in edge)
        back = " ".join(f"{x:.1f},{bottom:.1f}" for x, _, bottom in reversed(edge))
        frame.parts.append(Markup('<polygon class="band s1" points="{} {}"/>').format(there, back))
    for number, one in enumerate((line, *others)):
        frame.parts.append(_line(number, one.values, place, frame))
    rows = [line, *others]
    if low and high:
        rows += [Series("↓", low), Series("↑", high)]
    return _over_time(
        title, times, rows, language, zone, frame, lines=1 + len(others), percent=percent
    )


def _line(
    number: int, values: Sequence[float | None], place: Sequence[float], frame: _Frame
) -> Markup:
    """A line that is broken where there is no value; a dot where one stands alone."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, value in zip(place, values, strict=True):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((x, frame.y(value)))
    found = Markup("")
    for piece in pieces:
        if len(piece) == 1:
            dot = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="3"/>')
            found += dot.format(_colour(number), *piece[0])
        elif piece:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)
            line = Markup('<polyline class="line {}" points="{}"/>')
            found += line.format(_colour(number), points)
    return found


def _frame(
    times: Sequence[datetime],
    most: float,
    language: Language,
    zone: str,
    *,
    percent: bool = False,
    step: timedelta | None = None,
) -> _Frame:
    """Grid and axes: numbers on the left, dates below."""
    ticks = number_ticks(most)
    top = ticks[-1]
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def x(share: float) -> float:
        return _LEFT + width * share

    def y(value: float) -> float:
        return _TOP + height * (1 - min(max(value, 0.0), top) / top)

    shown = _formatter(language, percent)
    parts = [
        Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
            '<text x="{}" y="{:.1f}" text-anchor="end" dominant-baseline="middle">{}</text>'
        ).format(_LEFT, WIDTH - _RIGHT, y(tick), y(tick), _LEFT - 6, y(tick), shown(tick))
        for tick in ticks
    ]
    if times:
        end = times[-1] + step if step else times[-1]
        span = (end - times[0]).total_seconds() or 1
        for at, text in date_ticks(times[0], end, zone, language.locale):
            place = x((at - times[0]).total_seconds() / span)
            anchor = "start" if place < _LEFT + 24 else "end" if place > WIDTH - 40 else "middle"
            parts.append(
                Markup('<text class="date" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
                    place, HEIGHT - 6, anchor, text
                )
            )
    parts.append(
        Markup('<line class="axis" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
            _LEFT, WIDTH - _RIGHT, y(0), y(0)
        )
    )
    return _Frame(x, y, parts)


def _over_time(
    title: str,
    times: Sequence[datetime],
    series: Sequence[Series],
    language: Language,
    zone: str,
    frame: _Frame,
    *,
    lines: int | None = None,
    percent: bool = False,
) -> Markup:
    """The figure: picture, legend, and the numbers as a table."""
    picture = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, title, Markup("").join(frame.parts)
    )
    named = series if lines is None else series[:lines]
    legend = Markup("").join(
        Markup(
            '<li><svg viewBox="0 0 10 10" aria-hidden="true"><rect class="{}" width="10" '
            'height="10"/></svg>{}</li>'
        ).format(_colour(number), one.name)
        for number, one in enumerate(named)
    )
    if len(named) > 1:
        picture += Markup('<ul class="legend">{}</ul>').format(legend)
    said = language.gettext(N_("Times of %(zone)s"), zone=zone)
    picture += Markup('<p class="zone">{}</p>').format(said)
    shown = _formatter(language, percent)
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(one.name) for one in series)
    body = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            language.time(at, zone),
            Markup("").join(
                Markup('<td class="number">{}</td>').format(
                    "" if one.values[n] is None else shown(one.values[n] or 0)
                )
                for one in series
            ),
        )
        for n, at in enumerate(times)
    )
    table = Markup(
        '<details><summary>{}</summary><div class="table" tabindex="0" role="region" '
        'aria-label="{}"><table><caption class="quiet">{}</caption><thead><tr>'
        '<th scope="col">{}</th>{}</tr></thead><tbody>{}</tbody></table></div></details>'
    ).format(language.gettext("The numbers"), title, title, language.gettext("Time"), head, body)
    return _figure(title, picture, table)


def _figure(title: str, picture: Markup, table: Markup) -> Markup:
    return Markup('<figure class="chart"><figcaption>{}</figcaption>{}{}</figure>').format(
        title, picture, table
    )


def _formatter(language: Language, percent: bool) -> Callable[[float], str]:
    def shown(value: float) -> str:
        if percent:
            return language.percent(value)
        return language.number(value, 0 if value == math.floor(value) else 2)

    return shown


def _colour(number: int) -> str:
    return f"s{number % _COLOURS + 1}"


def counts(rows: Mapping[str, Sequence[float | None]]) -> list[Series]:
    """Series of a mapping name → values, the largest in sum first.

    >>> [one.name for one in counts({"a": [1, 1], "b": [5, None]})]
    ['b', 'a']
    """
    order = sorted(rows, key=lambda name: -sum(value or 0 for value in rows[name]))
    return [Series(name, rows[name]) for name in order]
