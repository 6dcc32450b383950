"""What is asked of candidates, as the address says it, and the report that answers it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from decision.console.forms import Form
from decision.console.language import N_
from decision.console.span import FIELDS, Span, span_of

if TYPE_CHECKING:
    from decision.analytics.candidates.deciding import SensitivityReport
    from decision.analytics.candidates.funnel import CandidateReport
    from decision.analytics.candidates.scope import Range
    from decision.analytics.candidates.source import CandidateSource
    from decision.analytics.candidates.win_loss import WinLossReport

    Report = CandidateReport | WinLossReport | SensitivityReport

VIEWS: Final = {
    "funnel": N_("How far they came"),
    "win-loss": N_("Win and loss"),
    "sensitivity": N_("What decides"),
}
BY: Final = {
    "message": N_("message"),
    "category": N_("category"),
    "channel": N_("channel"),
    "candidate": N_("message and channel"),
    "placement": N_("placement"),
    "variant": N_("variant of an experiment"),
    "segment": N_("segment of customers"),
    "day": N_("day"),
}
"""What rows can be of, as `decision.analytics.candidates.funnel` names it."""
COMPETING: Final = ("message", "category", "channel")
_KEPT: Final = (
    "view", *FIELDS, "placement", "experiment", "variant", "segment", "value", "by", *COMPETING,
)  # fmt: skip
_LONGEST: Final = 300


class Question:
    """One address: `fields` are those that say something, for links to the same with a change."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.fields = {name: text for name in _KEPT if (text := form.text(name).strip()[:_LONGEST])}
        view, by = self.text("view"), self.text("by")
        self.view = view if view in VIEWS else "funnel"
        known = tuple(BY) if self.view == "funnel" else COMPETING
        self.by = by if by in known else "message"

    def text(self, name: str) -> str:
        """A field, or ""."""
        return self.fields.get(name, "")

    def given(self, name: str) -> str | None:
        """A field, or None."""
        return self.fields.get(name)

    def but(self, **changed: str) -> dict[str, str]:
        """The fields of the same address with some changed; "" leaves one out."""
        return {**self.fields, **{name.rstrip("_"): text for name, text in changed.items()}}

    def span(self, now: datetime, zone: str) -> Span:
        """The days; see `span_of`."""
        return span_of(self.form, now, zone)

    def report(self, source: CandidateSource, span: Span) -> Report:
        """The answer. It takes a moment, and runs beside the event loop.

        Raises:
            NothingFound: no decision has a name that was asked for.
            InputError: two things were asked for that do not go together.
            ArchiveError: the archive lacks a file, or one is damaged.
        """
        from decision.analytics.candidates.deciding import report_sensitivity
        from decision.analytics.candidates.funnel import report_candidates
        from decision.analytics.candidates.win_loss import report_win_loss

        asked = self._range(span)
        if self.view == "win-loss":
            return report_win_loss(source, asked, by=self.by, name=self.given(self.by))
        if self.view == "sensitivity":
            return report_sensitivity(source, asked, message=self.given("message"))
        kept = {name: self.given(name) for name in COMPETING}
        return report_candidates(source, asked, by=self.by, **kept)

    def _range(self, span: Span) -> Range:
        from decision.analytics.candidates.scope import Range

        return Range(
            first=span.first,
            last=span.last,
            timezone=span.zone,
            placement=self.given("placement"),
            experiment=self.given("experiment"),
            variant=self.given("variant"),
            segment=self.given("segment"),
            segment_value=self.given("value"),
        )
