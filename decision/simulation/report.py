"""A simulation in words: tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import tzinfo
from typing import Final

from rich.cells import cell_len, set_cell_size

from decision.core.reasons import Reason
from decision.progress import count_of
from decision.simulation.acting import JourneyTally
from decision.simulation.off_policy import OffPolicy
from decision.simulation.tally import MOST_SHOWN, Causes, Line, Tally, by_count

_REASONS = [reason.value for reason in Reason]
_MOST_ROWS = 40


def lines_of(tally: Tally, currency: str, off_policy: OffPolicy | None = None) -> Iterator[str]:
    """The report, line by line."""
    yield head_of(tally)
    for caution in tally.cautions:
        yield f"caution: {caution}"
    if tally.compared:
        yield from _changes(tally)
    yield ""
    columns = columns_of(tally.compared, currency)
    for table, rows in tally.tables.items():
        if rows:
            title = "by reason of silence or fallback" if table == "reason" else f"by {table}"
            yield from _table(title, columns, ordered(table, rows), tally)
    yield from _table("in all", columns, [("", tally.total)], tally)
    if off_policy is not None:
        yield from off_policy.lines()
        yield ""
    if tally.compared:
        yield from _causes("no longer said, because under the new policy", tally.lost)
        yield from _causes("new messages, which the old policy did not send because", tally.gained)
        yield from _customers(tally, currency)


NOTHING_HAPPENED: Final = "nothing: no run was started, and no moment happened"
TITLES: Final = {
    "moment": "moments",
    "step": "runs that entered a step",
    "ask": "asks of journeys",
    "given": "given by journeys",
    "end": "runs that ended",
    "refused": "runs that were refused",
    "under way": "runs under way in the end",
}
"""Of the tables of what journeys do."""


def journey_lines(acting: JourneyTally, tally: Tally, currency: str, zone: tzinfo) -> Iterator[str]:
    """What journeys did, line by line, with times of a time zone."""
    yield journeys_head(acting, zone)
    yield ""
    if not acting:
        yield NOTHING_HAPPENED
    counts = ["old", "new", "change"] if tally.compared else ["count"]
    for table, rows in acting.tables.items():
        if rows:
            heads = columns_of(tally.compared, currency) if table == "given" else counts
            yield from _table(TITLES[table], heads, rows.items(), tally)
    heads, *cells = first_asks(acting, tally.compared, zone)
    if cells:
        yield f"the first {count_of(len(cells), 'ask')}"
        widths = [max(map(cell_len, column)) for column in zip(heads, *cells, strict=True)]
        for line in (heads, *cells):
            padded = (set_cell_size(cell, width) for cell, width in zip(line, widths, strict=True))
            yield "  ".join(padded).rstrip()
        yield ""


def journeys_head(acting: JourneyTally, zone: tzinfo) -> str:
    """Until when journeys act, by the clock of a time zone."""
    return f"what journeys do until {acting.until.astimezone(zone):%Y-%m-%d %H:%M}"


def first_asks(acting: JourneyTally, compared: bool, zone: tzinfo) -> list[list[str]]:
    """The first asks of journeys as a table, its heads first: who would get what when."""
    return [
        ["time", "customer", "step", *(["old"] if compared else []), "new"],
        *(
            [
                row.at.astimezone(zone).isoformat(),
                row.customer_id,
                f"{row.journey}.{row.step}",
                *([row.old or "-"] if compared else []),
                row.new or "-",
            ]
            for row in acting.first()
        ),
    ]


def head_of(tally: Tally) -> str:
    """How much was read, and what of it was not used."""
    text = f"{tally.requests:,} requests"
    if tally.events:
        text += f", {tally.events:,} events"
    for count, what in (
        (tally.repeated, "with an id answered before, not counted again"),
        (tally.errors, "lines that could not be used"),
        (tally.bad_customers, "customers that could not be loaded"),
    ):
        if count:
            text += f", {count:,} {what}"
    return text


def _changes(tally: Tally) -> Iterator[str]:
    same = tally.changes["same"]
    if tally.requests:
        share = 100 * (tally.requests - same) / tally.requests
        differing = tally.requests - same
        yield f"{count_of(differing, 'decision')} differ{'s' * (differing == 1)} ({share:.2f}%)"
    for kind, count in tally.changes.most_common():
        if kind != "same":
            yield f"  {kind:<15}{count:>10,}"


def ordered(table: str, rows: dict[str, Line]) -> list[tuple[str, Line]]:
    """The rows of a table: reasons in the order in which candidates fall, else the most first."""
    if table == "reason":
        return sorted(rows.items(), key=lambda row: _REASONS.index(row[0]))
    return sorted(rows.items(), key=lambda row: (-max(row[1].old, row[1].new), row[0]))


def columns_of(compared: bool, currency: str) -> list[str]:
    """The heads of a table, after that of its names."""
    if not compared:
        return ["given", f"expected {currency}"]
    return ["old", "new", "change", f"old {currency}", f"new {currency}", f"change {currency}"]


def _table(
    title: str, columns: Sequence[str], rows: Iterable[tuple[str, Line]], tally: Tally
) -> Iterator[str]:
    cells = [[name, *_cells(line, tally.compared)[: len(columns)]] for name, line in rows]
    hidden = len(cells) - _MOST_ROWS
    cells = cells[:_MOST_ROWS]
    head = [title, *columns]
    widths = [max(map(cell_len, column)) for column in zip(head, *cells, strict=True)]
    for row in (head, *cells):
        yield set_cell_size(row[0], widths[0]) + "".join(
            f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)
        )
    if hidden > 0:
        yield f"  … and {hidden} more (--json has all)"
    yield ""


def _cells(line: Line, compared: bool) -> list[str]:
    if not compared:
        return [f"{line.new:,}", f"{line.new_value:,.2f}"]
    return [
        f"{line.old:,}",
        f"{line.new:,}",
        f"{line.change:+,}" if line.change else "0",
        f"{line.old_value:,.2f}",
        f"{line.new_value:,.2f}",
        f"{line.value_change:+,.2f}",
    ]


def _causes(title: str, causes: Causes) -> Iterator[str]:
    if not causes:
        return
    yield title
    ranked = by_count(causes)
    for (choice, reason, source), (count, detail) in ranked[:MOST_SHOWN]:
        yield (
            f"  {count:>8,}  {choice}: {reason}"
            + (f" ({source})" if source else "")
            + (f"; such as {detail}" if detail else "")
        )
    if len(ranked) > MOST_SHOWN:
        yield f"  … and {len(ranked) - MOST_SHOWN} more (--json has all)"
    yield ""


def _customers(tally: Tally, currency: str) -> Iterator[str]:
    if not tally.customers:
        return
    affected = len(tally.customers)
    are = "is" if affected == 1 else "are"
    yield f"{count_of(affected, 'customer')} {are} affected, most of all"
    for customer, one in tally.most_affected():
        yield (
            f"  {customer}: {count_of(one.changed, 'decision')} changed, {one.lost} lost, "
            f"{one.gained} gained, {one.value_change:+.2f} {currency}"
        )
