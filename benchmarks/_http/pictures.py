"""The figures as pictures: times over load, and where the CPU of a decision goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks._http.measure import Row


def _pyplot(name: str) -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = name  # the same figures give the same file
    from matplotlib import pyplot

    return pyplot


def draw_curve(rows: list[Row], alone: float | None, path: Path) -> None:
    """Times of an open loop over the share of the highest rate; `alone` is p50 of one at a time."""
    plt = _pyplot("curve")
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    loads = [row["share"] * 100 for row in rows]
    for key, text in (("p99_ms", "p99"), ("p90_ms", "p90"), ("p50_ms", "median")):
        axes.plot(loads, [row[key] for row in rows], "o-", label=text)
    if alone:
        axes.axhline(4 * alone, color="grey", linewidth=0.8, linestyle=":")
        about = "4 × the median of one at a time"
        axes.text(loads[-1], 4 * alone, about, va="bottom", ha="right", color="grey")
    most = rows[0]["asked"] / rows[0]["share"]
    axes.set_xlabel(f"load, % of the highest rate ({most:,.0f} decisions per second)")
    axes.set_ylabel("ms, from when a request was due")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def draw_steps(found: dict[str, Row], path: Path) -> None:
    """The CPU of a decision by step, in the order of the steps."""
    plt = _pyplot("steps")
    names = [name for name in found if name != "marks"]
    figure, axes = plt.subplots(figsize=(7, 0.28 * len(names) + 0.8), layout="constrained")
    bars = axes.barh(names, [max(0.0, found[name]["us"]) for name in names], color="#4878a8")
    axes.bar_label(bars, [f"{found[name]['us']:.0f}" for name in names], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.1, y=0.01)
    whole = sum(found[name]["us"] for name in names)
    axes.set_xlabel(f"µs of the server's CPU for a decision; together {whole:,.0f}")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
