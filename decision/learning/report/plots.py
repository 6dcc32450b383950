"""The charts of a report, as SVG; the same facts give the same bytes."""

from __future__ import annotations

import io
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from decision.learning.drift import PREDICTION
from decision.learning.metrics import wilson
from decision.learning.report.facts import Floats, ReportFacts

BLUE: Final = "#2b6cb0"
GREY: Final = "#8a94a3"
ORANGE: Final = "#c05621"
_MOST_BARS: Final = 20
_MOST_SHAP: Final = 14
_LONGEST: Final = 38
_WIDTH: Final = 7.2
_COLUMN: Final = 0.092
"""Inches: of the figure, and of a column of a name; a Chinese character has two columns."""
_FONTS: Final = (
    "'DejaVu Sans', 'Noto Sans', 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"
)
"""Texts stay texts: whoever looks has the fonts for the names of their features."""
_DRAWN_WITH: Final = "'DejaVu Sans'"


def draw_all(facts: ReportFacts) -> dict[str, bytes]:
    """File name → SVG, for each chart that has something to show.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib as mpl

    style: Any = {
        "font.family": ["DejaVu Sans"],
        "font.size": 10,
        "text.parse_math": False,
        "svg.fonttype": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#9aa5b1",
        "axes.titlesize": 12,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e4e7eb",
    }
    found = {}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # only measured with it
        for name, draw in _PICTURES.items():
            mpl.rcParams["svg.hashsalt"] = name
            if picture := draw(facts):
                found[name] = picture
    return found


def _figure(height: float = 4.2, rows: int = 1, **layout: Any) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, **layout)


def _svg(figure: Any) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="svg", dpi=130, metadata={"Date": None, "Creator": None})
    return data.getvalue().replace(_DRAWN_WITH.encode(), _FONTS.encode())


def _percent(axis: Any) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=None))


def _columns(text: str) -> int:
    """The width of a text, in columns of a terminal: Chinese characters have two.

    >>> _columns("city"), _columns("城市")
    (4, 4)
    """
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def _short(name: str) -> str:
    """The name, cut where it would take more than its share of the width."""
    if _columns(name) <= _LONGEST:
        return name
    while _columns(name) > _LONGEST - 1:
        name = name[:-1]
    return f"{name}…"


def _title(figure: Any, text: str) -> None:
    """A title at the left edge of a figure, whose axes begin to the right of names."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=12, fontweight="bold")


def _name_rows(figure: Any, axes: Any, names: Sequence[str]) -> None:
    """Names of rows, the first at the top, with room that does not depend on the fonts here."""
    shown = [_short(name) for name in names][::-1]
    axes.set_yticks(range(len(shown)), shown)
    room = max(map(_columns, shown)) * _COLUMN / _WIDTH
    for label in axes.get_yticklabels():
        label.set_in_layout(False)
    # Names are measured in columns: the fonts that will show them are not here.
    figure.get_layout_engine().set(rect=(room, 0.0, 1.0 - room, 1.0))


def _reach(responses: Floats, weight: Floats) -> Any:
    """How far the 95 % interval of each group's share reaches below and above it."""
    pairs = zip(responses.tolist(), weight.tolist(), strict=True)
    bounds = np.array([wilson(*pair) for pair in pairs]).T
    share = responses / weight
    return np.maximum(0.0, [share - bounds[0], bounds[1] - share])


def _calibration(facts: ReportFacts) -> bytes:
    """Predicted and observed shares, and the number of rows by prediction."""
    if facts.no_curves:
        return b""
    groups = facts.curve
    figure, (axes, counts) = _figure(5.2, 2, height_ratios=[4, 1], sharex=True)
    reach = _reach(groups.responses, groups.weight)
    top = 1.08 * max(groups.predicted.max(), (groups.observed + reach[1]).max())
    axes.plot([0, top], [0, top], color=GREY, linestyle="--", linewidth=1, label="as predicted")
    axes.errorbar(
        groups.predicted,
        groups.observed,
        yerr=reach,
        color=BLUE,
        marker="o",
        markersize=5,
        linewidth=1.2,
        capsize=2.5,
        label="observed, with 95 % interval",
    )
    axes.set(title="Do predictions come true?", ylabel="observed share")
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.legend(frameon=False, loc="upper left")
    _percent(axes.yaxis)
    shown = np.minimum(facts.predictions, top)  # the few beyond are in the last bar
    counts.hist(shown, bins=60, range=(0, top), color=GREY, edgecolor="white", linewidth=0.4)
    counts.set(xlabel="predicted share", ylabel="rows")
    _percent(counts.xaxis)
    return _svg(figure)


def _lift(facts: ReportFacts) -> bytes:
    """The share of responses in each tenth of the rows, divided by that of all rows."""
    if facts.no_curves:
        return b""
    figure, axes = _figure()
    tenths = facts.tenths
    base = float(tenths.responses[-1] / tenths.weight[-1])
    lift = tenths.lifts()
    reach = _reach(np.diff(tenths.responses), np.diff(tenths.weight)) / base
    places = np.arange(1, len(lift) + 1)
    axes.bar(places, lift, color=BLUE, width=0.72)
    axes.errorbar(places, lift, yerr=reach, fmt="none", ecolor="#1a202c", capsize=3, linewidth=1)
    axes.axhline(1.0, color=ORANGE, linewidth=1.2, linestyle="--", label="all rows")
    axes.set_xticks(places)
    axes.set(
        title="Lift by tenth of the rows",
        xlabel="tenth by prediction, highest first",
        ylabel="share of responses, all = 1",
    )
    axes.grid(axis="x", visible=False)
    axes.legend(frameon=False)
    return _svg(figure)


