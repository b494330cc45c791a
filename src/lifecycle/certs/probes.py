"""Looks at a name as a CA would (RFC 8555, section 8.3; RFC 8737), over one address at a time.

The names come from users, so what is asked for is public and small: no private address unless that is allowed, no
port but those of the Web, a few redirects, a short answer, and a time-out.
"""

import asyncio
import hashlib
import re
import secrets
import socket
from http import HTTPStatus
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from josepy import json_util

from lifecycle.certs.dns import Resolver, Unresolved
from lifecycle.certs.dns.answers import printable

PATH = "/.well-known/acme-challenge/"
_PREFIX = "lifecycle-preflight-"
_TOKEN = re.compile(rf"{_PREFIX}[A-Za-z0-9_-]{{22}}")
_WEB_PORTS = (80, 443)
_MOST_REDIRECTS = 10  # as Boulder
_LONGEST_ANSWER = 1024
_LONGEST_SHOWN = 200
_PATIENCE_SECONDS = 10  # as Boulder
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_TRANSLATED = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address, through a translator


class Missed(NamedTuple):
    """A look that did not find what it must.

    Attributes:
        why: the end of a sentence, such as `answered with HTTP status 404`.
        is_answered: whether somebody answered at all.
    """

    why: str
    is_answered: bool


class Ports(NamedTuple):
    """Where a CA looks; others than those of the Web are for tests."""

    http: int = 80
    tls: int = 443


def new_token() -> str:
    """A token for one look: of the form of ACME's, and of no order."""
    return f"{_PREFIX}{secrets.token_urlsafe(16)}"


def expected_answer(token: str, *, installation: str = "") -> str | None:
    """The body that a look with this token must find; None when the token is no such token.

    Whoever serves challenges answers it at `PATH` and the token, with status 200 and as `text/plain`. It is no
    secret: it shows that the name leads to us, and to no server that answers everything.

    Args:
        token: the last part of the path.
        installation: tells this installation from others; whoever looks and whoever answers must say the same.
    """
    if not _TOKEN.fullmatch(token):
        return None
    digest = hashlib.sha256(f"{_PREFIX}{installation}.{token}".encode()).digest()
    return f"{token}.{json_util.encode_b64jose(digest)}"


def is_public(address: str) -> bool:
    """Whether this is an address of the public Internet, and no way around to another."""
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        if parsed in _TRANSLATED:
            return is_public(str(ip_address(parsed.packed[-4:])))
        tunnelled = parsed.sixtofour is not None or parsed.teredo is not None
        return parsed in _GLOBAL_UNICAST and parsed.is_global and not tunnelled
    return parsed.is_global and not parsed.is_multicast


def is_allowed(address: str, *, internal: bool) -> bool:
    """Whether it may be looked at.

    Args:
        address: an IP address.
        internal: whether the CA is one of a private network, whose addresses are then allowed too.
    """
    parsed = ip_address(address)
    return is_public(address) or (internal and not parsed.is_multicast and not parsed.is_unspecified)


