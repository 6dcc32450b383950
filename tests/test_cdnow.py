"""Real purchases replayed under a weekly cap: what is blocked equals a count by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.data import needed

RULES = """
settings: {timezone: UTC, exploration: "off"}
purposes: {tips: {consent: opt_out}}
channels: {email: {}}
placements: {outbound: {channels: [email]}}
messages:
  thanks: {purpose: tips, channels: [email], value: 1, content: {title: Thanks}}
caps:
  weekly: {of: {channel: email}, at_most: 1, within: 7d}
  month: {of: {purpose: tips}, at_most: 2, within: calendar month}
"""


def purchases(path: Path) -> list[tuple[datetime, str, float]]:
    """(time, customer, amount), in order of time."""
    found = []
    for line in path.read_text().splitlines():
        fields = line.split()
        if fields[0] == "customer_id":
            continue
        day = datetime.strptime(fields[-3], "%Y%m%d").replace(tzinfo=UTC)
        found.append((day + timedelta(hours=12), fields[0], float(fields[-1])))
    return sorted(found)


def test_the_blocked_of_a_weekly_cap_are_those_counted_by_hand(tmp_path: Path) -> None:
    rows = purchases(needed("cdnow/CDNOW_sample.txt"))
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "rules.yaml").write_text(RULES)
    with (tmp_path / "requests.ndjson").open("w") as file:
        for number, (at, customer, amount) in enumerate(rows):
            event = {
                "type": "purchase",
                "id": f"p-{number}",
                "at": at.isoformat(),
                "properties": {"amount": amount},
            }
            asked = {"customer_id": customer, "placement": "outbound", "event": event}
            file.write(json.dumps(asked) + "\n")
    arguments = ["decide", "--rules", str(tmp_path / "rules")]
    arguments += ["--requests", str(tmp_path / "requests.ndjson")]
    arguments += ["--out", str(tmp_path / "out.ndjson")]
    ran = subprocess.run(
        [sys.executable, "-m", "decision.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    answers = [json.loads(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]

    given: dict[str, list[datetime]] = {}
    expected: list[str] = []
    opens: list[datetime | None] = []
    for at, customer, _ in rows:
        own = given.setdefault(customer, [])
        week = [when for when in own if when > at - timedelta(days=7)]
        month = [when for when in own if (when.year, when.month) == (at.year, at.month)]
        if week or len(month) >= 2:
            expected.append("none")
            first = (at.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0)
            opens.append(
                max([when + timedelta(days=7) for when in week] + [first] * (len(month) >= 2))
            )
        else:
            expected.append("selected")
            opens.append(None)
            own.append(at)
    assert [answer["outcome"] for answer in answers] == expected
    assert {answer["reason"] for answer in answers} == {None, "capped"}
    assert [
        answer["not_before"] and datetime.fromisoformat(answer["not_before"]) for answer in answers
    ] == opens
    print(f"\n{len(rows)} purchases: {dict(Counter(expected))}")
