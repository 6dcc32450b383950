"""Traces: spans of requests and decisions, the caller's trace continued, nobody named."""

from __future__ import annotations

import io
import json
import re
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from decision.observability import configure_logging, get_logger
from decision.server.tracing import Tracing, tracing_of_environment
from tests.api.conftest import Api, running
from tests.api.serving import Server

pytest.importorskip("opentelemetry.sdk", reason="needs the extra otel")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
    InMemorySpanExporter,
)

pytestmark = pytest.mark.anyio

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
async def api(rules: Path, spans: InMemorySpanExporter) -> AsyncIterator[Api]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    async with running(rules, tracing=Tracing(provider)) as found:
        yield found


def tree(spans: InMemorySpanExporter) -> dict[str, str | None]:
    """Name of each span → name of its parent; None where that is the caller's, or there is none."""
    done = spans.get_finished_spans()
    names = {span.context.span_id: span.name for span in done}
    return {span.name: span.parent and names.get(span.parent.span_id) for span in done}


async def test_a_decision_has_spans_for_reading_deciding_and_committing(
    api: Api, spans: InMemorySpanExporter
) -> None:
    got = (await api.decide(customer_id="c-zebra", placement="app_home")).json()
    request = "POST /v1/decisions"
    steps = dict.fromkeys(("read", "decide", "commit"), "decision")
    assert tree(spans) == {**steps, "decision": request, request: None}
    found = {span.name: span for span in spans.get_finished_spans()}
    assert found["decision"].attributes["nextbest.decision_id"] == got["decision_id"]
    assert found[request].attributes["http.response.status_code"] == 200
    whole = found["decision"]
    for name in ("read", "decide", "commit"):
        assert whole.start_time <= found[name].start_time <= found[name].end_time <= whole.end_time
    assert found["read"].end_time <= found["decide"].start_time


async def test_the_callers_trace_is_continued_and_named_in_the_answer(
    api: Api, spans: InMemorySpanExporter
) -> None:
    answer = await api.client.get("/v1/policy", headers={"traceparent": PARENT})
    [span] = spans.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == TRACE
    assert answer.headers["traceresponse"] == f"00-{TRACE}-{span.context.span_id:016x}-01"


@pytest.mark.parametrize(
    "parent", ["00-0-0-01", "", "ff-" + PARENT[3:], f"00-{'0' * 32}-00f067aa0ba902b7-01"]
)
async def test_a_parent_that_cannot_be_one_begins_a_new_trace(
    api: Api, spans: InMemorySpanExporter, parent: str
) -> None:
    answer = await api.client.get("/v1/policy", headers={"traceparent": parent})
    assert answer.status_code == 200
    [span] = spans.get_finished_spans()
    assert span.parent is None and f"{span.context.trace_id:032x}" != TRACE


async def test_two_parents_are_none(api: Api, spans: InMemorySpanExporter) -> None:
    await api.client.get("/v1/policy", headers=[("traceparent", PARENT)] * 2)
    assert spans.get_finished_spans()[0].parent is None


async def test_what_the_caller_does_not_sample_is_not_sampled(
    api: Api, spans: InMemorySpanExporter
) -> None:
    headers = {"traceparent": PARENT[:-1] + "0"}
    answer = await api.client.post(
        "/v1/decisions", json={"placement": "app_home", "customer_id": "c-1"}, headers=headers
    )
    assert spans.get_finished_spans() == ()
    assert answer.headers["traceresponse"].endswith("-00")
    text = (await api.client.get("/metrics", headers=OPENMETRICS)).text
    assert "trace_id" not in text


async def test_each_decision_of_a_batch_has_a_span_of_its_own_in_the_requests_trace(
    api: Api, spans: InMemorySpanExporter
) -> None:
    lines = [json.dumps({"placement": "app_home", "customer_id": f"c-{n}"}) for n in range(5)]
    headers = {"content-type": "application/x-ndjson"}
    await api.client.post("/v1/decisions/batch", content="\n".join(lines), headers=headers)
    done = spans.get_finished_spans()
    assert [span.name for span in done].count("decision") == 5
    assert len({span.context.trace_id for span in done}) == 1