class Prober:
    """Looks at names.

    Args:
        resolver: finds the addresses that redirects lead to.
        ports: where to look.
        internal: whether private addresses are allowed.
    """

    def __init__(self, resolver: Resolver, *, ports: Ports, internal: bool) -> None:
        self._resolver = resolver
        self._ports = ports
        self._internal = internal

    async def http(self, host: str, address: str, *, token: str, answer: str) -> Missed | None:
        """Whether this answer is found over this address of the host; None when it is.

        Args:
            host: the name in the request, or the address itself.
            address: where to connect.
            token: the last part of the path.
            answer: what must be there; blanks at its end do not count.
        """
        url = f"http://{f'[{host}]' if ':' in host else host}:{self._ports.http}{PATH}{token}"
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                for _ in range(_MOST_REDIRECTS + 1):
                    status, said = await _get(url, address)
                    if status not in {301, 302, 303, 307, 308}:
                        return _judged(status, said, answer)
                    url = urljoin(url, said)
                    led = await self._led(url)
                    if isinstance(led, Missed):
                        return led
                    address = led
        except TimeoutError:
            return Missed(f"did not answer within {_PATIENCE_SECONDS} s", is_answered=False)
        except (aiohttp.ClientConnectorError, OSError) as error:
            return Missed(f"cannot be reached ({_said(error)})", is_answered=False)
        except (aiohttp.ClientError, ValueError) as error:
            return Missed(f"gave no answer of HTTP ({type(error).__name__})", is_answered=True)
        return Missed(f"redirected more than {_MOST_REDIRECTS} times", is_answered=True)

    async def tls(self, address: str) -> Missed | None:
        """Whether somebody accepts connections where TLS is expected; None when somebody does."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                _, writer = await asyncio.open_connection(address, self._ports.tls)
        except TimeoutError:
            return Missed(f"did not answer within {_PATIENCE_SECONDS} s", is_answered=False)
        except OSError as error:
            return Missed(f"cannot be reached ({_said(error)})", is_answered=False)
        writer.transport.abort()
        return None

    async def _led(self, url: str) -> str | Missed:
        """The address that a redirect leads to."""
        shown = f"redirected to {printable(url.partition('?')[0])[:_LONGEST_SHOWN]}"
        parts = urlsplit(url)
        default = {"http": 80, "https": 443}.get(parts.scheme)
        if default is None or not parts.hostname or (parts.port or default) not in {*_WEB_PORTS, *self._ports}:
            return Missed(f"{shown}, where no CA follows: only http and https, to ports 80 and 443", is_answered=True)
        if _is_address(parts.hostname):
            return Missed(f"{shown}, where no CA follows: it is an IP address", is_answered=True)
        found = await self._resolver.addresses(parts.hostname)
        if isinstance(found, Unresolved):
            return Missed(f"{shown}, whose address is not to be had: {found.why.rstrip('.')}", is_answered=True)
        allowed = [one for one in found if is_allowed(one, internal=self._internal)]
        if not allowed or len(allowed) < len(found):
            return Missed(
                f"{shown}, which has {'an address that is not public' if found else 'no address'}", is_answered=True
            )
        return allowed[0]


class _Fixed(AbstractResolver):
    """Finds the one address that was looked at before, so DNS cannot say something else meanwhile."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The one."""
        own = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        found = ResolveResult(
            hostname=host, host=self._address, port=port, family=own, proto=0, flags=socket.AI_NUMERICHOST
        )
        return [] if family not in {socket.AF_UNSPEC, own} else [found]

    async def close(self) -> None:
        """Nothing is open."""


async def _get(url: str, address: str) -> tuple[int, str]:
    """Status and the beginning of the body; for a redirect, where it leads."""
    # CAs do not check certificates on the way: the name is what is being proved.
    connector = aiohttp.TCPConnector(resolver=_Fixed(address), ssl=False, use_dns_cache=False, force_close=True)
    async with (
        aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "Lifecycle preflight", "Accept-Encoding": "identity"},
            auto_decompress=False,
        ) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        if HTTPStatus.MULTIPLE_CHOICES <= response.status < HTTPStatus.BAD_REQUEST:
            return response.status, response.headers.get("Location", "")
        body = bytearray()
        async for piece in response.content.iter_chunked(_LONGEST_ANSWER):
            body += piece
            if len(body) > _LONGEST_ANSWER:
                break
        return response.status, body.decode("utf-8", "replace")


def _judged(status: int, body: str, answer: str) -> Missed | None:
    if status != HTTPStatus.OK:
        return Missed(f"answered with HTTP status {status}", is_answered=True)
    if body.rstrip() != answer:
        return Missed("answered with something else than our gateway gives", is_answered=True)
    return None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _said(error: Exception) -> str:
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return (inner.strerror if isinstance(inner, OSError) else None) or type(inner).__name__
