"""`nextbest decide`: offline, with the code of the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOON = "2026-11-21T12:00:00+08:00"


@pytest.fixture
def decide(run, rules, tmp_path):
    """Decides lines; returns the result and the answers."""

    def call(*lines: object, args: tuple[object, ...] = (), name: str = "answers"):
        requests = tmp_path / "requests.ndjson"
        text = "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines)
        requests.write_text(text, "utf-8")
        out = tmp_path / f"{name}.ndjson"
        result = run("decide", "--rules", rules, "--requests", requests, "--out", out, *args)
        return result, [json.loads(line) for line in out.read_text("utf-8").splitlines()]

    return call


def ask(customer_id: str = "c-1", at: str = NOON, **fields: Any) -> dict[str, Any]:
    return {"placement": "app_home", "customer_id": customer_id, "at": at, **fields}


def customers(tmp_path: Path, count: int) -> Path:
    path = tmp_path / "customers.ndjson"
    rows = [
        {"customer_id": f"c-{n}", "consents": {"marketing": {"*": "granted"}}} for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_each_request_gives_a_line_in_order(decide):
    result, answers = decide(ask("c-1"), ask("c-2", "2026-11-22T12:00:00+08:00"))
    assert result.exit_code == 0
    assert [answer["customer_id"] for answer in answers] == ["c-1", "c-2"]
    assert [answer["decided_at"] for answer in answers] == [
        "2026-11-21T04:00:00Z",
        "2026-11-22T04:00:00Z",
    ]
    assert answers[0]["outcome"] == "fallback"
    assert answers[0]["selections"][0]["content"] == {"text": "Hello you"}
    assert "2 requests: 0 selected, 2 fallback, 0 none" in result.stderr


def test_the_events_time_is_the_clock_and_a_line_without_either_keeps_it(decide):
    event = {"type": "app_open", "at": "2026-01-02T03:04:05Z"}
    _, answers = decide(
        {"placement": "app_home", "customer_id": "c-1", "event": event},
        {"placement": "app_home", "customer_id": "c-1"},
    )
    assert {answer["decided_at"] for answer in answers} == {"2026-01-02T03:04:05Z"}


def test_customers_are_there_from_the_start(decide, tmp_path):
    result, [answer] = decide(ask(), args=("--customers", customers(tmp_path, 3)))
    assert result.exit_code == 0
    assert answer["outcome"] == "selected"


def test_caps_count_over_the_lines_of_the_file(decide, tmp_path):
    lines = [ask(at=f"2026-11-21T12:0{n}:00+08:00") for n in range(6)]
    args = ("--customers", customers(tmp_path, 2), "--explain")
    _, answers = decide(*lines, args=args)
    given = [row["selections"][0]["message"] for row in answers if row["outcome"] == "selected"]
    assert sorted(given) == ["coupon", "coupon", "news", "news"]
    assert {row["reason"] for row in answers[-1]["explanation"]} >= {"capped", "below_threshold"}
    assert answers[-1]["not_before"] > answers[-1]["decided_at"]


def test_an_event_line_is_recorded_at_its_time(decide, tmp_path):
    bought = {"type": "purchase", "customer_id": "c-1", "at": "2026-11-21T11:59:00+08:00"}
    result, [answer] = decide(
        bought, ask(placement="outbound"), args=("--customers", customers(tmp_path, 2), "--explain")
    )
    reasons = {row["message"]: row for row in answer["explanation"] if row["channel"] == "email"}
    assert reasons["coupon"]["reason"] == "not_eligible"
    assert reasons["coupon"]["detail"] == "events.purchase.count_7d is 1, must be 0"
    assert reasons["coupon"]["source"] == "rules/all.yaml:21"
    assert "1 event recorded" in result.stderr


def test_a_bad_line_gives_an_error_line_and_the_rest_goes_on(decide):
    result, answers = decide(
        "{",
        ask(placement="app_hom"),
        {"customer_id": "c-1"},
        ask(limit=0),
        {"type": "message.clicked", "customer_id": "c-1", "decision_id": "x", "at": NOON},
        ask(),
    )
    assert result.exit_code == 1
    assert [answer.get("error", {}).get("line") for answer in answers] == [1, 2, 3, 4, 5, None]
    details = [answer["error"]["detail"] for answer in answers[:5]]
    assert "not JSON" in details[0]
    assert 'did you mean "app_home"?' in details[1]
    assert "neither placement nor type" in details[2]
    assert details[3].startswith("limit: ")
    assert details[4].startswith("decision_id: ")
    assert answers[1]["error"]["errors"][0]["path"] == "placement"
    assert "5 bad lines" in result.stderr


def test_line_numbers_count_blank_lines(decide):
    _, answers = decide(ask(), "", "", "{", ask())
    assert answers[1]["error"]["line"] == 4


def comparable(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: row[key] for key in row if key != "decision_id"} for row in answers]


def test_the_same_seed_gives_the_same_answers_but_for_their_ids(decide, tmp_path):
    args = ("--customers", customers(tmp_path, 300))
    lines = [ask(f"c-{n}", request_id=f"r-{n}") for n in range(300)]
    runs = [
        comparable(decide(*lines, args=(*args, "--seed", seed), name=f"run{number}")[1])
        for number, seed in enumerate(["a", "a", "b"])
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_a_request_id_that_comes_again_gets_the_same_answer(decide, tmp_path):
    args = ("--customers", customers(tmp_path, 2), "--explain")
    first = ask(request_id="r-1")
    _, answers = decide(first, ask(), first, ask("c-1", "2026-11-21T14:00:00+08:00"), args=args)
    assert answers[0] == answers[2]
    assert answers[0]["explanation"]
    assert answers[0]["decision_id"] != answers[1]["decision_id"]


def test_standard_input_to_standard_output(run, rules):
    text = json.dumps(ask()) + "\n"
    result = run("decide", "--rules", rules, "--requests", "-", "--out", "-", stdin=text)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["outcome"] == "fallback"


def test_json_counts(decide):
    result, _ = decide(ask(), "{", args=("--json",))
    answer = json.loads(result.stdout)
    assert (answer["requests"], answer["fallback"], answer["errors"]) == (1, 1, 1)


def test_bad_customers_are_told_and_exit_1(decide, tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("customer_id,timezone\nc-1,Nowhere\nc-2,\n", "utf-8")
    result, [answer] = decide(ask("c-2"), args=("--customers", path))
    assert result.exit_code == 1
    assert f"{path}:2: timezone: " in result.stderr
    assert answer["outcome"] == "fallback"


def test_a_customers_history_may_lie_long_before_the_present(decide, tmp_path):
    path = tmp_path / "c.ndjson"
    event = {"type": "purchase", "at": "2019-03-01T11:00:00Z"}
    row = {"customer_id": "c-1", "consents": {"marketing": {"*": "granted"}}, "events": [event]}
    path.write_text(json.dumps(row), "utf-8")
    lines = [
        ask(at=at, placement="outbound") for at in ("2019-03-02T11:00:00Z", "2019-03-20T11:00:00Z")
    ]
    _, answers = decide(*lines, args=("--customers", path, "--explain"))
    reasons = [
        row["reason"]
        for answer in answers
        for row in answer["explanation"]
        if (row["message"], row["channel"]) == ("coupon", "email")
    ]
    assert reasons[0] == "not_eligible"
    assert reasons[1] != "not_eligible"


def test_rules_with_errors_are_refused(decide, run, rules, tmp_path):
    (rules / "more.yaml").write_text("nonsense: 1\n", "utf-8")
    (tmp_path / "r").write_text("", "utf-8")
    result = run("decide", "--rules", rules, "--requests", tmp_path / "r", "--out", "-")
    assert result.exit_code == 1
    assert "rules/more.yaml:1:1" in result.stderr


def test_the_answers_never_go_over_the_requests(run, rules, tmp_path):
    path = tmp_path / "r.ndjson"
    path.write_text("{}", "utf-8")
    result = run("decide", "--rules", rules, "--requests", path, "--out", path)
    assert result.exit_code == 1
    assert path.read_text("utf-8") == "{}"


def test_a_model_that_is_named_and_not_there_is_refused(run, rules, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    (models / "current").write_text("gone/1\n", "utf-8")
    (tmp_path / "r").write_text("", "utf-8")
    args = ("--requests", tmp_path / "r", "--out", "-", "--models", models)
    result = run("decide", "--rules", rules, *args)
    assert result.exit_code == 1
    assert "gone/1" in result.stderr


def test_money_is_freed_by_the_time_of_the_requests(run, tmp_path):
    """Half of a day's money by noon, in the time zone of the settings."""
    rules, requests, out = (tmp_path / name for name in ("rules", "in.ndjson", "out.ndjson"))
    rules.mkdir()
    (rules / "rules.yaml").write_text(
        """\
settings: {timezone: Asia/Shanghai, currency: CNY, exploration: "off"}
purposes: {marketing: {consent: opt_out}}
channels: {push: {cost: 0.01}}
placements: {app_home: {channels: [push]}}
messages:
  a: {purpose: marketing, channels: [push], value: 5, content: {t: a}}
budgets:
  day: {of: {channel: push}, spend: 0.02, per: calendar day, pace: even}
""",
        "utf-8",
    )
    times = ["00:00:00", "11:59:59", "12:00:00", "12:00:01", "23:59:59.999999"]
    days = [f"2026-11-21T{time}+08:00" for time in times]
    lines = [json.dumps(ask(f"k{number}", at)) for number, at in enumerate(days)]
    requests.write_text("\n".join(lines), "utf-8")
    run("decide", "--rules", rules, "--requests", requests, "--out", out)
    answers = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    outcomes = [one["outcome"] for one in answers]
    assert outcomes == ["none", "none", "selected", "none", "selected"]


