"""A simulation as one HTML page by itself: tables, and bars drawn as SVG."""

from __future__ import annotations

from datetime import tzinfo
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from decision.simulation.acting import JourneyTally
from decision.simulation.off_policy import OffPolicy
from decision.simulation.report import (
    NOTHING_HAPPENED,
    TITLES,
    columns_of,
    first_asks,
    head_of,
    journeys_head,
    ordered,
)
from decision.simulation.tally import Tally, by_count

Acting = tuple[JourneyTally, tzinfo]
"""What journeys do, and the time zone of its times."""


def page(
    tally: Tally,
    title: str,
    currency: str,
    off_policy: OffPolicy | None = None,
    acting: Acting | None = None,
) -> str:
    """The whole page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "whole": "{:,}".format,
        "change": "{:+,}".format,
        "money": "{:,.2f}".format,
        "money_change": "{:+,.2f}".format,
    }
    return environment.get_template("page.html").render(
        tally=tally,
        title=title,
        currency=currency,
        head=head_of(tally),
        columns=["", *columns_of(tally.compared, currency)],
        tables={table: ordered(table, lines) for table, lines in tally.tables.items()},
        lost=by_count(tally.lost),
        gained=by_count(tally.gained),
        estimates="\n".join(off_policy.lines()) if off_policy is not None else "",
        journeys=acting and _journeys(*acting, tally.compared),
    )


def _journeys(acting: JourneyTally, zone: tzinfo, compared: bool) -> dict[str, Any]:
    """The part about journeys."""
    return {
        "head": journeys_head(acting, zone),
        "nothing": "" if acting else NOTHING_HAPPENED,
        "titles": TITLES,
        "tables": {table: ordered(table, rows) for table, rows in acting.tables.items()},
        "first": first_asks(acting, compared, zone),
    }
