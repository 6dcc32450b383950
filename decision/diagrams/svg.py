"""A chart as SVG: a picture that browsers, editors and slides show as it is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from html import escape
from typing import Final
from unicodedata import east_asian_width

import msgspec

from decision.diagrams.chart import Arrow, Box, Chart, Kind
from decision.diagrams.layout import Layout, Point, Size, layout

_FONT: Final = (
    "system-ui, 'Noto Sans', 'PingFang SC', 'Microsoft YaHei', 'Noto Sans CJK SC', sans-serif"
)
_TITLE, _TEXT, _LABEL = 14.0, 12.0, 11.5
_WIDEST: Final = 230.0
_LABEL_WIDEST: Final = 170.0
_LINE: Final = 1.35
_MARGIN: Final = 24.0
_PADDING: Final = 12.0
_LOOP: Final = 26.0

_COLOURS: Final[Mapping[Kind, tuple[str, str]]] = {
    "start": ("#e8f5e9", "#2e7d32"),
    "ask": ("#e3f2fd", "#1565c0"),
    "wait": ("#fff8e1", "#b26a00"),
    "branch": ("#f3e5f5", "#7b1fa2"),
    "set": ("#eceff1", "#455a64"),
    "end": ("#fbe9e7", "#bf360c"),
}
"""The fill and the frame of each kind of box."""


class _Drawn(msgspec.Struct, frozen=True):
    """A box with its lines as they are wrapped."""

    box: Box
    title: list[str]
    lines: list[str]
    size: Size


def svg(chart: Chart) -> str:
    """The picture of a chart, as the text of a file."""
    drawn = [_drawn(box) for box in chart.boxes]
    labels = [_wrapped(arrow.label, _LABEL, _LABEL_WIDEST) for arrow in chart.arrows]
    edges = [
        (arrow.source, arrow.target, _size(lines, _LABEL))
        for arrow, lines in zip(chart.arrows, labels, strict=True)
    ]
    loops = {arrow.source for arrow in chart.arrows if arrow.source == arrow.target}
    sizes = [
        (one.size[0] + 2 * (_LOOP + _LABEL_WIDEST) * (place in loops), one.size[1])
        for place, one in enumerate(drawn)
    ]
    found = layout(sizes, edges)
    head = [chart.name, *(f"{reason}: {what}" for reason, what in chart.ends.items())]
    above = _MARGIN + len(head) * _TITLE * _LINE + _MARGIN / 2
    width = max(found.width, *(_width(line, _TITLE) for line in head)) + 2 * _MARGIN
    height = above + found.height + _MARGIN
    parts = [*_head(chart, head, width, height)]
    shift = (width - found.width) / 2
    parts.append(f'<g transform="translate({shift:.1f} {above:.1f})">')
    for place, (arrow, lines) in enumerate(zip(chart.arrows, labels, strict=True)):
        parts += _arrow(arrow, lines, found, place, drawn)
    for one, centre in zip(drawn, found.centres, strict=True):
        parts += _box(one, centre)
    return "\n".join([*parts, "</g>", "</svg>"]) + "\n"


def _head(chart: Chart, head: list[str], width: float, height: float) -> Iterator[str]:
    """The beginning of the file, and what is said above the steps."""
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" font-family="{_FONT}">'
    )
    yield f"<title>{escape(chart.name)}</title>"
    yield (
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" '
        'markerHeight="8" orient="auto-start-reverse"><path d="M0 1 10 5 0 9z" fill="#546e7a"/>'
        "</marker></defs>"
    )
    yield '<rect width="100%" height="100%" fill="#fff"/>'
    for place, line in enumerate(head):
        weight, fill = ("600", "#212121") if place == 0 else ("400", "#546e7a")
        y = _MARGIN + (place + 0.8) * _TITLE * _LINE
        yield _line(line, _MARGIN, y, _TITLE if place == 0 else _TEXT, fill, weight, "start")


def _box(one: _Drawn, centre: Point) -> Iterator[str]:
    (width, height), (x, y) = one.size, centre
    fill, frame = _COLOURS[one.box.kind]
    round_ = height / 2 if one.box.kind in ("start", "end") else 6.0
    yield (
        f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="{min(round_, 22):.1f}" fill="{fill}" stroke="{frame}"/>'
    )
    at = y - height / 2 + _PADDING / 2
    for lines, size, colour, weight in (
        (one.title, _TITLE, frame, "600"),
        (one.lines, _TEXT, "#37474f", "400"),
    ):
        for line in lines:
            at += size * _LINE
            yield _line(line, x, at - size * 0.3, size, colour, weight)


def _arrow(
    arrow: Arrow, lines: list[str], found: Layout, place: int, drawn: list[_Drawn]
) -> Iterator[str]:
    """The curve of an arrow, and its label."""
    if arrow.source == arrow.target:
        (x, y), (width, height) = found.centres[arrow.source], drawn[arrow.source].size
        right, up, down = x + width / 2, y - height / 4, y + height / 4
        path = f"M{right:.1f} {down:.1f} c{_LOOP} 0 {_LOOP} {up - down:.1f} 2 {up - down:.1f}"
        label = (right + _LOOP + _size(lines, _LABEL)[0] / 2, y)
    else:
        path, label = _curve(found.routes[place]), found.labels[place]
    yield f'<path d="{path}" fill="none" stroke="#546e7a" marker-end="url(#tip)"/>'
    if lines:
        width, height = _size(lines, _LABEL)
        x, y = label
        yield (
            f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" fill="#fff" opacity="0.92"/>'
        )
        for number, line in enumerate(lines):
            at = y - height / 2 + (number + 0.8) * _LABEL * _LINE
            yield _line(line, x, at, _LABEL, "#455a64", "400")


def _curve(points: list[Point]) -> str:
    """A curve through points that leaves and meets each of them upright."""
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x, y), (to_x, to_y) in itertools.pairwise(points):
        middle = (y + to_y) / 2
        parts.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
    return " ".join(parts)


def _line(
    text: str, x: float, y: float, size: float, fill: str, weight: str, anchor: str = "middle"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{fill}" '
        f'font-weight="{weight}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _drawn(box: Box) -> _Drawn:
    title = _wrapped(box.title, _TITLE, _WIDEST)
    lines = [part for line in box.lines for part in _wrapped(line, _TEXT, _WIDEST)]
    (wide, high), (other, more) = _size(title, _TITLE), _size(lines, _TEXT)
    return _Drawn(box, title, lines, (max(wide, other) + 2 * _PADDING, high + more + _PADDING))


def _size(lines: list[str], size: float) -> Size:
    widest = max((_width(line, size) for line in lines), default=0.0)
    return (widest + 6 if lines else 0.0, len(lines) * size * _LINE)


def _width(text: str, size: float) -> float:
    """About how wide a text is: no font is asked, so it is rather more than less."""
    return sum(size if _is_wide(one) else size * 0.6 for one in text)


def _is_wide(character: str) -> bool:
    return east_asian_width(character) in "WF"


def _wrapped(text: str, size: float, widest: float) -> list[str]:
    """A text in lines: broken at blanks and beside wide characters, else where it must be.

    >>> _wrapped("waits for purchase, up to 3d", 10, 100)
    ['waits for', 'purchase, up to', '3d']
    >>> _wrapped("欢迎新客人", 10, 30)
    ['欢迎新', '客人']
    """
    lines, line = [], ""
    for word in _words(" ".join(text.split())):
        if line and _width(line + word.rstrip(), size) > widest:
            lines.append(line.rstrip())
            line = ""
        while _width(word.rstrip(), size) > widest:
            fits = max(n for n in range(1, len(word)) if n == 1 or _width(word[:n], size) <= widest)
            lines.append(word[:fits])
            word = word[fits:]
        line += word
    return [*lines, *([line.rstrip()] if line.strip() else [])]


def _words(text: str) -> Iterator[str]:
    """What may not be broken: words with the blank after them, and wide characters."""
    word = ""
    for one in text:
        if _is_wide(one) and word:
            yield word
            word = ""
        word += one
        if one == " " or _is_wide(one):
            yield word
            word = ""
    if word:
        yield word
