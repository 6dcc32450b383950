"""What e-mails added in a real experiment, by the reports: Hillstrom's 64,000 customers.

    python -m benchmarks.earned

The file is imported as a log of ours, in which each customer got one of two e-mails or none, each
with probability 1/3; then `nextbest report roi --by message` is asked, of visits and of spending.
Known are the differences between the groups of the file.
"""

from __future__ import annotations

import csv
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks import hillstrom
from decision.analytics.reports import answer_to, kind_named
from decision.core.clock import to_micros
from decision.core.definition import PolicyDefinition
from decision.intake.decision_log.run import ImportOptions, import_log
from decision.rulebook.reader import load_folder

NOW: Final = to_micros(datetime(2008, 6, 1, tzinfo=UTC))


def imported(folder: Path) -> tuple[Path, PolicyDefinition]:
    """An archive with the file as decisions, and its rules."""
    definition = load_folder(hillstrom.RULES).definition
    assert definition is not None
    table, archive = folder / "mailing.csv", folder / "archive"
    with table.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["decided_at", "customer_id", "message", "outcome.visit", "outcome.purchase"])
        for row in hillstrom.load():
            out.writerow(
                ["2008-03-20T10:00:00", row.customer_id, row.arm or "", row.visit, row.spend or 0]
            )
    options = ImportOptions(
        form="csv", uniform=("mens", "womens", "silence"), new_types=frozenset({"purchase"})
    )
    import_log(str(table), definition, archive, options, now=NOW)
    return archive, definition


def report(archive: Path, definition: PolicyDefinition, **asked: str) -> Any:
    """`nextbest report roi --by message`."""
    return answer_to(kind_named("roi"), {"by": "message", **asked}, archive, definition)


def main() -> int:
    """Prints what each e-mail added."""
    print("e-mail    metric       customers    none   added      one look             always valid")
    with TemporaryDirectory() as folder:
        archive, definition = imported(Path(folder))
        for asked in (
            {"event": "visit", "within": "14d"},
            {"event": "purchase", "value": "amount", "within": "14d"},
        ):
            for line in report(archive, definition, **asked).lines:
                if (found := line.per_customer) is not None:
                    print(
                        f"{line.name:<10}{asked['event']:<10}{line.treated:>12,}{line.control:>8,}"
                        f"{found.estimate:>+8.4f}   ({found.fixed[0]:+.4f}, {found.fixed[1]:+.4f})"
                        f"   ({found.always[0]:+.4f}, {found.always[1]:+.4f})"
                    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