def test_what_a_reservation_took_of_a_budget_comes_back_when_it_ends(run, tmp_path):
    rules, requests, out = (tmp_path / name for name in ("rules", "in.ndjson", "out.ndjson"))
    rules.mkdir()
    (rules / "rules.yaml").write_text(
        """\
settings: {timezone: Asia/Shanghai, currency: CNY, exploration: "off"}
purposes: {marketing: {consent: opt_out}}
channels: {push: {reservation: {expires_after: 1h, then: release}}}
placements: {app_home: {channels: [push]}}
messages:
  a: {purpose: marketing, channels: [push], value: 5, budget: {total: 1}, content: {t: a}}
""",
        "utf-8",
    )
    times = [NOON, "2026-11-21T12:59:59+08:00", "2026-11-21T13:00:00+08:00"]
    lines = [json.dumps(ask(f"k{number}", at)) for number, at in enumerate(times)]
    requests.write_text("\n".join(lines), "utf-8")
    run("decide", "--rules", rules, "--requests", requests, "--out", out)
    answers = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [one["outcome"] for one in answers] == ["selected", "none", "selected"]
    assert answers[1]["reason"] == "budget_spent"


def test_coupon_codes_are_made_up_or_read_from_a_file(decide, rules, tmp_path):
    text = (rules / "all.yaml").read_text("utf-8")
    text = text.replace("currency: CNY}", 'currency: CNY, exploration: "off"}')
    text = text.replace(
        "value: 5\n    content: {title: 新茶到店}",
        'value: 5\n    coupon: spring\n    content: {title: "{{ coupon.code }}"}',
    )
    (rules / "all.yaml").write_text(text + "coupons: {spring: {}}\n", "utf-8")
    (tmp_path / "codes.csv").write_text("code\nSPRING-1\n", "utf-8")
    lines = [ask("c-0", placement="outbound"), ask("c-1", placement="outbound")]
    known = ("--customers", customers(tmp_path, 2))
    for args, titles in (
        (known, ["CODE-1", "CODE-2"]),
        (
            (*known, "--coupons", f"spring={tmp_path / 'codes.csv'}"),
            ["SPRING-1", "Ten percent off"],
        ),
    ):
        result, answers = decide(*lines, args=args)
        assert result.exit_code == 0, result.output
        assert [one["selections"][0]["content"]["title"] for one in answers] == titles
    result, _ = decide(*lines, args=("--coupons", "spring"))
    assert result.exit_code == 2
    assert "write POOL=FILE" in result.stderr
    result, _ = decide(*lines, args=("--coupons", f"sprng={tmp_path / 'codes.csv'}"))
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert '"sprng" is not a coupon pool of the policy; did you mean "spring"?' in said
