"""Figures of reports as texts: with the digits that matter."""

from __future__ import annotations


def figure(value: float | None, percent: bool = False) -> str:
    """A figure, or a share as a percentage; "": there is none.

    >>> figure(0.12345, True), figure(1234.5678), figure(46240.1), figure(None)
    ('12.35%', '1,235', '46,240', '')
    """
    if value is None:
        return ""
    if percent:
        return f"{value:.2%}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def interval(ends: tuple[float, float] | None, percent: bool = False) -> str:
    """An interval of a difference.

    >>> interval((-0.01, 0.02), True)
    '-1.00% … +2.00%'
    """
    if ends is None:
        return ""
    return " … ".join(f"{end:+.2%}" if percent else f"{end:+,.4g}" for end in ends)


def p_text(value: float | None) -> str:
    """A p-value; below 0.001 no digits matter."""
    if value is None:
        return ""
    return f"{value:.3f}" if value >= 0.001 else "<0.001"
