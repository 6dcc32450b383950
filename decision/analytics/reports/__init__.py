"""Reports on what customers did, counted from an archive.

Each kind is one file, with its SQL beside it: what may be asked (`Question`), what is answered
(`Answer`), how it is counted, and how it is shown as tables and charts. `kinds.KINDS` lists them;
from there come the commands (`nextbest report KIND`), the API (`GET /v1/reports/{kind}`) and pages.
"""

from decision.analytics.reports.asking import Option
from decision.analytics.reports.kind import Kind, Report, answer_to, report_on
from decision.analytics.reports.kinds import KINDS, kind_named

__all__ = ["KINDS", "Kind", "Option", "Report", "answer_to", "kind_named", "report_on"]
