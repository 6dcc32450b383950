"""What the Helm chart makes is valid for Kubernetes, and fits the program that it starts.

Helm and the schemas are large, so that `make chart` has them in a folder of their own.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rich_click as click
from litestar.routes import HTTPRoute
from ruamel.yaml import YAML

from decision.api.app import create_app
from decision.cli.app import cli
from decision.engine import Engine
from decision.server.settings import SETTINGS
from decision.store import MemoryStore

helm = pytest.importorskip("helm_python", reason="Helm is not installed: run make chart")
kubernetes = pytest.importorskip("kubernetes_validate", reason="run make chart")

CHART = Path(__file__).parents[2] / "charts/nextbest"
OLDEST, NEWEST = "1.29", "1.37"
EVERYTHING = {
    "image": {"tag": "1.2.3", "pullSecrets": ["registry"]},
    "redis": {"durability": "wait:1"},
    "rules": {"source": "configMap"},
    "models": {"claimName": "models"},
    "settings": {"NEXTBEST_LOG_LEVEL": "warning", "NEXTBEST_LOG_LIMIT_MB": 512},
    "api": {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]},
    "archive": {"claimName": "archive", "shared": True},
    "outbound": {"gatewaysSecretName": "gateways", "environmentSecretName": "providers"},
    "nightly": {
        "evening": {
            "schedule": "0 18 * * *",
            "timeZone": "Asia/Shanghai",
            "placement": "outbound",
            "segment": "vip",
            "shares": 4,
            "channels": "push,email",
            "order": "listed",
            "rate": 50,
        },
        "gold": {"schedule": "0 3 * * *", "placement": "outbound", "when": "customer.tier: gold\n"},
    },
    "networkPolicy": {
        "enabled": True,
        "clients": [{"namespaceSelector": {}}],
        "egress": [{"ports": [{"port": 6379}]}],
    },
}
CASES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "everything": EVERYTHING,
    "object store": {
        "archive": {
            "url": "s3://bucket/archive",
            "environmentSecretName": "store",
            "claimName": "a",
        },
        "nightly": {"gold": {"schedule": "@daily", "placement": "outbound", "segment": "gold"}},
    },
    "little": {
        "rules": {"source": "image"},
        "api": {"autoscaling": {"enabled": False}, "readyNeedsRedis": False},
        "archive": {"enabled": False},
        "outbound": {"enabled": False},
        "serviceAccount": {"create": False},
        "networkPolicy": {"enabled": True},
    },
}


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[Any]]:
    """Case → the objects that it makes."""
    found = {}
    with helm.Chart.load(str(CHART)) as chart:
        for case, values in CASES.items():
            files = chart.render(values, name="shop", namespace="prod")
            texts = [text for name, text in files.items() if name.endswith(".yaml")]
            found[case] = [one for text in texts for one in YAML(typ="safe").load_all(text) if one]
    return found


@pytest.fixture
def every(rendered: dict[str, list[Any]]) -> list[Any]:
    return [one for objects in rendered.values() for one in objects]


def pod_of(one: Any) -> Any:
    """The pod template of an object that has one."""
    spec = one.get("spec") or {}
    return spec.get("jobTemplate", {}).get("spec", {}).get("template") or spec.get("template")


def pods(objects: list[Any]) -> Iterator[tuple[Any, Any]]:
    for one in objects:
        if (template := pod_of(one)) is not None:
            yield template, template["spec"]["containers"][0]


def test_all_is_valid_for_the_oldest_and_the_newest_kubernetes(
    every: list[Any], rendered: dict[str, list[Any]]
) -> None:
    """By its own schemas, which know every field; no two objects have one name."""
    for one in every:
        for version in (OLDEST, NEWEST):
            kubernetes.validate(one, version, strict=True)
    kinds = {one["kind"] for one in every}
    assert kinds >= {"Deployment", "StatefulSet", "CronJob", "HorizontalPodAutoscaler"}
    assert kinds >= {"PodDisruptionBudget", "NetworkPolicy", "Service", "ServiceAccount"}
    for objects in rendered.values():
        names = [(one["kind"], one["metadata"]["name"]) for one in objects]
        assert len(names) == len(set(names))
    assert not helm.lint(str(CHART))["errors"]


def test_a_pod_gets_only_settings_that_there_are(every: list[Any]) -> None:
    known = {one.name for one in SETTINGS} | {"NEXTBEST_GATEWAYS", "RUN"}
    for template, container in pods(every):
        names = [one["name"] for one in container["env"]]
        assert set(names) <= known and len(names) == len(set(names))
        assert template["spec"]["enableServiceLinks"] is False  # which would set others


def test_every_command_line_is_one_that_the_program_takes(
    every: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also that of a share, which a shell makes of the number of its pod."""
    (tmp_path / "nextbest").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "nextbest").chmod(0o755)
    path, shares, seen = f"{tmp_path}:{os.environ['PATH']}", [], set()
    for _, container in pods(every):
        lines = [container["args"]]
        if "command" in container:
            assert container["command"][:3] == ["/usr/bin/tini", "--", "sh"]
            environment = {"PATH": path, "RUN": "evening-1"}
            lines = []
            for number in range(4):
                own = {**environment, "JOB_COMPLETION_INDEX": str(number)}
                command = [*container["command"][2:], *container["args"]]
                run = subprocess.run(command, env=own, capture_output=True, text=True, check=True)
                lines.append(run.stdout.splitlines())
        for name, *arguments in lines:
            seen.add(name)
            context = parsed(name, arguments)
            assert context.params.get("metrics_host", "0.0.0.0") == "0.0.0.0"
            shares.append(context.params.get("share"))
    assert seen == {"serve", "archive", "outbound", "run-audience"}
    assert {"1/4", "2/4", "3/4", "4/4", "1/1"} <= set(shares)


