"""A folder of rule files becomes one policy definition."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from decision.core.clock import DAY, HOUR, MINUTE, to_micros
from decision.core.conditions import ALWAYS, All, AnyOf, Clause, Not
from decision.core.definition import (
    Budget,
    Cap,
    Goal,
    Message,
    PolicyDefinition,
    QuietHours,
    ReplyWindow,
    Reservation,
    Selector,
    Settings,
    SharedBudget,
    Suppression,
)
from decision.rulebook.diagnostics import Diagnostic
from decision.rulebook.reader import LoadResult, load_files, load_folder
from tests.rulebook.sample import CONTRACT, CONTRACT_FILES, SMALL


def good(**files: str) -> PolicyDefinition:
    """The definition of the small policy and other files, which must be without any complaint."""
    result = load_files({"a.yaml": SMALL, **{f"{name}.yaml": text for name, text in files.items()}})
    assert result.diagnostics == []
    assert result.definition is not None
    return result.definition


def message(body: str) -> Message:
    text = (
        f"messages:\n  m:\n    purpose: marketing\n    channels: [push]\n    value: 1\n    {body}\n"
    )
    return good(b=text).messages[-1]


def codes(result: LoadResult) -> list[tuple[str, str]]:
    return [(one.code, one.file) for one in result.diagnostics]


def test_the_example_of_the_contract_loads_without_diagnostics() -> None:
    result = load_files(CONTRACT_FILES)
    assert result.diagnostics == []
    policy = result.definition
    assert policy is not None
    assert policy.settings == Settings(
        timezone="Asia/Shanghai", currency="CNY", week_starts="monday"
    )
    assert {one.name: one.consent for one in policy.purposes} == {
        "marketing": "opt_in",
        "tips": "opt_out",
        "service": "not_required",
    }
    channels = {one.name: one for one in policy.channels}
    assert list(channels) == ["push", "wechat", "in_app", "sms", "email"]
    assert channels["push"].cost == 0.01
    assert channels["push"].quiet_hours == (
        QuietHours(
            start=22 * 60,
            end=8 * 60,
            except_purposes=("service",),
            source="rules/contract.yaml:11",
        ),
    )
    assert channels["push"].reservation == channels["sms"].reservation == Reservation()
    assert channels["in_app"].reservation == Reservation(expires_after=30 * MINUTE, then="release")
    assert channels["wechat"].reply_windows == (
        ReplyWindow(
            opened_by="wechat.message", lasts=48 * HOUR, allows=5, source="rules/contract.yaml:15"
        ),
        ReplyWindow(
            opened_by="wechat.scan", lasts=MINUTE, allows=3, source="rules/contract.yaml:16"
        ),
    )
    placements = {one.name: one for one in policy.placements}
    assert placements["app_home"].fallback == "hello"
    assert placements["outbound"].channels == ("push", "sms", "email", "wechat")
    coupon = policy.messages[0]
    assert coupon == Message(
        name="winback-coupon",
        source="rules/contract.yaml:23",
        purpose="marketing",
        category="retention",
        tags=("coupon",),
        channels=("push", "sms", "email"),
        placements=("outbound",),
        value=12.0,
        active_from=to_micros(datetime(2026, 10, 31, 16, tzinfo=UTC)),
        active_until=to_micros(datetime(2026, 11, 30, 16, tzinfo=UTC)),
        when=All(
            (
                Clause("customer.state", "in", ("low", "casual")),
                Clause("events.purchase.days_since", "gte", 30),
            )
        ),
        clause_sources=("rules/contract.yaml:31",) * 2,
        budget=Budget(total=10000, per_day=500, source="rules/contract.yaml:32"),
        goal=Goal(event="purchase", within=7 * DAY),
        content={"title": "We miss you, {{ customer.first_name | default('there') }}"},
        content_source="rules/contract.yaml:34",
    )
    assert [one.name for one in policy.messages] == ["winback-coupon", "hello", "cart-reminder"]
    assert policy.caps == (
        Cap(
            name="email-weekly",
            source="rules/contract.yaml:37",
            of=Selector(channel=("email",), purpose=("marketing",)),
            at_most=2,
            within=7 * DAY,
        ),
        Cap(
            name="one-a-day",
            source="rules/contract.yaml:38",
            of=Selector(purpose=("marketing",)),
            at_most=1,
            within="day",
        ),
        Cap(
            name="not-again",
            source="rules/contract.yaml:39",
            of=Selector(),
            per="message",
            at_most=1,
            within=14 * DAY,
        ),
    )
    assert policy.budgets == (
        SharedBudget(
            name="sms-month",
            source="rules/more/budgets.yaml:1",
            of=Selector(channel=("sms",)),
            spend=10_000_000_000,
            per="month",
            pace="even",
        ),
    )
    assert policy.suppressions == (
        Suppression(
            name="dismissed-twice",
            source="rules/contract.yaml:42",
            event="message.dismissed",
            times=2,
            within=30 * DAY,
            per="message",
            pause=60 * DAY,
        ),
    )
    assert [one.name for one in policy.states] == ["power", "core", "casual", "low"]
    assert policy.states[-1].when == ALWAYS
    spender, no_coupon, complaint, rescue = policy.rules
    assert spender.set == {"customer.tier": "gold"}
    assert no_coupon.exclude == Selector(tags=("coupon",))
    assert complaint.allow_only == Selector(purpose=("service",))
    assert complaint.when == Clause("customer.open_complaint", "eq", True)
    assert (rescue.boost, rescue.by) == (Selector(tags=("cart",)), 1.5)
    holdout, test = policy.experiments
    assert (holdout.share, holdout.seed, holdout.keeps) == (0.02, "hold-2026", ("service",))
    assert test.variants == {"control": 0.5, "short": 0.5}


# ---------------------------------------------------------------- what may be written how


def test_settings_that_the_contract_does_not_name_are_read() -> None:
    text = "settings: {exploration: 20, starting_probability: 1%, starting_evidence: 50, request_id_lasts: 2h}"
    assert good(b=text).settings == Settings(
        exploration=20, starting_probability=0.01, starting_evidence=50, request_id_lasts=2 * HOUR
    )
    assert good(b="settings: {exploration: off}").settings.exploration is None
    assert good().settings == Settings()


def test_settings_may_be_in_several_files_but_each_only_once() -> None:
    spread = good(b="settings: {currency: CNY}", c="settings: {timezone: Asia/Tokyo}").settings
    assert (spread.currency, spread.timezone) == ("CNY", "Asia/Tokyo")
    twice = load_files(
        {
            "a.yaml": SMALL,
            "b.yaml": "settings: {currency: CNY}",
            "c.yaml": "settings:\n  currency: CNY",
        }
    )
    assert [one.place for one in twice.diagnostics] == ["rules/c.yaml:2:3"]
    assert "rules/b.yaml:1" in twice.diagnostics[0].message


@pytest.mark.parametrize(
    ("written", "condition"),
    [
        ("{}", ALWAYS),
        ("{customer.a: 1}", Clause("customer.a", "eq", 1)),
        ('{customer.a: "no"}', Clause("customer.a", "eq", "no")),
        (
            "{customer.a: {gte: 1, lt: 5}}",
            All((Clause("customer.a", "gte", 1), Clause("customer.a", "lt", 5))),
        ),
        ("{customer.a: {eq: [1, x]}}", Clause("customer.a", "eq", (1, "x"))),
        ("{customer.a: {exists: false}}", Clause("customer.a", "exists", False)),
        ("{customer.a: {not_in: [1, 2]}}", Clause("customer.a", "not_in", (1, 2))),
        (
            "{customer.a: {matches: '^1[3-9]\\d{9}$'}}",
            Clause("customer.a", "matches", "^1[3-9]\\d{9}$"),
        ),
        ("{not: {customer.a: 1}}", Not(Clause("customer.a", "eq", 1))),
        (
            "{not: {customer.a: 1, customer.b: 2}}",
            Not(All((Clause("customer.a", "eq", 1), Clause("customer.b", "eq", 2)))),
        ),
        (
            "{any: [{customer.a: 1}, {all: [{customer.b: 2}, {not: {customer.c: 3}}]}], event.type: x}",
            All(
                (
                    AnyOf(
                        (
                            Clause("customer.a", "eq", 1),
                            All(
                                (Clause("customer.b", "eq", 2), Not(Clause("customer.c", "eq", 3)))
                            ),
                        )
                    ),
                    Clause("event.type", "eq", "x"),
                )
            ),
        ),
        (
            "{time.date: {gte: 2026-11-01}, time.hour: {in: [9, 10]}}",
            All((Clause("time.date", "gte", "2026-11-01"), Clause("time.hour", "in", (9, 10)))),
        ),
        ("{contacts.push.count_7d: {lt: 3}}", Clause("contacts.push.count_7d", "lt", 3)),
        ("{events.wechat.message.count_2h: 0}", Clause("events.wechat.message.count_2h", "eq", 0)),
        ("{events.purchase.last_sku: A-1}", Clause("events.purchase.last_sku", "eq", "A-1")),
        ("{customer.segment.vip: true}", Clause("customer.segment.vip", "eq", True)),
        ("{customer.城市: 上海}", Clause("customer.城市", "eq", "上海")),
    ],
)
def test_conditions_nest_as_the_contract_says(written: str, condition: object) -> None:
    assert message(f"when: {written}").when == condition


@pytest.mark.parametrize(
    ("written", "start", "until"),
    [
        ("{from: 2026-11-01}", "2026-10-31T16:00:00+00:00", None),
        ("{until: 2026-11-01T00:00:00Z}", None, "2026-11-01T00:00:00+00:00"),
        ("{from: 2026-11-01t08:00:00.5+08:00}", "2026-11-01T00:00:00.500000+00:00", None),
        ("{until: 9999-12-31}", None, "9999-12-30T16:00:00+00:00"),
    ],
)
def test_a_bare_date_is_midnight_in_the_time_zone_of_the_settings(
    written: str, start: str | None, until: str | None
) -> None:
    text = f"messages: {{m: {{purpose: marketing, channels: [push], value: 1, active: {written}}}}}"
    found = good(b=text, z="settings: {timezone: Asia/Shanghai}").messages[-1]
    times = [to_micros(datetime.fromisoformat(one)) if one else None for one in (start, until)]
    assert [found.active_from, found.active_until] == times


def test_a_single_value_counts_as_a_list() -> None:
    text = "caps: {c: {of: {tags: sale, channel: [push, email], message: coupon}, at_most: 1, within: calendar week}}"
    cap = good(b=text).caps[0]
    assert cap.of == Selector(tags=("sale",), channel=("push", "email"), messages=("coupon",))
    assert cap.within == "week"


@pytest.mark.parametrize(
    ("variants", "shares"),
    [
        ("{a: 33.3%, b: 33.3%, c: 33.4%}", {"a": 0.333, "b": 0.333, "c": 0.334}),
        ("{a: 0.25, b: 0.75}", {"a": 0.25, "b": 0.75}),
        ("{a: 25, b: 75}", {"a": 0.25, "b": 0.75}),
        ("{a: 25%, b: 0.75}", {"a": 0.25, "b": 0.75}),
        ("{a: 0%, b: 100%}", {"a": 0.0, "b": 1.0}),
        ("{a: 1, b: 0}", {"a": 1.0, "b": 0.0}),
    ],
)
def test_variants_are_shares_that_make_a_hundred_percent(
    variants: str, shares: dict[str, float]
) -> None:
    found = good(b=f"experiments: {{e: {{seed: s, variants: {variants}}}}}").experiments[0].variants
    assert found == pytest.approx(shares)


@pytest.mark.parametrize(
    ("written", "share"),
    [("2%", 0.02), ("0.02", 0.02), ("2.5 %", 0.025), ("0%", 0.0), ("100%", 1.0), ("1", 1.0)],
)
def test_a_share_is_percent_or_a_fraction(written: str, share: float) -> None:
    text = f"experiments: {{e: {{seed: s, share: {written}}}}}"
    result = load_files({"a.yaml": SMALL, "b.yaml": text})
    # A control group of everybody is allowed, and warned of.
    assert [one.code for one in result.diagnostics] == ["holdouts-too-large"] * (share == 1)
    assert result.definition is not None
    assert result.definition.experiments[0].share == pytest.approx(share)


def test_one_rule_may_do_several_things_and_hold_always() -> None:
    rule = good(
        b="rules: {r: {set: {customer.a: [1, x]}, exclude: {messages: ['coup*']}, boost: {}, by: 2}}",
        c="messages: {other: {purpose: marketing, channels: [push], value: 1}}",
    ).rules[0]
    assert rule.when == ALWAYS
    assert rule.set == {"customer.a": [1, "x"]}
    assert rule.exclude == Selector(messages=("coup*",))
    assert (rule.boost, rule.by) == (Selector(), 2)


def test_a_channel_takes_one_reply_window_and_longest_fields() -> None:
    channel = good(
        b="channels: {c: {reply_window: {opened_by: x.y, lasts: 1h}, max_length: {title: 50}}}"
    ).channels[-1]
    assert channel.reply_windows == (
        ReplyWindow(opened_by="x.y", lasts=HOUR, source="rules/b.yaml:1"),
    )
    assert channel.max_length == {"title": 50}


def test_names_may_be_chinese_and_look_like_anything_in_yaml() -> None:
    text = "messages: {双十一: {purpose: marketing, channels: [push], value: 1}, no: {purpose: marketing, channels: [push], value: 1}, 12: {purpose: marketing, channels: [push], value: 1}}"
    assert [one.name for one in good(b=text).messages] == ["coupon", "双十一", "no", "12"]


def test_a_message_of_no_value_may_be_a_fallback_or_face_a_negative_threshold() -> None:
    good(
        b="placements: {p: {channels: [push], fallback: hi}, q: {channels: [email], threshold: -1}}",
        c="purposes: {service: {consent: not_required}}",
        d="messages: {hi: {purpose: service, channels: [push]}, free: {purpose: marketing, channels: [email]}}",
    )


def test_empty_sections_are_not_an_error() -> None:
    good(b="rules: # none yet\ncaps:\nstates: {}\n")


# ---------------------------------------------------------------- files and folders


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, text in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode() if isinstance(text, str) else text)
    return root


def test_a_folder_is_read_recursively_in_path_order_except_tests(tmp_path: Path) -> None:
    rule = "rules: {{{}: {{set: {{customer.a: 1}}}}}}"
    root = write(
        tmp_path / "rules",
        {
            "z.yaml": SMALL,
            "b/a.yaml": rule.format("second"),
            "b.yaml": rule.format("first"),
            "a b/中文.yaml": rule.format("zeroth"),
            "tests/t.yaml": "not: read",
            "b/tests/t.yaml": "not: read",
            ".git/x.yaml": "not: read",
            ".#b.yaml": "not: read",
            "notes.txt": "not read",
        },
    )
    result = load_folder(root)
    assert result.diagnostics == []
    assert result.definition is not None
    assert [one.name for one in result.definition.rules] == ["zeroth", "first", "second"]
    assert [one.source for one in result.definition.rules] == [
        "rules/a b/中文.yaml:1",
        "rules/b.yaml:1",
        "rules/b/a.yaml:1",
    ]
    assert list(result.definition.files) == ["a b/中文.yaml", "b.yaml", "b/a.yaml", "z.yaml"]


def test_the_same_files_have_the_same_version_anywhere(tmp_path: Path) -> None:
    first = load_folder(write(tmp_path / "one" / "rules", CONTRACT_FILES)).definition
    second = load_folder(write(tmp_path / "two" / "other-name", CONTRACT_FILES)).definition
    third = load_files(dict(reversed(CONTRACT_FILES.items()))).definition
    assert first and second and third
    assert first.version == second.version == third.version
    again = load_files(first.files).definition
    assert again == first
    assert len(first.version) == 12 and int(first.version, 16) >= 0
    # Pinned: a version logged today must name the same files for ever.
    assert load_files({"a.yaml": SMALL}).definition.version == "0b19f190b592"


def test_any_change_of_any_byte_or_name_is_another_version() -> None:
    versions = {
        load_files(files).definition.version
        for files in (
            {"a.yaml": SMALL},
            {"a.yaml": SMALL + "\n"},
            {"b.yaml": SMALL},
            {"a.yaml": SMALL, "b.yaml": ""},
            {"a.yaml": "\ufeff" + SMALL},
            {"a.yaml": SMALL.replace("\n", "\r\n")},
        )
    }
    assert len(versions) == 6


def test_a_byte_order_mark_survives_publishing() -> None:
    first = load_files({"a.yaml": b"\xef\xbb\xbf" + SMALL.encode()}).definition
    assert first is not None
    assert load_files(first.files).definition == first


def test_a_missing_folder_and_a_file_in_its_place_are_diagnostics(tmp_path: Path) -> None:
    missing = load_folder(tmp_path / "rules")
    assert codes(missing) == [("unreadable-file", "rules")]
    assert "does not exist" in missing.diagnostics[0].message
    (tmp_path / "rules").write_text("x")
    assert "is not a folder" in load_folder(tmp_path / "rules").diagnostics[0].message


def test_a_folder_without_rules_is_an_error(tmp_path: Path) -> None:
    assert codes(load_folder(tmp_path)) == [("no-rules", tmp_path.name)]
    assert codes(load_folder(write(tmp_path, {"a.yaml": "# later\n", "b.yaml": ""}))) == [
        ("no-rules", tmp_path.name)
    ]
    assert codes(load_files({})) == [("no-rules", "rules")]


def test_files_that_only_look_like_rule_files_get_a_warning(tmp_path: Path) -> None:
    root = write(
        tmp_path / "rules", {"a.yaml": SMALL, "caps.yml": "caps: {}", "B.YAML": "caps: {}"}
    )
    result = load_folder(root)
    assert result.definition is not None
    assert codes(result) == [("ignored-file", "rules/B.YAML"), ("ignored-file", "rules/caps.yml")]
    assert result.errors == [] and len(result.warnings) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_a_diagnostic(tmp_path: Path) -> None:
    root = write(tmp_path / "rules", {"a.yaml": SMALL, "b.yaml": SMALL})
    (root / "b.yaml").chmod(0)
    assert codes(load_folder(root)) == [("unreadable-file", "rules/b.yaml")]


def test_links_are_followed_and_broken_links_are_errors(tmp_path: Path) -> None:
    root = write(tmp_path / "rules", {"a.yaml": SMALL})
    other = write(tmp_path / "other", {"x/r.yaml": "rules: {r: {exclude: {}}}"})
    (root / "linked").symlink_to(other)
    (root / "linked" / "x" / "back").symlink_to(root)
    result = load_folder(root)
    assert result.definition is not None
    assert list(result.definition.files) == ["a.yaml", "linked/x/r.yaml"]
    (root / "b.yaml").symlink_to(tmp_path / "gone.yaml")
    assert codes(load_folder(root)) == [("unreadable-file", "rules/b.yaml")]


def test_a_pipe_named_like_a_rule_file_does_not_block(tmp_path: Path) -> None:
    root = write(tmp_path / "rules", {"a.yaml": SMALL})
    os.mkfifo(root / "pipe.yaml")
    assert codes(load_folder(root)) == [("unreadable-file", "rules/pipe.yaml")]


def test_a_large_file_and_one_in_gbk_are_named(tmp_path: Path) -> None:
    root = write(
        tmp_path / "rules",
        {"a.yaml": SMALL, "big.yaml": b"#" * 5_000_001, "gbk.yaml": "# 你好\n".encode("gbk")},
    )
    assert codes(load_folder(root)) == [
        ("too-large", "rules/big.yaml"),
        ("bad-encoding", "rules/gbk.yaml"),
    ]


def test_a_file_name_that_is_not_utf_8_is_shown_with_escapes(tmp_path: Path) -> None:
    root = write(tmp_path / "rules", {"a.yaml": SMALL})
    (root / os.fsdecode(b"b\xff.yaml")).write_bytes(b"rules: {r: {exclude: {}}}")
    result = load_folder(root)
    assert result.definition is not None
    assert result.definition.rules[0].source == "rules/b\\udcff.yaml:1"


def test_a_folder_named_by_a_dot_has_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path / "my-rules", {"a.yaml": SMALL})
    monkeypatch.chdir(root)
    result = load_folder(".")
    assert result.definition is not None
    assert result.definition.messages[0].source == "my-rules/a.yaml:9"
    (root / "sub").mkdir()
    monkeypatch.chdir(root / "sub")
    assert load_folder("..").definition == result.definition


def test_files_in_memory_are_chosen_like_those_of_a_folder() -> None:
    files = {"a.yaml": SMALL, "tests/t.yaml": "not: read", ".x.yaml": "not: read", "notes.md": "x"}
    result = load_files(files, folder="policy")
    assert result.definition is not None
    assert list(result.definition.files) == ["a.yaml"]
    assert result.definition.messages[0].source == "policy/a.yaml:9"


def test_a_string_that_is_not_valid_text_is_an_error() -> None:
    assert codes(load_files({"a.yaml": "rules: '\ud800'"})) == [("bad-encoding", "rules/a.yaml")]


def test_a_name_used_in_two_files_is_an_error_with_both_places() -> None:
    result = load_files(
        {
            "a.yaml": SMALL,
            "b.yaml": "\nmessages:\n  coupon: {purpose: marketing, channels: [push], value: 1}\n",
        }
    )
    assert [one.place for one in result.diagnostics] == ["rules/b.yaml:3:3"]
    assert "rules/a.yaml:9" in result.diagnostics[0].message


def test_one_name_may_be_used_in_several_sections() -> None:
    good(b="rules: {coupon: {exclude: {}}}\ncaps: {coupon: {of: {}, at_most: 1, within: 1d}}")


def test_an_error_anywhere_gives_no_definition_and_a_warning_does() -> None:
    warned = load_files({"a.yaml": SMALL, "b.yaml": "states: {a: {}, b: {}}"})
    assert warned.definition is not None and [one.code for one in warned.warnings] == ["no-effect"]
    wrong = load_files({"a.yaml": SMALL, "b.yaml": "states: {a: {}, b: {}}\nx: 1"})
    assert wrong.definition is None and len(wrong.errors) == 1 and len(wrong.warnings) == 1


def test_a_diagnostic_shows_place_line_caret_and_hint() -> None:
    text = CONTRACT.replace("    channels: [push, sms, email]", "    chanels: [push, sms, email]")
    result = load_files({**CONTRACT_FILES, "contract.yaml": text})
    found: Diagnostic = next(one for one in result.diagnostics if one.code == "unknown-key")
    assert found.render() == (
        'rules/contract.yaml:27:5: error: message "winback-coupon" cannot have the key "chanels" [unknown-key]\n'
        "  27 |     chanels: [push, sms, email]\n"
        "     |     ^\n"
        '  hint: did you mean "channels"? write channels: [push, sms, email]'
    )


def test_conditions_are_reviewed_unless_their_own_definition_has_an_error() -> None:
    text = """\
