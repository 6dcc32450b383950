"""A simulation as one HTML page by itself: tables, and bars drawn as SVG."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from decision.simulation.off_policy import OffPolicy
from decision.simulation.report import head_of, ordered
from decision.simulation.tally import Line, Tally

_BAR = 18
_WIDE = 360
_LABEL = 240
_MOST_BARS = 30
_MOST_ROWS = 200

_STYLE = """
:root { color-scheme: light dark;
  --old: #9aa5b1; --new: #2463c9; --more: #1b7f4b; --less: #b3332b; }
@media (prefers-color-scheme: dark) { :root {
  --old: #6b7683; --new: #6ea3ff; --more: #58c48d; --less: #ff8078; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid #8884;
  white-space: nowrap; }
pre { overflow-x: auto; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
.more { color: var(--more); } .less { color: var(--less); }
svg { max-width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: currentColor; }
.old { fill: var(--old); } .new { fill: var(--new); }
.key span { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; }
"""


def page(tally: Tally, title: str, currency: str, off_policy: OffPolicy | None = None) -> str:
    """The whole page."""
    parts = [f"<h1>{escape(title)}</h1>", f"<p>{_summary(tally)}</p>"]
    if tally.compared:
        parts.append(
            '<p class="key"><span style="background:var(--old)"></span>old policy'
            '<span style="background:var(--new)"></span>new policy</p>'
        )
    parts.append(_table([("in all", tally.total)], tally.compared, currency))
    for table, lines in tally.tables.items():
        if lines:
            rows = ordered(table, lines)
            parts.append(f"<h2>By {escape(table)}</h2>")
            parts.append(bars(rows[:_MOST_BARS], tally.compared))
            parts.append(_table(rows[:_MOST_ROWS], tally.compared, currency))
            if len(rows) > _MOST_ROWS:
                parts.append(f"<p>… and {len(rows) - _MOST_ROWS:,} more (--json has all)</p>")
    for heading, causes in (
        ("No longer said, because under the new policy", tally.lost),
        ("Said now, and not before because under the old policy", tally.gained),
    ):
        if causes:
            ranked = sorted(causes.items(), key=lambda row: (-row[1][0], row[0]))
            parts.append(f"<h2>{heading}</h2>")
            parts.append(
                _grid(
                    ["choice", "decisions", "reason", "rule", "for example"],
                    (
                        [choice, f"{count:,}", reason, source, detail]
                        for (choice, reason, source), (count, detail) in ranked[:_MOST_BARS]
                    ),
                )
            )
    if off_policy is not None:
        parts.append("<h2>Estimated from the log</h2>")
        parts.append(f"<pre>{escape(chr(10).join(off_policy.lines()))}</pre>")
    if tally.customers:
        parts.append("<h2>Customers most affected</h2>")
        parts.append(
            _grid(
                ["customer", "decisions changed", "lost", "gained", f"expected {currency}"],
                (
                    [
                        customer,
                        f"{one.changed:,}",
                        f"{one.lost:,}",
                        f"{one.gained:,}",
                        f"{one.value_change:+,.2f}",
                    ]
                    for customer, one in tally.most_affected()
                ),
            )
        )
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _summary(tally: Tally) -> str:
    text = escape(head_of(tally)) + "."
    if tally.compared and tally.requests:
        differing = tally.requests - tally.changes["same"]
        share = 100 * differing / tally.requests
        text += f" {differing:,} decisions differ ({share:.2f}%)."
        kinds = [f"{n:,} {kind}" for kind, n in tally.changes.most_common() if kind != "same"]
        text += f" Of these: {', '.join(kinds)}." if kinds else ""
    return text + "".join(f"<br>Caution: {escape(one)}" for one in tally.cautions)


def bars(rows: list[tuple[str, Line]], compared: bool) -> str:
    """How often each row was given, old above new, as an SVG picture."""
    most = max((max(line.old, line.new) for _, line in rows), default=0) or 1
    step = _BAR * (2 if compared else 1) + 8
    shapes = []
    for number, (name, line) in enumerate(rows):
        top = number * step
        shapes.append(
            f'<text x="{_LABEL - 8}" y="{top + step / 2}" text-anchor="end">'
            f"{escape(_short(name))}</text>"
        )
        pairs = [("old", line.old), ("new", line.new)] if compared else [("new", line.new)]
        for place, (kind, count) in enumerate(pairs):
            wide = _WIDE * count / most
            y = top + place * _BAR
            shapes.append(
                f'<rect class="{kind}" x="{_LABEL}" y="{y}" width="{wide:.1f}" '
                f'height="{_BAR - 3}" rx="2"/>'
                f'<text x="{_LABEL + wide + 6:.1f}" y="{y + 12}">{count:,}</text>'
            )
    high = len(rows) * step
    return (
        f'<svg role="img" viewBox="0 0 {_LABEL + _WIDE + 90} {high}" '
        f'width="{_LABEL + _WIDE + 90}" height="{high}">{"".join(shapes)}</svg>'
    )


def _table(rows: Iterable[tuple[str, Line]], compared: bool, currency: str) -> str:
    if not compared:
        head = ["", "given", f"expected {currency}"]
        return _grid(head, ([name, f"{one.new:,}", f"{one.new_value:,.2f}"] for name, one in rows))
    head = ["", "old", "new", "change", f"old {currency}", f"new {currency}", f"change {currency}"]
    return _grid(
        head,
        (
            [
                name,
                f"{one.old:,}",
                f"{one.new:,}",
                f"{one.change:+,}",
                f"{one.old_value:,.2f}",
                f"{one.new_value:,.2f}",
                f"{one.value_change:+,.2f}",
            ]
            for name, one in rows
        ),
    )


def _grid(head: list[str], rows: Iterable[list[str]]) -> str:
    cells = "".join(f"<th>{escape(one)}</th>" for one in head)
    lines = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>\n" for row in rows)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>\n{lines}</tbody></table>"


def _cell(text: str) -> str:
    kind = ""
    if text[:1] in "+-" and text[1:2].isdigit() and text.strip("+-0.,"):
        kind = ' class="more"' if text[0] == "+" else ' class="less"'
    return f"<td{kind}>{escape(text)}</td>"


def _short(name: str) -> str:
    return name if len(name) <= 34 else name[:33] + "…"
