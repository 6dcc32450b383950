"""Alert rules and the dashboard name metrics and labels that exist, in expressions that Prometheus reads."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from ruamel.yaml import YAML

from decision.archive.service_metrics import ArchiveMetrics
from decision.server.consumer_metrics import ConsumerMetrics
from decision.server.delivery_metrics import DeliveryMetrics
from decision.server.health.metrics import StoreMetrics
from decision.server.journey_metrics import JourneyMetrics, WakeMetrics
from decision.server.metrics import Metrics
from decision.store.in_redis.rights import OF_BACKUPS, OF_NODES, RIGHTS, UNTRIED, acl_line
from tests.docs.pages import ROOT, blocks_of

ALERTS = ROOT / "docs" / "monitoring" / "alerts.yaml"
DASHBOARD = ROOT / "docs" / "monitoring" / "dashboard.json"
FROM_PROMETHEUS = {"up": {"job", "instance"}}


def metrics() -> dict[str, set[str]]:
    """Every sample that servers, senders and the archive service show, with its labels."""
    registry = CollectorRegistry()
    ArchiveMetrics(registry)
    DeliveryMetrics(registry)
    WakeMetrics(registry)
    ConsumerMetrics(registry)
    found = dict(FROM_PROMETHEUS)
    for source in (Metrics().registry, registry):
        for collector in source._collector_to_names:
            labels = set(getattr(collector, "_labelnames", ()))
            for name in source._collector_to_names[collector]:
                found[name] = {*labels, "instance", "job", *({"le"} if "bucket" in name else ())}
    return found


def alerts() -> list[dict[str, Any]]:
    loaded = YAML(typ="safe").load(ALERTS)
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("where", "expression"), [*expressions()])
def test_every_metric_and_label_of_an_expression_exists(where: str, expression: str) -> None:
    known = metrics()
    names = set(re.findall(r"\b(?:nextbest_\w+|up)\b", expression))
    assert names, where
    assert names <= known.keys()
    allowed = set.union(*(known[name] for name in names))
    selected = re.findall(r"(\w+)\s*(?:=~|!=|=)\s*\"", expression)
    grouped = [
        label.strip()
        for group in re.findall(r"\b(?:by|on|without)\s*\(([^)]*)\)", expression)
        for label in group.split(",")
    ]
    assert {*selected, *grouped} <= allowed


def test_every_metric_of_the_store_is_in_the_dashboard_or_alerted_on() -> None:
    shown = " ".join(expression for _, expression in expressions())
    registry = CollectorRegistry()
    StoreMetrics(registry)
    families = {family.name for family in registry.collect()}
    assert {name for name in families if name not in shown} == set()


def test_what_comes_in_and_goes_out_is_in_the_dashboard() -> None:
    """Every metric of Kafka, of deliveries and of journeys has a panel, and so have the reports of
    providers."""
    shown = " ".join(target["expr"] for one in panels() for target in one.get("targets", ()))
    registry = CollectorRegistry()
    DeliveryMetrics(registry)
    JourneyMetrics(registry)
    WakeMetrics(registry)
    ConsumerMetrics(registry)
    families = {family.name for family in registry.collect()} | {"nextbest_reports"}
    assert {name for name in families if name not in shown} == set()


def watched() -> Iterator[tuple[str, str]]:
    """Each metric of a table of the documentation that says when to alert, and what it says."""
    for line in (ROOT / "docs" / "operating.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 3 and cells[0].startswith("`nextbest_") and cells[2].strip(" |"):
            yield from ((name, cells[2]) for name in re.findall(r"`(nextbest_\w+)", cells[0]))


def test_there_are_metrics_to_be_alerted_on() -> None:
    assert len(list(watched())) > 30


@pytest.mark.parametrize(("metric", "when"), [*watched()])
def test_each_metric_that_the_documentation_alerts_on_has_a_rule(metric: str, when: str) -> None:
    assert [one for one in alerts() if re.search(rf"\b{metric}(_bucket)?\b", one["expr"])], when


def test_alerts_have_names_of_their_own_a_severity_and_what_to_do() -> None:
    rules = alerts()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_reads_every_expression(tmp_path: Any) -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, (_, expression) in enumerate(expressions())
    ]
    file = tmp_path / "panels.yaml"
    YAML(typ="safe").dump({"groups": [{"name": "panels", "rules": rules}]}, file)
    done = subprocess.run(
        ["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_the_user_in_the_documentation_has_the_rights_that_the_code_needs() -> None:
    (line,) = [one.text for one in blocks_of("docs/operating.md") if "ACL SETUSER" in one.text]
    assert line.strip() == acl_line("nextbest", "nb:")


def test_the_rights_are_those_of_every_command_that_is_sent_or_run_in_a_script() -> None:
    """Read from the source, so that a new command is not forgotten."""
    folder = ROOT / "decision" / "store"
    errors = (folder / "health.py", folder / "refusals.py")  # these name errors
    used = set()
    for script in (folder / "lua").iterdir():
        calls = re.findall(r"redis\.p?call\('([A-Z]+)'(?:, '([A-Z]+)')?", script.read_text())
        used |= {right_of(name, sub) for name, sub in calls}
    for file in [*folder.rglob("*.py"), *(ROOT / "decision" / "archive").glob("*.py")]:
        if file.name != "rights.py" and file not in errors:
            calls = re.findall(
                r"(?<!\*)\(\s*\"([A-Z]{3,})\"(?:, \"([A-Z]+)\")?,? ?", file.read_text()
            )
            used |= {right_of(name, sub) for name, sub in calls if name.isupper()}
    of_sentinels, errors_too = "sentinel", "moved"
    assert used - {"auth", of_sentinels, errors_too} == {
        *RIGHTS,
        *UNTRIED,
        *OF_NODES,
        *OF_BACKUPS,
    }
    text = (ROOT / "docs" / "operating.md").read_text()
    assert "`" + " ".join(f"+{right}" for right in OF_NODES[:-1]) + "`" in text


def right_of(name: str, sub: str) -> str:
    name = name.lower()
    with_sub = name in ("client", "script", "xgroup", "xinfo", "memory", "config", "acl", "cluster")
    return f"{name}|{sub.lower()}" if with_sub else name


def test_every_family_of_metrics_has_help() -> None:
    found: list[Metric] = list(Metrics().registry.collect())
    assert [family.name for family in found if not family.documentation.endswith(".")] == []


SITUATIONS: dict[str, tuple[dict[str, str], set[str]]] = {
    "all is well": (
        {
            "nextbest_api_keys": "3x120",
            'nextbest_degraded{what="keys"}': "0x120",
            "nextbest_api_key_expiry_timestamp_seconds": "0x120",
            "nextbest_model_up": "1x120",
            "nextbest_log_readers": "1x120",
            'nextbest_deliveries_behind_seconds{channel="email"}': "2x120",
            'nextbest_deliveries_oldest_seconds{channel="email"}': "400x120",
            'nextbest_gateway_failing{gateway="mail",channel="email"}': "0x120",
            'nextbest_deliveries_total{channel="sms",result="retried"}': "0+1x120",
            'nextbest_deliveries_total{channel="sms",result="sent"}': "0+90x120",
            'nextbest_deliveries_total{channel="sms",result="failed"}': "0+1x120",
            "nextbest_timers_behind_seconds": "0.5x120",
            "nextbest_timer_looks_failed_total": "0x120",
            'nextbest_timer_lag_seconds_bucket{le="1.0"}': "0+60x120",
            'nextbest_timer_lag_seconds_bucket{le="60.0"}': "0+60x120",
            'nextbest_timer_lag_seconds_bucket{le="+Inf"}': "0+60x120",
            'nextbest_journey_ended{journey="welcome",reason="goal"}': "0+60x120",
            'nextbest_journey_ended{journey="welcome",reason="loop"}': "3x120",
            'nextbest_journey_unexplained{journey="welcome"}': "0x120",
            'nextbest_journey_paused{journey="welcome"}': "0x120",
            'nextbest_journey_held_back{journey="welcome"}': "7x120",
            "nextbest_log_entries": "5x120",
            "nextbest_redis_memory_max_bytes": "1000x120",
            "nextbest_redis_memory_used_bytes": "10x120",
            "nextbest_archive_last_success_seconds": "0+60x120",
        },
        set(),
    ),
    "a server that needs no keys": (
        {"nextbest_api_keys": "0x120", 'nextbest_degraded{what="keys"}': "0x120"},
        set(),
    ),
    "a keys file that is gone": (
        {"nextbest_api_keys": "0x120", 'nextbest_degraded{what="keys"}': "1x120"},
        {"NextbestNoKeyInForce"},
    ),
    "a keys file that cannot be used": (
        {"nextbest_api_keys_refused_timestamp_seconds": "60x120"},
        {"NextbestKeysRefused"},
    ),
    "a key that ends": (
        {"nextbest_api_key_expiry_timestamp_seconds": "604800x120"},
        {"NextbestKeyEnds"},
    ),
    "a model that is gone": ({"nextbest_model_up": "1x20 0x100"}, {"NextbestModelGone"}),
    "a model that never was": ({"nextbest_model_up": "0x120"}, set()),
    "no limit of memory": (
        {"nextbest_redis_memory_max_bytes": "0x120", "nextbest_redis_memory_used_bytes": "9x120"},
        {"NextbestRedisWithoutLimit"},
    ),
    "overload": (
        {
            "nextbest_requests_overloaded_total": "0+60x120",
            "nextbest_loop_delay_seconds": "0.2x120",
            "nextbest_decisions_under_way": "8x120",
            "nextbest_decisions_limit": "8x120",
        },
        {"NextbestOverloaded", "NextbestLoopLate", "NextbestAtItsLimit"},
    ),
    "connections at their limit": (
        {"nextbest_client_connections_over_limit_total": "0+60x120"},
        {"NextbestConnectionsAtTheirLimit"},
    ),
    "fallbacks that rise": (
        {
            'nextbest_decisions_total{placement="p",outcome="selected"}': "0+600x60 36000+60x60",
            'nextbest_decisions_total{placement="p",outcome="fallback"}': "0+6x60 360+540x60",
        },
        {"NextbestFallbacksRise"},
    ),
    "deliveries that nobody sends": (
        {'nextbest_deliveries_behind_seconds{channel="email"}': "0+60x120"},
        {"NextbestDeliveriesLate"},
    ),
    "deliveries that fail": (
        {
            'nextbest_deliveries_total{channel="sms",result="sent"}': "0+90x120",
            'nextbest_deliveries_total{channel="sms",result="failed"}': "0+10x120",
            'nextbest_deliveries_total{channel="sms",result="unknown"}': "0+1x120",
            'nextbest_deliveries_total{channel="sms",result="retried"}': "0+500x120",
        },
        {"NextbestDeliveriesFail", "NextbestDeliveriesUnknown", "NextbestAttemptsFail"},
    ),
    "a provider that is down, whose deliveries are all tried again later": (
        {
            'nextbest_deliveries_behind_seconds{channel="email"}': "0x120",
            'nextbest_deliveries_oldest_seconds{channel="email"}': "0+60x120",
            'nextbest_gateway_failing{gateway="mail",channel="email"}': "1x120",
            'nextbest_deliveries_total{channel="email",result="sent"}': "900x120",
            'nextbest_deliveries_total{channel="email",result="retried"}': "0+1x120",
        },
        {
            "NextbestGatewayFailing",
            "NextbestAttemptsFail",
            "NextbestDeliveriesOld",
            "NextbestNothingSent",
            "NextbestEveryAttemptFails",
        },
    ),
    "one mail that its receiver does not take for now": (
        {
            'nextbest_deliveries_oldest_seconds{channel="email"}': "0+60x30 5x90",
            'nextbest_deliveries_total{channel="email",result="retried"}': "0 1 1 1 2x116",
        },
        set(),
    ),
    "a gateway that is paused, and a channel without one": (
        {
            'nextbest_gateway_paused{gateway="mail"}': "1x120",
            'nextbest_channel_without_gateway{channel="push"}': "1x120",
        },
        {"NextbestGatewayPaused", "NextbestChannelWithoutGateway"},
    ),
    "journeys that nobody runs": (
        {"nextbest_timers_behind_seconds": "0+60x120"},
        {"NextbestTimersLate"},
    ),
    "journeys that go on late, fail, and end for mistakes": (
        {
            "nextbest_timers_behind_seconds": "2x120",
            "nextbest_timer_looks_failed_total": "0+1x120",
            'nextbest_timer_lag_seconds_bucket{le="1.0"}': "0x120",
            'nextbest_timer_lag_seconds_bucket{le="60.0"}': "0+60x120",
            'nextbest_timer_lag_seconds_bucket{le="+Inf"}': "0+60x120",
            'nextbest_journey_ended{journey="welcome",reason="unreadable_date"}': "0+1x120",
            'nextbest_journey_unexplained{journey="welcome"}': "1x120",
            'nextbest_journey_paused{journey="welcome"}': "1x120",
        },
        {
            "NextbestJourneyPaused",
            "NextbestTimersSlow",
            "NextbestTimerLooksFail",
            "NextbestJourneyGoesWrong",
            "NextbestRunsWithoutReason",
        },
    ),
    "events that wait in Kafka": (
        {
            'nextbest_consumer_lag{topic="shop",partition="3"}': "0+500x120",
            "nextbest_consumer_waiting": "1x120",
            'nextbest_consumed_messages_total{topic="shop",result="stored"}': "0+90x120",
            'nextbest_consumed_messages_total{topic="shop",result="rejected"}': "0+10x120",
        },
        {"NextbestConsumerBehind", "NextbestConsumerWaits", "NextbestMessagesRejected"},
    ),
    "an archive that grows behind": (
        {"nextbest_archive_pending_entries": "20000+100x180"},
        {"NextbestArchiveGrowsBehind"},
    ),
}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("situation", SITUATIONS)
def test_alerts_fire_in_the_situations_they_are_for_and_in_no_other(
    tmp_path: Any, situation: str
) -> None:
    series, expected = SITUATIONS[situation]
    check_alerts(tmp_path, series, expected, "2h")


ONE_MAIL = {
    'nextbest_deliveries_oldest_seconds{channel="email"}': "0x5 0+60x200",
    'nextbest_deliveries_total{channel="email",result="retried"}': "0x5 2x4 3x29 4x200",
    'nextbest_deliveries_total{channel="email",result="sent"}': "7x200",
}
"""Decided after five minutes, tried at once, after 5 s, 5 min and 35 min; all else was before."""

GREYLISTED = {
    'nextbest_deliveries_oldest_seconds{channel="email"}': "0x5 0+60x5 0x200",
    'nextbest_deliveries_total{channel="email",result="retried"}': "0x5 2x200",
    'nextbest_deliveries_total{channel="email",result="sent"}': "7x11 8x200",
}
"""As `ONE_MAIL`, but the third try succeeds."""

SHORT_LIVED = {
    'nextbest_deliveries_oldest_seconds{channel="sms"}': "300x200",
    'nextbest_deliveries_total{channel="sms",result="retried"}': "0x5 0+1x200",
    'nextbest_deliveries_total{channel="sms",result="sent"}': "7x200",
}
"""The provider is down, and what waits is dropped after five minutes, so nothing gets old."""

BUSY = {
    'nextbest_deliveries_oldest_seconds{channel="email"}': "0+20x200",
    'nextbest_deliveries_total{channel="email",result="retried"}': "0+1x200",
    'nextbest_deliveries_total{channel="email",result="sent"}': "0+9x200",
}
"""One receiver of many does not take its mail, or a limit holds back what waits."""


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("minute", [6, 12, 18, 22, 30, 45])
@pytest.mark.parametrize(
    ("series", "fire"),
    [
        (ONE_MAIL, {"NextbestNothingSent"}),
        (GREYLISTED, set()),
        (SHORT_LIVED, {"NextbestEveryAttemptFails", "NextbestAttemptsFail"}),
        (BUSY, set()),
    ],
    ids=["one mail that is stuck", "one mail that is greylisted", "short-lived", "busy"],
)
def test_a_small_shop_is_told_within_a_quarter_of_an_hour_that_nothing_is_sent(
    tmp_path: Any, series: dict[str, str], fire: set[str], minute: int
) -> None:
    check_alerts(tmp_path, series, fire if minute > 20 else set(), f"{minute}m")


def check_alerts(tmp_path: Any, series: dict[str, str], expected: set[str], time: str) -> None:
    """Prometheus fires just the expected alerts at that time."""
    where = 'instance="a:8000", job="nextbest"'
    given = [
        {
            "series": f"{name[:-1]}, {where}}}" if "}" in name else f"{name}{{{where}}}",
            "values": values,
        }
        for name, values in {"up": "1x180", **series}.items()
    ]
    if "nextbest_archive_last_success_seconds" not in series:
        given.append({"series": "nextbest_archive_last_success_seconds", "values": "0+60x180"})
    at = {"eval_time": time}
    tests = [
        {**at, "alertname": rule["alert"], "exp_alerts": []}
        for rule in alerts()
        if rule["alert"] not in expected
    ]
    file = tmp_path / "test.yaml"
    group = {"interval": "1m", "input_series": given, "alert_rule_test": tests}
    YAML(typ="safe").dump({"rule_files": [str(ALERTS)], "tests": [group]}, file)
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in expected:
        group["alert_rule_test"] = [{**at, "alertname": name, "exp_alerts": []}]
        YAML(typ="safe").dump({"rule_files": [str(ALERTS)], "tests": [group]}, file)
        done = subprocess.run(
            ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, name
        assert f"alertname: {name}" in done.stdout + done.stderr
