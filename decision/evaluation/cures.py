"""What would lift a refusal of the gate, as far as the figures say it."""

from __future__ import annotations

from math import ceil

from decision.core.said import Counted, Joined, Said


def joined(*texts: str) -> str:
    """Texts one after the other; those that say nothing are left out."""
    return Joined("; ", [text for text in texts if text])


def more_decisions(more: float, seen: int, days: float) -> Said:
    """That so many more would lift it; `seen` decisions were made in `days` days.

    >>> more_decisions(1_500, 1_000, 10.0)
    'about 1,500 more decisions would show it, 15 days at the present rate'
    """
    shown = f"{max(1, ceil(more)):,}"
    if not (days > 0 and seen):
        return Said("about %(decisions)s more decisions would show it", decisions=shown)
    return Counted(
        "about %(decisions)s more decisions would show it, %(n)s day at the present rate",
        "about %(decisions)s more decisions would show it, %(n)s days at the present rate",
        max(1, ceil(more * days / seen)),
        decisions=shown,
    )


def of_bound(mean: float, bound: float, seen: int, days: float) -> str:
    """What would lift a bound that is below 0: intervals shrink with the root of the decisions.

    `mean` is the estimate, less what is wanted.

    >>> of_bound(0.1, -0.1, 1_000, 10.0)
    'about 3,000 more decisions would show it, 30 days at the present rate'
    >>> of_bound(-0.1, -0.2, 1_000, 10.0)
    'more decisions would not lift this, a better model would'
    """
    if bound >= 0:
        return ""
    if mean <= 0:
        return Said("more decisions would not lift this, a better model would")
    return more_decisions(seen * (((mean - bound) / mean) ** 2 - 1), seen, days)


def of_sample(found: float, least: float, seen: int, days: float) -> str:
    """How much an effective sample lacks, and how many more decisions have it."""
    if found >= least:
        return ""
    few = Said("%(n)s too few", n=f"{least - found:,.0f}")
    if not found > 0:
        return joined(few, Said("nothing that it would choose was chosen: let more be explored"))
    return joined(few, more_decisions(seen * (least / found - 1), seen, days))


def of_calibration() -> str:
    """What makes predictions as high as responses are."""
    return Said(
        "train on more rows, or write calibration: auto in the spec and train again; should it "
        "stay, responses have changed since: newer rows are what it needs"
    )


def of_latency(engine: str, note: str | None) -> str:
    """What makes a version faster."""
    if engine != "compiled":
        return Said(
            "its trees are not compiled (%(why)s): compiled ones are several times as fast",
            why=note or Said("lleaves is missing"),
        )
    return Said("fewer rounds, num_leaves or features in the spec make it faster; train it again")


def of_parity() -> str:
    """What makes compiled trees give what LightGBM gives."""
    return Said(
        "the compiled trees do not say what LightGBM says: train it again, on the machine that "
        "serves; if that changes nothing, uninstall lleaves, and LightGBM scores"
    )


def of_drift(feature: str, index: float, bound: float, rows: tuple[int, int], days: float) -> str:
    """What to do about a feature that is distributed otherwise than before.

    `rows` are those of the version in force and of the new one, which span `days` days. Ten groups
    of so few rows differ by about 9 × (1/n + 1/m) by chance alone (a chi-square).

    >>> told = of_drift("customer.tier", 0.3, 0.25, (90, 90), 9.0)
    >>> told.partition("; ")[0]
    'chance alone makes 0.2 of it in 90 rows'
    >>> of_drift("customer.tier", 3.0, 0.25, (90, 90), 9.0).partition(" ")[0]
    'see'
    """
    old, new = rows
    chance = _GROUPS * (1 / max(1, old) + 1 / max(1, new))
    room = bound / 2 - _GROUPS / max(1, old)
    if index - chance <= bound and chance > bound / 4 and room > 0:
        told = Said(
            "chance alone makes %(chance)s of it in %(rows)s rows",
            chance=f"{chance:.2g}",
            rows=f"{new:,}",
        )
        return joined(told, more_decisions(_GROUPS / room - new, new, days))
    return Said(
        "see whether %(feature)s is still sent as before; if customers have changed, this version "
        "has seen it, and the one in force has not: promote it with --force and --reason",
        feature=feature,
    )


_GROUPS = 9
"""Degrees of freedom of a feature in ten groups."""
