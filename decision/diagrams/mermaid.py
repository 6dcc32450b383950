"""A chart as Mermaid text, which GitHub, GitLab and many editors draw."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from decision.diagrams.chart import Box, Chart, Kind

_SHAPES: Final[Mapping[Kind, tuple[str, str]]] = {
    "start": ("([", "])"),
    "ask": ("[", "]"),
    "wait": ("(", ")"),
    "branch": ("{{", "}}"),
    "set": ("[[", "]]"),
    "end": ("([", "])"),
}
_STRANGE: Final = re.compile(r"[^\w ,.:=≥≤≠%/…()-]|^[-+]|(?<=^.)\.|(?<=^..)\.")
"""What Mermaid would read as HTML, or as a list, and quotation marks."""


def mermaid(chart: Chart) -> str:
    """The text of a flowchart. What ends a run at any step leads from the frame of all steps."""
    lines = [
        "flowchart TD",
        f"  n0{_box(chart.boxes[0])}",
        f"  subgraph steps[{_text(chart.name)}]",
    ]
    lines += [f"    n{place}{_box(box)}" for place, box in enumerate(chart.boxes) if place]
    lines.append("  end")
    for arrow in chart.arrows:
        label = f"|{_text(arrow.label)}|" if arrow.label else ""
        lines.append(f"  n{arrow.source} -->{label} n{arrow.target}")
    for reason, what in chart.ends.items():
        lines.append(f"  steps -. {_text(what)} .-> {reason}([{_text(reason)}])")
    return "\n".join(lines) + "\n"


def _box(box: Box) -> str:
    left, right = _SHAPES[box.kind]
    return f"{left}{_text(box.title, *box.lines)}{right}"


def _text(*lines: str) -> str:
    """Lines in quotation marks.

    >>> _text('say "hi"', "a < b")
    '"say #34;hi#34;<br/>a #60; b"'
    """
    plain = (" ".join(line.split()) for line in lines)
    return f'"{"<br/>".join(_STRANGE.sub(_code, line) for line in plain)}"'


def _code(found: re.Match[str]) -> str:
    return f"#{ord(found[0])};"
