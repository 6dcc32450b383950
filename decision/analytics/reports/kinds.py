"""All kinds of reports; one more is a file, and a line here."""

from __future__ import annotations

from typing import Any, Final

from decision.analytics.reports.budgets import BUDGETS
from decision.analytics.reports.cohorts import COHORTS
from decision.analytics.reports.deliveries import DELIVERIES
from decision.analytics.reports.experiment import EXPERIMENT
from decision.analytics.reports.fatigue import FATIGUE
from decision.analytics.reports.funnel import FUNNEL
from decision.analytics.reports.journey import JOURNEY
from decision.analytics.reports.kind import Kind
from decision.analytics.reports.lifetime import LIFETIME_VALUE
from decision.analytics.reports.paths import PATHS
from decision.analytics.reports.reasons import REASONS
from decision.analytics.reports.repurchase import REPURCHASE
from decision.analytics.reports.retention import RETENTION
from decision.analytics.reports.rfm import RFM
from decision.analytics.reports.roi import ROI
from decision.analytics.reports.time_to_convert import TIME_TO_CONVERT
from decision.core.errors import NotFound, meant

KINDS: Final[dict[str, Kind[Any, Any]]] = {
    one.name: one
    for one in (
        FUNNEL,
        TIME_TO_CONVERT,
        PATHS,
        RETENTION,
        COHORTS,
        RFM,
        REPURCHASE,
        LIFETIME_VALUE,
        EXPERIMENT,
        JOURNEY,
        DELIVERIES,
        REASONS,
        BUDGETS,
        ROI,
        FATIGUE,
    )
}
"""Name → kind."""


def kind_named(name: str) -> Kind[Any, Any]:
    """The kind of a name.

    Raises:
        NotFound: there is none.
    """
    if name in KINDS:
        return KINDS[name]
    there = meant(name, KINDS) or f"; there are {', '.join(KINDS)}"
    raise NotFound(f"there is no report {name[:60]!r}{there}")
