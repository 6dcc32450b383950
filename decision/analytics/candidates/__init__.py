"""What became of the candidates of all decisions: the funnel, who won against whom, and why.

A source gives counts of decisions (`ArchivedCandidates` of an archive, `read_recent` of a store's
log); a report asks it for a `Range` of them.
"""

from decision.analytics.candidates.archived import ArchivedCandidates
from decision.analytics.candidates.deciding import SensitivityReport, report_sensitivity
from decision.analytics.candidates.funnel import CandidateReport, report_candidates
from decision.analytics.candidates.recent import RecentCandidates, read_recent
from decision.analytics.candidates.scope import About, Range
from decision.analytics.candidates.source import CandidateSource
from decision.analytics.candidates.win_loss import WinLossReport, report_win_loss

__all__ = [
    "About",
    "ArchivedCandidates",
    "CandidateReport",
    "CandidateSource",
    "Range",
    "RecentCandidates",
    "SensitivityReport",
    "WinLossReport",
    "read_recent",
    "report_candidates",
    "report_sensitivity",
    "report_win_loss",
]
