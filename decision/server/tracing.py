"""Traces by OpenTelemetry: a span for each request, with spans for a decision and its steps.

The one module that imports OpenTelemetry, which is in the extra `otel`. Nothing of it runs unless
the standard variables name an exporter. Spans wait in a bounded queue and are sent by a thread of
their own; if the collector is down they are dropped, and no request waits for it.

The engine knows nothing of traces. It tells its observer how long each step took, so a decision's
spans are made when it is made: steps follow each other in time, those of several attempts added up.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from decision.core.decide import Verdict
from decision.core.schema import Decision
from decision.engine.runtime import Observer
from decision.installation import install_hint
from decision.observability import get_logger

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_CLOSING: Final = 3.0
"""Seconds that the last spans have to be sent when the server stops."""

_STEPS: Final = (("read", "read"), ("decide", "decide"), ("reserve", "commit"))
"""The engine's steps in their order, and the names of their spans."""

_log = get_logger()


def tracing_of_environment(environ: Mapping[str, str] | None = None) -> Tracing | None:
    """Traces as `OTEL_*` variables set them up; None where they name no exporter."""
    environ = os.environ if environ is None else environ
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if not exporter and any(environ.get(name) for name in _ENDPOINTS):
        exporter = "otlp"
    if exporter in ("", "none") or environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if exporter not in ("otlp", "console"):
        fix = "set OTEL_TRACES_EXPORTER to otlp, console or none"
        return _off(f"exporter {exporter!r} is not known", fix)
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), "http/protobuf")
    if exporter == "otlp" and protocol != "http/protobuf":
        fix = "set OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf, to port 4318 as a rule"
        return _off(f"protocol {protocol!r} is not supported", fix)
    if not _is_installed():
        problem = install_hint("OpenTelemetry is not installed", "otel")
        return _off(problem, "or set OTEL_TRACES_EXPORTER to none")
    try:
        return Tracing(_provider(exporter, environ))
    except ValueError as error:
        fix = "correct the OTEL_* variable that has this value"
        return _off(f"a value cannot be read: {error}", fix)


def _off(problem: str, fix: str) -> Tracing | None:
    _log.warning("tracing_off", problem=problem, fix=fix)
    return None


def _is_installed() -> bool:
    parts = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
    try:
        return all(importlib.util.find_spec(part) is not None for part in parts)
    except ModuleNotFoundError:
        return False


def _provider(exporter: str, environ: Mapping[str, str]) -> TracerProvider:
    """The SDK, which reads the sampler, the limits of its queue and the endpoint from `OTEL_*`."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

    attributes = {"service.version": version("nextbest")}
    named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    if not named:
        attributes["service.name"] = "nextbest"
    own: SpanExporter
    if exporter == "otlp":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        own = OTLPSpanExporter()
    else:
        own = ConsoleSpanExporter()
    provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(own))
    return provider


class RequestSpan:
    """The span of one request; `header` is the value of `traceresponse`."""

    __slots__ = ("_span", "_token", "header")

    def __init__(self, span: Span, token: Any) -> None:
        context = span.get_span_context()
        flags = int(context.trace_flags)
        self.header = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}".encode()
        self._span = span
        self._token = token

    def end(self, method: str, route: str | None, status: int) -> None:
        """Ends the span; without a `status` there was no answer. The path is never part of it."""
        from opentelemetry import context
        from opentelemetry.trace import StatusCode

        span = self._span
        if span.is_recording():
            if route is not None:
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
            if status:
                span.set_attribute("http.response.status_code", status)
            if status >= 500 or not status:
                span.set_status(StatusCode.ERROR)
        span.end()
        context.detach(self._token)


class Tracing:
    """Makes spans with one provider."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("nextbest", version("nextbest"))

    def begin(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> RequestSpan:
        """Begins the span of a request, as part of the trace that its headers name.

        The caller's sampling flag is obeyed, unless `OTEL_TRACES_SAMPLER` says otherwise.
        """
        from opentelemetry import context, trace
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind

        carrier: dict[str, list[str]] = {}
        for name, value in headers:
            if name in (b"traceparent", b"tracestate", b"baggage"):
                carrier.setdefault(name.decode(), []).append(value.decode("latin-1"))
        if len(carrier.get("traceparent", ())) > 1:
            carrier = {}  # two parents: it is neither's child
        span = self._tracer.start_span(
            method,
            extract(carrier, context.Context()),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method},
        )
        return RequestSpan(span, context.attach(trace.set_span_in_context(span)))

    def ids(self) -> dict[str, str]:
        """The trace and span that are under way, for log lines and exemplars; empty for none."""
        from opentelemetry.trace import get_current_span

        context = get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}

    def exemplar(self) -> dict[str, str] | None:
        """`ids` of a trace that is sampled: others cannot be looked up."""
        from opentelemetry.trace import get_current_span

        sampled = get_current_span().get_span_context().trace_flags.sampled
        return self.ids() if sampled else None

    def decision(self, decision: Decision, steps: Mapping[str, float]) -> None:
        """Makes the spans of a decision that was just made. They name no customer."""
        from opentelemetry import trace

        if not trace.get_current_span().is_recording():
            return
        end = time.time_ns()
        at = end - int(steps.get("total", 0.0) * 1e9)
        attributes: dict[str, str | Sequence[str]] = {
            "nextbest.decision_id": decision.decision_id,
            "nextbest.placement": decision.placement,
            "nextbest.outcome": decision.outcome,
            "nextbest.policy_version": decision.policy_version,
        }
        if decision.degraded:
            attributes["nextbest.degraded"] = list(decision.degraded)
        whole = self._tracer.start_span("decision", start_time=at, attributes=attributes)
        within = trace.set_span_in_context(whole)
        for step, name in _STEPS:
            if step in steps:
                span = self._tracer.start_span(name, within, start_time=at)
                at = min(end, at + int(steps[step] * 1e9))
                span.end(at)
        whole.end(end)

    async def close(self) -> None:
        """Sends what is left, for a few seconds at most."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        await asyncio.to_thread(last.join, _CLOSING)


class TracedObserver:
    """Tells another observer what the engine tells, and makes spans of it."""

    def __init__(self, tracing: Tracing, observer: Observer) -> None:
        self._tracing = tracing
        self._observer = observer

    def decided(
        self, decision: Decision, verdict: Verdict | None, steps: dict[str, float], written: bool
    ) -> None:
        """A decision was made."""
        self._observer.decided(decision, verdict, steps, written)
        self._tracing.decision(decision, steps)

    def recorded(self, event_type: str, result: str) -> None:
        """An event was accepted, a duplicate, or rejected."""
        self._observer.recorded(event_type, result)

    def followed(self, result: str) -> None:
        """Something was done after its answer."""
        self._observer.followed(result)
