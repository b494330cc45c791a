"""Traces with OpenTelemetry: from the request to the API, through the engine, to the steps of the worker.

Off unless OTEL_EXPORTER_OTLP_ENDPOINT is set, which OpenTelemetry reads like its other variables by itself. It is the
optional extra `otel`; without it nothing here does anything.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lifecycle.observability import logs

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

# A process that ends waits so long for a collector that does not answer; OpenTelemetry's own default is ten seconds.
_PATIENCE_SECONDS = 2
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class NotInstalledError(Exception):
    """Traces are asked for, and the extra `otel` is not installed."""


class Span:
    """What can be said of a span while it lasts. This one is nobody's."""

    def fail(self, error: Exception) -> None:
        """It ended with this error."""

    def note(self, **attributes: str | int) -> None:
        """Add to what is known of it."""

    def rename(self, name: str) -> None:
        """Give it another name."""


class _Recorded(Span):
    """A span that is sent."""

    def __init__(self, span: Any) -> None:
        self._span = span

    def fail(self, error: Exception) -> None:
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415  an optional extra

        self._span.record_exception(error)
        self._span.set_status(Status(StatusCode.ERROR, str(error)))

    def note(self, **attributes: str | int) -> None:
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        self._span.update_name(name)


_NOBODYS = Span()
_tracer: "Tracer | None" = None


def begin(service: str) -> None:
    """Trace from now on, if that is wanted.

    Args:
        service: name of this process, unless OTEL_SERVICE_NAME says another.

    Raises:
        NotInstalledError: it is wanted, and the extra is missing.
    """
    global _tracer  # noqa: PLW0603  one for each process, as OpenTelemetry has it
    if not _is_set(*_ENDPOINTS):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise NotInstalledError("the extra 'otel' of Lifecycle is not installed") from error
    named = {} if _is_set("OTEL_SERVICE_NAME") else {"service.name": service}
    exporter = OTLPSpanExporter(timeout=None if _is_set(*_TIMEOUTS) else _PATIENCE_SECONDS)
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("lifecycle")


def _is_set(*names: str) -> bool:
    return any(os.environ.get(name) for name in names)


@contextmanager
def span(
    name: str,
    *,
    parent: Mapping[str, str] | None = None,
    is_server: bool = False,
    attributes: Mapping[str, str | int] | None = None,
) -> Iterator[Span]:
    """A span for the time of the block; below the present one, or below a remote one.

    Args:
        name: what people read.
        parent: headers with a `traceparent` (W3C Trace Context), or without.
        is_server: whether somebody asked for it from outside of this process.
        attributes: what is known of it.
    """
    if _tracer is None:
        yield _NOBODYS
        return
    from opentelemetry.trace import SpanKind, format_trace_id  # noqa: PLC0415  an optional extra
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    with _tracer.start_as_current_span(
        name,
        context=None if parent is None else TraceContextTextMapPropagator().extract(parent),
        kind=SpanKind.SERVER if is_server else SpanKind.INTERNAL,
        attributes=attributes,
        record_exception=False,  # a refusal is no error; whoever knows says `fail`
        set_status_on_exception=False,
    ) as started:
        if is_server:
            logs.bind(trace=format_trace_id(started.get_span_context().trace_id))
        yield _Recorded(started)


def headers() -> Mapping[str, str]:
    """The header by which the next one joins the present span; none when there is no span."""
    if _tracer is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier
