"""Posts to webhooks: public addresses only, no redirects, a time-out, and a few at a time to each target.

The URLs come from users. So the addresses of a name are looked at when the connection is made, and no earlier: DNS
cannot say something else in between.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from lifecycle.certs.probes import is_public
from lifecycle.errors import shown
from lifecycle.notifications.model import Outcome

Network = IPv4Network | IPv6Network

LONGEST_URL = 2000
_LONGEST_ANSWER = 300
_LONGEST_DETAIL = 500
_ANSWER_SECONDS = 2
_AT_ONCE = 8
_TURN_SECONDS = 1.0
_LOOK_UPS_AT_ONCE = 32


class Said(NamedTuple):
    """What a target made of a message."""

    outcome: Outcome
    detail: str = ""
    status: int | None = None
    retry_after_seconds: float | None = None


class AddressRefusedError(OSError):
    """No address of a name may be sent to."""


class UrlRefusedError(ValueError):
    """A URL that nothing is sent to; the text is the end of a sentence."""


def check_url(url: str, private: Sequence[Network]) -> str:
    """The host of a URL that may be sent to, as far as that can be said without DNS.

    Args:
        url: as somebody typed it.
        private: networks that are not public and still allowed; where there are any, `http` is allowed too.

    Raises:
        UrlRefusedError: nothing may be sent to it.
        AddressRefusedError: it has an IP address that nothing may be sent to.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UrlRefusedError("it is no URL") from error
    if parts.scheme != "https" and not (parts.scheme == "http" and private):
        raise UrlRefusedError("it does not begin with https://")
    if not parts.hostname or port == 0 or len(url) > LONGEST_URL or not url.isascii() or not url.isprintable():
        raise UrlRefusedError("it is no URL of a server")
    if parts.username is not None or parts.password is not None or parts.fragment or " " in url:
        raise UrlRefusedError("it has a user, a password, a fragment or a blank in it")
    with suppress(ValueError):
        if not is_allowed(str(ip_address(parts.hostname)), private):
            raise AddressRefusedError(f"{parts.hostname} is not public")
    return parts.hostname


def is_allowed(address: str, private: Sequence[Network]) -> bool:
    """Whether something may be sent to this IP address."""
    parsed = ip_address(address.partition("%")[0])
    return is_public(str(parsed)) or any(parsed in network for network in private)


class _Guard(AbstractResolver):
    """Resolves names as the system does, and lets through what is allowed."""

    def __init__(self, private: Sequence[Network]) -> None:
        self._private = private
        # Threads of their own: a name whose servers do not answer must not keep those that others need.
        self._threads = ThreadPoolExecutor(_LOOK_UPS_AT_ONCE, thread_name_prefix="webhook-dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host that may be sent to.

        Raises:
            AddressRefusedError: it has none of them.
        """

        def look_up() -> list[tuple[socket.AddressFamily, str]]:
            found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
            return [(one[0], str(one[4][0])) for one in found]

        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        allowed = [(kind, address) for kind, address in found if is_allowed(address, self._private)]
        if not allowed:
            raise AddressRefusedError(f"{host} leads to {found[0][1] if found else 'nothing'}, which is not public")
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=kind, proto=0, flags=int(socket.AI_NUMERICHOST)
            )
            for kind, address in allowed
        ]

    async def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Turns:
    """Lets a few at a time through for each target, so that a slow one takes nothing from others."""

    def __init__(self, at_once: int = _AT_ONCE) -> None:
        self._limits: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()
        self._at_once = at_once

    @asynccontextmanager
    async def turn(self, target: str) -> AsyncIterator[bool]:
        """Whether it is the turn of whoever asks; waits a second for it."""
        limit = self._limits.setdefault(target, asyncio.Semaphore(self._at_once))
        self._users[target] += 1
        has_it = False
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_TURN_SECONDS):
                    has_it = await limit.acquire()
            yield has_it
        finally:
            if has_it:
                limit.release()
            self._users[target] -= 1
            if not self._users[target]:
                del self._users[target], self._limits[target]


class Webhooks:
    """Sends to webhooks.

    Args:
        private: networks that are not public and still allowed.
        timeout: for one attempt, from the look-up of the name to the answer.
    """

    def __init__(self, private: Sequence[Network], *, timeout: timedelta) -> None:
        self._private = private
        self._timeout = timeout.total_seconds()
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Said:
        """Send one message; every failure comes back as what was said."""
        try:
            check_url(url, self._private)
            async with asyncio.timeout(self._timeout):
                return await self._post(url, headers, body)
        except TimeoutError:
            return Said(Outcome.FAILED, f"It did not answer within {self._timeout:g} s.")
        except UrlRefusedError as error:
            return Said(Outcome.FAILED, f"Nothing is sent there: {error}.")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Said(Outcome.FAILED, _in_words(error)[:_LONGEST_DETAIL])

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Said:
        all_headers = {**headers, "Content-Type": "application/json", "User-Agent": "Lifecycle webhooks"}
        async with self._opened().post(url, data=body, headers=all_headers, allow_redirects=False) as response:
            status = response.status
            if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                return Said(Outcome.DELIVERED, status=status)
            if status == HTTPStatus.GONE:
                return Said(Outcome.GONE, "It answered 410: it wants no more messages.", status)
            if status < HTTPStatus.BAD_REQUEST:
                return Said(Outcome.FAILED, f"It answered {status}; redirects are not followed.", status)
            text = f"It answered {status}. {await _beginning(response)}".strip()
            return Said(Outcome.FAILED, text[:_LONGEST_DETAIL], status, _seconds(response.headers.get("Retry-After")))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_Guard(self._private), use_dns_cache=False, force_close=True, limit=0
            )
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
            )
        return self._session


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """The beginning of an answer, for whoever looks for the reason."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_ANSWER_SECONDS):
            return shown((await response.content.read(_LONGEST_ANSWER)).decode("utf-8", "replace"))
    return ""


def _seconds(value: str | None) -> float | None:
    """Retry-After in seconds (RFC 9110, section 10.2.3); one with a date is passed over."""
    return float(value) if value and value.isascii() and value.isdigit() and len(value) <= 6 else None  # noqa: PLR2004


def _in_words(error: Exception) -> str:
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(inner, AddressRefusedError):
        return f"Nothing is sent there: {inner.args[-1]}."
    if isinstance(inner, socket.gaierror):
        return "Its name has no address."
    if isinstance(inner, OSError):
        return f"It cannot be reached ({inner.strerror or type(inner).__name__})."
    return f"It gave no answer of HTTP ({type(inner).__name__})."