states: {low: {when: {customer.a: {bogus: 1}}}}
experiments: {copy: {seed: s, variants: {a: 50%, b: x}}}
messages:
  good: {purpose: marketing, channels: [push], value: 1, when: {time.hour: {gt: 23}}}
  bad: {purpose: marketing, channels: [fax], value: 1, when: {time.hour: {gt: 23}}}
rules:
  r: {when: {customer.state: {exists: false}}, exclude: {tags: sale}}
  s: {when: {experiment.copy: b}, exclude: {tags: sale}}
"""
    result = load_files({"a.yaml": SMALL, "b.yaml": text})
    assert [(one.code, one.line) for one in result.diagnostics if one.line > 2] == [
        ("never-holds", 4),
        ("unknown-name", 5),
    ]
    unread = load_files({"a.yaml": SMALL, "b.yaml": text, "c.yaml": "\ta: b"})
    assert "never-holds" not in [one.code for one in unread.diagnostics]


def test_a_policy_that_was_in_force_can_be_read_again_in_spite_of_the_review() -> None:
    rule = "rules: {r: {when: {time.hour: {gt: 23}}, exclude: {}}}"
    assert codes(load_files({"a.yaml": SMALL, "b.yaml": rule})) == [("never-holds", "rules/b.yaml")]
    again = load_files({"a.yaml": SMALL, "b.yaml": rule}, again=True)
    assert again.diagnostics == [] and again.definition is not None
