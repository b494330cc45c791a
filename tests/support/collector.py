"""Takes in traces, as any OpenTelemetry collector does."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Span(NamedTuple):
    """One span; ids as hexadecimal digits, `parent` empty for the first of a trace."""

    process: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: Mapping[str, str]
    has_failed: bool


class Collector:
    """Listens on loopback.

    Attributes:
        url: for OTEL_EXPORTER_OTLP_ENDPOINT.
    """

    def __init__(self) -> None:
        self.url = ""
        self.spans: list[Span] = []

    @classmethod
    @asynccontextmanager
    async def opened(cls) -> AsyncIterator["Collector"]:
        """One for the time of the block."""
        collector = cls()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/traces", collector._take)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield collector
        finally:
            await runner.cleanup()

    def named(self, name: str, **attributes: str) -> Sequence[Span]:
        """The spans with this name and these attributes; `_` in their names stands for a dot."""
        wanted = {key.replace("_", "."): value for key, value in attributes.items()}
        return [one for one in self.spans if one.name == name and wanted.items() <= one.attributes.items()]

    async def _take(self, request: web.Request) -> web.Response:
        message = ExportTraceServiceRequest.FromString(await request.read())
        for resource in message.resource_spans:
            known = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    attributes = {
                        one.key: one.value.string_value or str(one.value.int_value) for one in span.attributes
                    }
                    self.spans.append(
                        Span(
                            process=known["service.name"],
                            name=span.name,
                            trace=span.trace_id.hex(),
                            id=span.span_id.hex(),
                            parent=span.parent_span_id.hex(),
                            attributes=attributes,
                            has_failed=span.status.code == span.status.STATUS_CODE_ERROR,
                        )
                    )
        return web.Response(content_type="application/x-protobuf")