async def test_no_span_names_a_customer(api: Api, spans: InMemorySpanExporter) -> None:
    who = "zebra@example.com"
    await api.decide(customer_id=who, placement="app_home", context={"zebra": "zebra"})
    await api.decide(customer_id=who, placement="zebra")
    await api.client.put(f"/v1/customers/{who}", json={"attributes": {"zebra": 1}})
    await api.client.get(f"/v1/customers/{who}?zebra=1", headers={"baggage": "zebra=1"})
    await api.client.delete(f"/v1/customers/{who}")
    await api.client.get("/zebra")
    assert len(spans.get_finished_spans()) >= 6
    assert "zebra" not in " ".join(span.to_json() for span in spans.get_finished_spans())


async def test_lines_of_the_log_have_the_trace_and_problems_keep_their_request_id(
    api: Api,
) -> None:
    stream = io.StringIO()
    configure_logging("debug", "json", stream)
    original = api.engine.customers.get

    async def logs(customer_id: str) -> Any:
        get_logger().info("in_here")
        return await original(customer_id)

    api.engine.customers.get = logs  # type: ignore[method-assign]
    headers = {"traceparent": PARENT, "x-request-id": "mine"}
    answer = await api.client.get("/v1/customers/nobody", headers=headers)
    assert answer.headers["x-request-id"] == "mine" and "mine" in answer.json()["instance"]
    get_logger().info("outside")
    inside, outside = map(json.loads, stream.getvalue().splitlines())
    assert inside["trace_id"] == TRACE and re.fullmatch("[0-9a-f]{16}", inside["span_id"])
    assert "trace_id" not in outside


OPENMETRICS = {"accept": "application/openmetrics-text; version=1.0.0"}


async def test_the_histogram_of_decisions_has_the_trace_as_exemplar_where_that_is_asked_for(
    api: Api,
) -> None:
    await api.client.post(
        "/v1/decisions",
        json={"placement": "app_home", "customer_id": "c-1"},
        headers={"traceparent": PARENT},
    )
    answer = await api.client.get("/metrics", headers=OPENMETRICS)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.rstrip().endswith("# EOF")
    row = r'nextbest_decision_seconds_bucket\{[^}]*step="total"\} [0-9.]+ # \{.*trace_id="' + TRACE
    assert re.search(row, answer.text)
    plain = await api.client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain") and TRACE not in plain.text


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
        {"OTEL_TRACES_EXPORTER": "zipkin"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_nothing_is_traced_unless_an_exporter_that_we_have_is_named(
    environ: dict[str, str],
) -> None:
    assert tracing_of_environment(environ) is None


class Collector(ThreadingHTTPServer):
    """A small OTLP/HTTP receiver."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receive)
        self.names: list[str] = []
        self.services: set[str] = set()
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Receive(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        sent = ExportTraceServiceRequest()
        sent.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
        for resource in sent.resource_spans:
            for one in resource.resource.attributes:
                if one.key == "service.name":
                    self.server.services.add(one.value.string_value)
            for scope in resource.scope_spans:
                self.server.names += [span.name for span in scope.spans]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()


def test_a_server_sends_its_spans_to_a_collector_and_the_last_ones_when_it_stops(
    rules: Path, tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    server = Server(tmp_path, rules=rules, models=tmp_path / "none").ready()
    server.decide(placement="app_home")
    server.stop()
    assert set(collector.names) == {"POST /v1/decisions", "decision", "read", "decide", "commit"}
    assert collector.services == {"nextbest"}


def test_decisions_do_not_wait_for_a_collector_that_is_down_or_does_not_answer(
    rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(
            "OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
        server = Server(tmp_path, rules=rules, models=tmp_path / "none").ready()
        for number in range(50):
            found = server.decide(placement="app_home", customer_id=f"c-{number}")
            assert found["degraded"] == ["model"]
        server.stop()


def test_a_server_without_the_extra_says_how_to_install_it_and_runs(
    rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "opentelemetry").mkdir()  # found first, and empty
    (tmp_path / "opentelemetry" / "__init__.py").touch()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    with Server(tmp_path, rules=rules, models=tmp_path / "none") as server:
        assert "traceresponse" not in server.ready().wait_until("/v1/policy", 200).headers
        assert "tracing_off" in server.log.read_text() and "install" in server.log.read_text()