def parsed(name: str, arguments: list[str]) -> click.Context:
    """The context of a command, which is not run."""
    return cli.commands[name].make_context(name, list(arguments))


def test_probes_ask_for_what_there_is_and_liveness_for_nothing_of_redis(every: list[Any]) -> None:
    routes = create_app(Engine(MemoryStore())).routes
    paths = {one.path for one in routes if isinstance(one, HTTPRoute)} | {"/health"}
    for _, container in pods(every):
        ports = {one["name"] for one in container.get("ports", ())}
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container.get(name, {})
            for asked in (probe.get("httpGet"), probe.get("tcpSocket")):
                assert asked is None or asked["port"] in ports
                path = asked.get("path", "/health") if asked else "/health"
                assert path.partition("?")[0] in paths
                assert name != "livenessProbe" or path in ("/health", "/health/live")
    ready = {
        container["readinessProbe"]["httpGet"]["path"]
        for _, container in pods(every)
        if "startupProbe" in container
    }
    assert ready == {"/health/ready?require=store", "/health/ready"}


def test_selectors_find_the_pods_that_are_meant(rendered: dict[str, list[Any]]) -> None:
    for objects in rendered.values():
        labels = {
            one["metadata"]["name"]: pod_of(one)["metadata"]["labels"]
            for one in objects
            if pod_of(one) is not None
        }
        for one in objects:
            spec = one.get("spec") or {}
            chosen = spec.get("selector") or spec.get("podSelector") or {}
            chosen = chosen.get("matchLabels", chosen)
            found = [name for name, own in labels.items() if chosen.items() <= own.items()]
            if one["kind"] in ("Deployment", "StatefulSet"):
                assert found == [one["metadata"]["name"]]
            elif one["kind"] in ("Service", "PodDisruptionBudget"):
                assert len(found) == 1
            if one["kind"] == "HorizontalPodAutoscaler":
                assert spec["scaleTargetRef"]["name"] in labels


