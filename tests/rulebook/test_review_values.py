"""Values of real data that are no version, date or number are counted where rules need one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from decision.intake.field_sample import known_fields
from decision.rulebook.diagnostics import Diagnostic
from decision.rulebook.reader import load_files
from decision.rulebook.review.observed import review_fields
from tests.rulebook.sample import SMALL

CUSTOMERS: list[dict[str, Any]] = [
    {
        "birthday": "2008/2/29",
        "app": "iOS 3.9.0",
        "renewal": "29.11.2026",
        "spend": "¥600",
        "weekly": 2.5,
        "contract": {"end": "2026-11-29 10:00"},
        "build": 3.1,
    },
    {
        "birthday": "1990-01-02",
        "app": "3.10.0",
        "renewal": "2026-12-02",
        "spend": "600",
        "weekly": 3,
        "contract": {"end": "2026-11-29T10:00:00+08:00"},
        "build": "3.2",
        "ok": "2026-11-02",
    },
    {"birthday": 39507, "app": "", "spend": 600, "ok": "1990-01-02T10:00:00Z", "clean": "v3.1-rc"},
]
EVENTS = [{"items": {"sku": "a"}, "inviters": ["c-1"], "app": "web"}, {"items": [1], "app": "2.0"}]
MESSAGE = "messages: {{m: {{purpose: marketing, channels: [push], value: 1, {}}}}}\n"


@pytest.fixture
def sample(tmp_path: Path) -> str:
    file = tmp_path / "customers.ndjson"
    lines: list[dict[str, Any]] = [
        {"customer_id": f"c-{number}", "attributes": attributes}
        for number, attributes in enumerate(CUSTOMERS)
    ]
    lines[0]["events"] = [
        {"id": str(number), "type": "buy", "at": "2026-11-01T00:00:00Z", "properties": properties}
        for number, properties in enumerate(EVENTS)
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    return str(file)


def found(sample: str, text: str) -> list[Diagnostic]:
    result = load_files({"a.yaml": SMALL, "b.yaml": text})
    assert result.definition is not None, result.diagnostics
    return review_fields(result.definition, result.places, known_fields(sample))


@pytest.mark.parametrize(
    ("when", "said", "hint"),
    [
        ("customer.birthday.anniversary_in: 0", '2 of 3 values among', "store it as 2008-02-29"),
        ("customer.birthday.years_since: {gte: 18}", 'such as "2008/2/29"', "2008-02-29"),
        ("not: {customer.birthday.days_since: {lt: 9}}", "has no value there", "2008-02-29"),
        ("customer.contract.end.days_until: 3", "1 of 2 values", "store it as 2026-11-29"),
        ('customer.renewal: {lt: "2026-12-01"}', "lt compares letters", "store it as 2026-11-29"),
        ('customer.app: {vgte: "3.10.0"}', 'such as "iOS 3.9.0"', 'store it as "3.9.0"'),
        ('customer.app: {vne: "3.10"}', "2 of 3 values", '{vne: "3.10", matches: "^v?[0-9]"}'),
        ("customer.clean: {vlt: {field: customer.app}}", "customer.app is no version", "3.9.0"),
        ('customer.build: {vgte: "3.2"}', "3.10 and 3.1 are one number", "--text"),
        ('event.app: {vgte: "2.0"}', 'event.app is no version in 1 of 2', "store nothing"),
        ('events.buy.last_app: {vlt: "2.0"}', 'such as "web"', "store nothing"),
        ('customer.app: {vgte: "3.10.0", matches: "^v?[0-9]"}', "", ""),
        ("customer.ok.days_since: {gte: 1}", "", ""),
        ('customer.ok: {lt: "2026-12-01"}', "", ""),
        ('customer.clean: {vgte: "3.0"}', "", ""),
        ('customer.renewal: {matches: "2026"}', "", ""),
        ('customer.renewal: "2026-12-02"', "", ""),
        ("customer.app: {exists: true}", "", ""),
    ],
)  # fmt: skip
def test_what_conditions_cannot_read_is_counted_with_an_example_and_a_fix(
    sample: str, when: str, said: str, hint: str
) -> None:
    one = found(sample, f"rules: {{r: {{when: {{{when}}}, exclude: {{tags: sale}}}}}}\n")
    assert [each.code for each in one] == (["unread-value"] if said else [])
    assert all(said in each.message and hint in each.hint for each in one), one
    assert all(each.source_line[each.column - 1 :][:5] in ("custo", "event") for each in one)


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("content: {a: \"{{ customer.birthday | date }}\"}", "date prints nothing", "2008-02-29"),
        ("content: {a: \"{{ customer.spend | default(0) | money }}\"}", "is no number", "as 600"),
        ("content: {a: [\"{{ customer.renewal | date('long') | upper }}\"]}", "1 of 2", "11-29"),
        ("content: {a: \"{{ customer.contract.end | date }}\"}", "", ""),
        ("content: {a: \"{{ customer.weekly | number }}{{ customer.birthday }}\"}", "", ""),
    ],
)  # fmt: skip
def test_what_filters_of_texts_cannot_write_is_counted(
    sample: str, text: str, said: str, hint: str
) -> None:
    one = found(sample, MESSAGE.format(text))
    assert [each.code for each in one] == (["unread-value"] if said else [])
    assert all(said in each.message and hint in each.hint for each in one), one


def test_limits_of_caps_lists_of_events_and_ids_of_customers_are_looked_at(sample: str) -> None:
    text = """\
caps: {c: {of: {}, at_most: {field: customer.weekly, default: 3}, within: 7d}}
events:
  line: {of: buy, each: items}
  invited: {of: buy, for: event.inviters}
  on-the-web: {of: buy, when: {event.app: {vlt: "2.0"}}}
  each-invited: {of: buy, each: inviters, for: event.value}
"""
    one = found(sample, text)
    assert [(each.line, each.code) for each in one] == [(n, "unread-value") for n in (1, 3, 4, 5)]
    assert "so 3 counts there" in one[0].message
    assert "1 of 2 values" in one[1].message
    assert one[2].hint.endswith("write each: inviters, for: event.value")