def _gain(facts: ReportFacts) -> bytes:
    """The share of all responses that is among the rows with the highest predictions."""
    if facts.no_curves:
        return b""
    figure, axes = _figure()
    rows, hits = facts.gain
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="in any order")
    axes.plot(rows, hits, color=BLUE, linewidth=2, label="by prediction")
    axes.fill_between(rows, rows, hits, color=BLUE, alpha=0.10)
    axes.set(
        title="Cumulative gain",
        xlabel="share of rows, highest prediction first",
        ylabel="share of responses found",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    _percent(axes.xaxis)
    _percent(axes.yaxis)
    axes.legend(frameon=False, loc="lower right")
    return _svg(figure)


def _importance(facts: ReportFacts) -> bytes:
    """What each feature counts for: in the splits, or in the contributions."""
    rows = [row for row in facts.importance.items() if row[1] > 0][:_MOST_BARS]
    if not rows:
        return b""
    of = "mean contributions" if facts.linear else "the gain of all splits"
    return _bars(f"Importance: share of {of}", rows, percent=True)


def _drift(facts: ReportFacts) -> bytes:
    """The stability index of each feature, compared with the previous version."""
    if not facts.drift:
        return b""
    rows = [row for row in facts.drift.items() if np.isfinite(row[1])][:_MOST_BARS]
    limits = ((0.1, "little below 0.1", GREY), (0.25, "much above 0.25", ORANGE))
    return _bars(f"Drift since version {facts.against}: PSI", rows, limits=limits, own=PREDICTION)


def _bars(
    title: str,
    rows: list[tuple[str, float]],
    *,
    percent: bool = False,
    limits: Any = (),
    own: str = "",
) -> bytes:
    figure, axes = _figure(1.5 + 0.27 * len(rows))
    values = [value for _, value in rows][::-1]
    colors = [ORANGE if name == own else BLUE for name, _ in rows][::-1]
    axes.barh(range(len(rows)), values, color=colors, height=0.68)
    _name_rows(figure, axes, [name for name, _ in rows])
    most = max([*values, *(limit for limit, _, _ in limits)])
    for place, value in enumerate(values):
        text = f"{value:.1%}" if percent else f"{value:.3f}"
        axes.text(value + most * 0.01, place, text, va="center", fontsize=8.5, color="#4a5568")
    for limit, label, color in limits:
        axes.axvline(limit, color=color, linestyle="--", linewidth=1.1, label=label)
    if limits:
        axes.legend(loc="lower right", framealpha=1, edgecolor="none")
    _title(figure, title)
    axes.set_xlim(0, most * 1.14)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.locator_params(axis="x", nbins=5)
    if percent:
        _percent(axes.xaxis)
    return _svg(figure)


def _shap(facts: ReportFacts) -> bytes:
    """What each feature added to single predictions; the color is the feature's value."""
    added, values = facts.contributions
    order = np.argsort(-np.abs(added).mean(axis=0), kind="stable")[:_MOST_SHAP]
    order = order[np.abs(added[:, order]).max(axis=0) > 0]
    if not len(order):
        return b""
    figure, axes = _figure(2.0 + 0.36 * len(order))
    for place, column in enumerate(order[::-1].tolist()):
        _swarm(
            axes,
            place,
            added[:, column],
            values[:, column],
            facts.features[column].kind == "numeric",
        )
    _name_rows(figure, axes, [facts.features[each].name for each in order])
    axes.axvline(0, color="#4a5568", linewidth=0.9)
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.grid(axis="y", visible=False)
    _title(figure, "What moves single predictions (SHAP)")
    axes.set_xlabel("added to the log-odds: left less likely, right more likely")
    _color_key(figure, axes)
    return _svg(figure)


def _swarm(axes: Any, place: int, added: Any, values: Any, numeric: bool) -> None:
    """Dots side by side where there are many, so that the width shows how many."""
    low, high = float(added.min()), float(added.max())
    cells = np.floor((added - low) / ((high - low) or 1.0) * 79).astype(np.int64)
    order = np.lexsort((values, cells))
    counts = np.bincount(cells, minlength=80)
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(added))
    rank[order] = np.arange(len(added)) - starts[cells[order]]
    offset = (rank - (counts[cells] - 1) / 2) / max(1, int(counts.max())) * 0.76
    known = ~np.isnan(values) if numeric else np.zeros(len(values), dtype=bool)
    axes.scatter(
        added[~known], place + offset[~known], s=5, color="#a0aec0", linewidths=0, rasterized=True
    )
    if known.any():
        _, ranks = np.unique(values[known], return_inverse=True)
        shade = ranks / max(1, int(ranks.max()))
        axes.scatter(
            added[known],
            place + offset[known],
            s=5,
            c=shade,
            cmap="coolwarm",
            vmin=0,
            vmax=1,
            linewidths=0,
            rasterized=True,
        )


def _color_key(figure: Any, axes: Any) -> None:
    from matplotlib.cm import ScalarMappable

    bar = figure.colorbar(ScalarMappable(cmap="coolwarm"), ax=axes, aspect=32, pad=0.02)
    bar.set_ticks([0, 1], labels=["low", "high"])
    bar.outline.set_visible(False)


_PICTURES: Final[dict[str, Callable[[ReportFacts], bytes]]] = {
    "calibration.svg": _calibration,
    "lift.svg": _lift,
    "gain.svg": _gain,
    "importance.svg": _importance,
    "shap.svg": _shap,
    "drift.svg": _drift,
}
