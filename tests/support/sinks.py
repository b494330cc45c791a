"""Where notifications arrive in tests: a webhook receiver and a mail server, both real."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, NamedTuple

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session
from standardwebhooks.webhooks import Webhook as Verifier


class Posted(NamedTuple):
    """A message that came to the receiver, at this path."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The header that says which message it is."""
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        """The body."""
        return json.loads(self.body)

    def verified(self, secret: str) -> Any:
        """The body, as the library of Standard Webhooks takes it; an exception when it does not."""
        return Verifier(secret).verify(self.body.decode(), dict(self.headers))


Answering = Callable[[Posted], web.StreamResponse | None]


class Receiver:
    """A server that takes webhooks.

    Attributes:
        posted: what came, in order.
        answers: by path: what it answers instead of 204.
        silent: paths on which it never answers.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.posted: list[Posted] = []
        self.answers: dict[str, web.Response | Callable[[], web.Response]] = {}
        self.silent: set[str] = set()
        self.waiting = 0
        self.most_waiting = 0

    def url(self, path: str) -> str:
        """The URL of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str, event: str | None = None) -> list[Posted]:
        """What came to a path; of this type only, if one is named."""
        return [one for one in self.posted if one.path == path and event in (None, one.event["type"])]

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Take whatever comes."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.posted.append(Posted(request.path, headers, await request.read()))
        if request.path in self.silent:
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
            try:
                await asyncio.Event().wait()
            finally:
                self.waiting -= 1
        answer = self.answers.get(request.path)
        return web.Response(status=204) if answer is None else answer() if callable(answer) else answer


class MailSink:
    """A mail server that keeps what comes.

    Attributes:
        port: where it listens.
        messages: what was taken, in order.
        refusals: by recipient: what it answers instead of taking it.
    """

    def __init__(self) -> None:
        self.port = 0
        self.messages: list[EmailMessage] = []
        self.refusals: dict[str, str] = {}

    async def handle_RCPT(  # noqa: N802  the name that aiosmtpd asks for
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take or refuse a recipient."""
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  as above
        """Take a message."""
        content = envelope.content
        assert isinstance(content, bytes)
        found = message_from_bytes(content, policy=policy.default)
        assert isinstance(found, EmailMessage)
        self.messages.append(found)
        return "250 OK"

    def to(self, address: str, event: str | None = None) -> list[EmailMessage]:
        """What came for an address; about this type of event only, if one is named."""
        return [one for one in self.messages if one["To"] == address and event in (None, one["X-Lifecycle-Event"])]


def text_of(message: EmailMessage, kind: str) -> str:
    """The part of a mail that is `plain` or `html`."""
    part = message.get_body((kind,))
    assert part is not None
    content: str = part.get_content()
    return content


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on a free port, for the time of the block."""
    found = Receiver(0)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.port = runner.addresses[0][1]
    try:
        yield found
    finally:
        await runner.cleanup()


@asynccontextmanager
async def mail_sink() -> AsyncIterator[MailSink]:
    """A mail server on a free port, for the time of the block."""
    sink = MailSink()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(sink, hostname="sink.test", loop=loop), "127.0.0.1", 0)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
        await server.wait_closed()
