"""A change of rules on real customers, before it is live: one cap of the Hillstrom policy tightened.

    python -m benchmarks.simulate [--customers N] [--weeks N] [--html FILE]

Every customer is asked about once a week. The old rules allow two e-mails within 14 days, the new
ones (those of `benchmarks/hillstrom/rules`) one. Prints what `nextbest simulate` prints, its time
for each request, and the most memory it took. Data as for `benchmarks.hillstrom`.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import hillstrom


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; 1 where there is no data."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--customers", type=int)
    parser.add_argument("--weeks", type=int, default=4)
    parser.add_argument("--html", type=Path)
    given = parser.parse_args(arguments)
    try:
        rows = hillstrom.load()[: given.customers]
    except FileNotFoundError as error:
        print(f"{error.filename}: no data; set NEXTBEST_DATA to the folder that has it")
        return 1
    with TemporaryDirectory() as name:
        return simulate(rows, given.weeks, Path(name), given.html)


def simulate(rows: Sequence[hillstrom.Row], weeks: int, home: Path, html: Path | None) -> int:
    """Writes rules, customers and requests, and runs the command on them."""
    old = home / "old"
    shutil.copytree(hillstrom.RULES, old)
    campaign = old / "campaign.yaml"
    text = campaign.read_text("utf-8")
    campaign.write_text(text.replace("at_most: 1,", "at_most: 2,"), "utf-8")
    models = home / "models"
    hillstrom.train_on(rows, models)
    with (home / "customers.ndjson").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in hillstrom.customers(rows))
    with (home / "requests.ndjson").open("w", encoding="utf-8") as file:
        for week in range(weeks):
            at = (hillstrom.CAMPAIGN + timedelta(weeks=week)).isoformat()
            file.writelines(
                json.dumps({**request, "at": at}) + "\n" for request in hillstrom.requests(rows)
            )
    command = ["simulate", "--rules", hillstrom.RULES, "--against", old, "--models", models]
    command += ["--customers", home / "customers.ndjson", "--requests", home / "requests.ndjson"]
    if html is not None:
        command += ["--html", html]
    began = time.perf_counter()
    ran = subprocess.run([sys.executable, "-m", "decision.cli", *map(str, command)], check=False)
    took = time.perf_counter() - began
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    each = 1e6 * took / max(1, weeks * len(rows))
    print(f"\n{weeks * len(rows):,} requests in {took:.1f} s: {each:.0f} µs each; {most:.0f} MiB")
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
