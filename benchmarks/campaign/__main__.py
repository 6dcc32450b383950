"""A campaign of faults: see the package. Exit code 1 where a check found something.

python -m benchmarks.campaign --minutes 10 --seed 7
python -m benchmarks.campaign --decisions 1000000 --record
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from benchmarks.campaign import report
from benchmarks.campaign.faults import FAULTS
from benchmarks.campaign.run import campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3, help="of load and faults (3)")
    parser.add_argument("--seed", default="1", help="of the faults' order and the load (1)")
    parser.add_argument("--decisions", type=int, help="goes on until so many were asked for")
    parser.add_argument("--rate", type=float, default=1000, help="decisions a second (1000)")
    parser.add_argument(
        "--faults", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="FAULT"
    )
    parser.add_argument("--port", type=int, default=8610, help="the first of five ports (8610)")
    parser.add_argument("--folder", type=Path, help="to keep logs and journals in")
    parser.add_argument("--record", action="store_true", help="add it to benchmarks/campaign.json")
    parser.add_argument("--json", type=Path, help="write the figures there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nextbest-campaign-") as temporary:
        folder = (given.folder or Path(temporary)).resolve() / time.strftime("%H%M%S")
        result = uvloop.run(
            campaign(
                folder,
                given.port,
                given.seed,
                seconds=given.minutes * 60,
                decisions=given.decisions,
                rate=given.rate,
                faults=given.faults,
            )
        )
    report.print_phases(result.table)
    report.print_recovery(result.table)
    report.print_checks(result.found)
    if given.json:
        given.json.write_text(json.dumps(result.figures(), indent=1))
    print(f"\n{result.decisions:,} decisions, seed {given.seed}, {report.commit()}")
    if given.record:
        print(f"{report.record(result.run()):,} of {report.AIM:,} in runs that found nothing")
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
