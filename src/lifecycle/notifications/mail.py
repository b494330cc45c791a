"""Mail over SMTP: text and HTML, one message for each delivery, known by its Message-ID."""

import json
import re
import ssl
from datetime import datetime, timedelta
from email.errors import HeaderParseError
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import aiosmtplib
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from lifecycle.errors import shown
from lifecycle.notifications.letters import letter
from lifecycle.notifications.model import Outcome
from lifecycle.notifications.webhooks import Said

# RFC 5321, section 4.1.2, without quoted and non-ASCII local parts, which hardly any server takes.
_ADDRESS = re.compile(
    r"(?=.{3,254}\Z)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+"
)
_LONGEST_LOCAL = 64
_LONGEST_DETAIL = 500
_PERMANENT = range(500, 600)
_NO_SENDER = "LIFECYCLE_MAIL_FROM is no address such as 'Lifecycle <lifecycle@example.com>'"
_PORTS = {"smtp": 25, "smtps": 465}


class Server(NamedTuple):
    """An SMTP server.

    Attributes:
        tls: whether it speaks TLS from the beginning.
        user: who logs in; empty for nobody.
    """

    host: str
    port: int
    tls: bool
    user: str
    password: str

    @classmethod
    def parse(cls, url: str) -> "Server":
        """The server of `smtp://host:587` or `smtps://user:password@host`.

        Raises:
            ValueError: it is no such URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("not of the form smtp://host:port or smtps://user:password@host")
        port = parts.port or _PORTS[parts.scheme]
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(parts.hostname, port, parts.scheme == "smtps", user, password)


class Post(NamedTuple):
    """A mail to be sent.

    Attributes:
        delivery: its id, of which the Message-ID is made.
        body: the event as JSON.
        project: what people call the project.
        at: when the event was.
    """

    delivery: str
    to: str
    body: str
    project: str
    at: datetime


def is_address(text: str) -> bool:
    """Whether mail can be sent to `text`."""
    return _ADDRESS.fullmatch(text) is not None and len(text.partition("@")[0]) <= _LONGEST_LOCAL


class Mail:
    """Sends mail.

    Args:
        url: of the SMTP server; none: no mail is sent.
        sender: the address in From, with or without a name.
        api_url: where people find this service.
        timeout: for one attempt.

    Raises:
        ValueError: the URL or the sender is none.
    """

    def __init__(self, url: str | None, *, sender: str, api_url: str, timeout: timedelta) -> None:
        self._server = None if url is None else Server.parse(url)
        self._sender = sender
        self._domain = _domain_of(sender)
        self._api_url = api_url.rstrip("/")
        self._timeout = timeout.total_seconds()
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=select_autoescape(("html",)),
            undefined=StrictUndefined,
            keep_trailing_newline=True,
        )

    @property
    def is_set_up(self) -> bool:
        """Whether there is a server."""
        return self._server is not None

    def written(self, post: Post) -> EmailMessage:
        """The message, as it goes out."""
        event = json.loads(post.body)
        content = letter(event, project=post.project)
        words = {"letter": content, "api_url": self._api_url, "event": event["type"], "delivery": post.delivery}
        message = EmailMessage()
        message["Subject"] = content.subject
        message["From"] = self._sender
        message["To"] = post.to
        message["Date"] = format_datetime(post.at)
        message["Message-ID"] = f"<{post.delivery}@{self._domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        message["X-Lifecycle-Event"] = event["type"]
        message.set_content(self._templates.get_template("letter.txt").render(words))
        message.add_alternative(self._templates.get_template("letter.html").render(words), subtype="html")
        return message

    async def send(self, post: Post) -> Said:
        """Send one message; every failure comes back as what was said."""
        if self._server is None:
            return Said(Outcome.FAILED, "No SMTP server is set up any more.")
        try:
            message = self.written(post)
        except Exception as error:  # noqa: BLE001  our defect: a release mends it, and the next attempt may be of that
            return Said(Outcome.FAILED, f"The mail cannot be written: {shown(repr(error))}"[:_LONGEST_DETAIL])
        try:
            await self._send(self._server, message)
        except aiosmtplib.SMTPRecipientsRefused as error:
            answer = error.recipients[0]
            return _said(answer.code, answer.message, may_be_final=True)
        except aiosmtplib.SMTPDataError as error:
            return _said(error.code, error.message, may_be_final=True)
        except aiosmtplib.SMTPResponseException as error:
            return _said(error.code, error.message, may_be_final=False)
        except aiosmtplib.SMTPTimeoutError:
            return Said(Outcome.FAILED, f"The mail server did not answer within {self._timeout:g} s.")
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            text = f"The mail server cannot be used: {shown(str(error)) or type(error).__name__}"
            return Said(Outcome.FAILED, text[:_LONGEST_DETAIL])
        return Said(Outcome.DELIVERED)

    async def _send(self, server: Server, message: EmailMessage) -> None:
        # A password never goes over a line that others can read. Without one, TLS is taken as it is offered, which is
        # how mail servers talk to each other (RFC 7435).
        trusted = server.tls or bool(server.user)
        context = ssl.create_default_context()
        if not trusted:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        await aiosmtplib.send(
            message,
            hostname=server.host,
            port=server.port,
            username=server.user or None,
            password=server.password or None,
            use_tls=server.tls,
            start_tls=None if not trusted else not server.tls,
            tls_context=context,
            timeout=self._timeout,
        )


def _domain_of(sender: str) -> str:
    """The domain in From.

    Raises:
        ValueError: it is not one address that mail can be from.
    """
    message = EmailMessage()
    try:
        message["From"] = sender
        (address,) = message["From"].addresses
    except (ValueError, HeaderParseError, IndexError) as error:
        raise ValueError(_NO_SENDER) from error
    domain = str(address.domain)
    if message["From"].defects or not address.username or not domain or not sender.isprintable():
        raise ValueError(_NO_SENDER)
    return domain


def _said(code: int, message: str, *, may_be_final: bool) -> Said:
    """What an answer means: 5xx of a recipient or a message is for good (RFC 5321, section 4.2.1), 4xx is not."""
    outcome = Outcome.REFUSED if may_be_final and code in _PERMANENT else Outcome.FAILED
    return Said(outcome, f"The mail server answered {code} {shown(message)}"[:_LONGEST_DETAIL], code)