def test_nothing_runs_as_root_or_writes_elsewhere_than_where_it_may(every: list[Any]) -> None:
    for template, container in pods(every):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert not spec["automountServiceAccountToken"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        mounted = {one["name"] for one in container["volumeMounts"]}
        made = {one["name"] for one in spec["volumes"]}
        assert mounted - made <= {"archive"}  # which a claim of a StatefulSet is
        assert made <= mounted
        keys = [one for one in container["volumeMounts"] if one["name"] == "keys"]
        assert not any("subPath" in one for one in keys)
        assert {"requests", "limits"} <= container["resources"].keys()


def test_redis_and_its_password_are_named_by_reference_alone(every: list[Any]) -> None:
    assert not [one for one in every if one["kind"] == "Secret"]
    assert "redis://" not in str(every)
    for _, container in pods(every):
        (url,) = [one for one in container["env"] if one["name"] == "NEXTBEST_REDIS_URL"]
        assert url["valueFrom"]["secretKeyRef"]["name"] == "nextbest-redis"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"api": {"replica": 3}}, "replica"),
        ({"archive": {"every": "often"}}, "every"),
        ({"settings": {"NEXBEST_SEED": "x"}}, "NEXBEST_SEED"),
        ({"rules": {"source": "git"}}, "source"),
        ({"redis": {"durability": "wait"}}, "durability"),
        ({"nightly": {"a": {"schedule": "@daily"}}}, "placement"),
        ({"nightly": {"a": {"schedule": "@daily", "placement": "p"}}}, "either segment or when"),
        ({"archive": {"shared": True}}, "archive.claimName"),
        ({"redis": {"durability": "wait:9"}}, "durability"),
        ({"api": {"autoscaling": {"minReplicas": 20}}}, "minReplicas is 20, above maxReplicas"),
        ({"api": {"resources": {"requests": {"cpu": None}}}}, "set api.resources.requests.cpu"),
        ({"api": {"disruption": {"maxUnavailable": "few"}}}, "maxUnavailable"),
        ({"rules": {"source": "configMap", "configMap": ""}}, "rules.configMap"),
        ({"archive": {"environmentSecretName": "store"}}, "set archive.url"),
        ({"archive": {"url": "bucket/folder"}}, "url"),
        ({"archive": {"every": "0s"}}, "every"),
        ({"archive": {"storage": "lots"}}, "storage"),
        ({"settings": {"NEXTBEST_WORKERS": 4}}, "see api.workers"),
        ({"settings": {"NEXTBEST_REDIS_URL": "redis://a"}}, "see redis.secretName"),
        ({"nightly": {"a": {"schedule": "at night", "placement": "p"}}}, "schedule"),
        ({"nightly": {"a": {"schedule": "@daily", "placement": "p'; ls", "segment": "v"}}}, "pl"),
        ({"nightly": {"far-too-long-name": {"schedule": "@daily", "placement": "p"}}}, "too-long"),
    ],
)
def test_a_value_that_is_none_is_refused_by_name(values: dict[str, Any], said: str) -> None:
    with helm.Chart.load(str(CHART)) as chart, pytest.raises(helm.HelmError, match=said):
        chart.render(values, name="shop", namespace="prod")


def test_what_reads_an_archive_in_a_store_is_given_it_with_the_stores_variables(
    rendered: dict[str, list[Any]],
) -> None:
    readers = set()
    for template, container in pods(rendered["object store"]):
        named = {one["name"]: one.get("value") for one in container["env"]}
        if named.get("NEXTBEST_ARCHIVE"):
            assert named["NEXTBEST_ARCHIVE"] == "s3://bucket/archive"
            assert container["envFrom"] == [{"secretRef": {"name": "store"}}]
            readers.add(template["metadata"]["labels"]["app.kubernetes.io/component"])
    assert readers == {"api", "nightly"}


def test_durability_is_what_the_setting_takes() -> None:
    (known,) = [one.choices for one in SETTINGS if one.field == "durability"]
    with helm.Chart.load(str(CHART)) as chart:
        pattern = chart.schema["properties"]["redis"]["properties"]["durability"]["pattern"]
    assert all(re.match(pattern, one) for one in known)
    assert not re.match(pattern, "wait:6") and len(known) == 6


def test_names_fit_kubernetes_whatever_the_release_is_called() -> None:
    """A CronJob's name has 52 letters at most: its Jobs get more."""
    run = {"schedule": "@daily", "placement": "p", "segment": "v"}
    with helm.Chart.load(str(CHART)) as chart:
        files = chart.render({"nightly": {"a" * 12: run}}, name="r" * 53, namespace="prod")
    for text in files.values():
        for one in YAML(typ="safe").load_all(text) if "kind:" in text else ():
            most = 52 if one["kind"] == "CronJob" else 63
            assert len(one["metadata"]["name"]) <= most


def test_every_value_is_in_the_schema_and_every_property_of_it_has_a_value() -> None:
    with helm.Chart.load(str(CHART)) as chart:
        values, schema = chart.values, chart.schema

    def same(value: Any, known: Any, place: str) -> None:
        properties = known.get("properties")
        if properties is not None:
            assert set(value) == set(properties) - {"global"}, place
            for name, inner in value.items():
                same(inner, properties[name], f"{place}.{name}")

    same(values, schema, "values")
