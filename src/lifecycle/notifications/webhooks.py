"""Posts to webhooks: public addresses only, no redirects, a time-out, and a few at a time to each target.

The URLs come from users. So the addresses of a name are looked at when the connection is made, and no earlier: DNS
cannot say something else in between.
"""

import asyncio
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network, ip_address
from time import monotonic
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from lifecycle.certs.probes import is_public
from lifecycle.errors import shown
from lifecycle.notifications.look_ups import LookUps, LookUpsBusyError
from lifecycle.notifications.model import Outcome

Network = IPv4Network | IPv6Network

LONGEST_URL = 2000
AT_ONCE = 8
_LONGEST_ANSWER = 300
_LONGEST_DETAIL = 500
_ANSWER_SECONDS = 2
_TURN_SECONDS = 1.0
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
# What the system would take for an IPv4 address in decimal, octal or hexadecimal: 2130706433, 127.1, 0x7f.0.0.1.
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


class Said(NamedTuple):
    """What a target made of a message.

    Attributes:
        ours: the failure is ours; the target is not to blame.
    """

    outcome: Outcome
    detail: str = ""
    status: int | None = None
    retry_after_seconds: float | None = None
    ours: bool = False


class AddressRefusedError(OSError):
    """No address of a name may be sent to."""


class UrlRefusedError(ValueError):
    """A URL that nothing is sent to; the text is the end of a sentence."""


def check_url(url: str, private: Sequence[Network]) -> str:
    """The host of a URL that may be sent to, as far as that can be said without DNS.

    Args:
        url: as somebody typed it.
        private: networks that are not public and still allowed; `http` is allowed to addresses inside them.

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
    try:
        address = str(ip_address(parts.hostname))
    except ValueError as error:
        last = parts.hostname.removesuffix(".").rpartition(".")[2]
        if _NUMBER.fullmatch(last) or not _NAME.fullmatch(parts.hostname):
            raise UrlRefusedError("its host is neither a name nor an address in the usual form") from error
    else:
        if not is_allowed(address, private, secure=parts.scheme == "https"):
            raise AddressRefusedError(f"{parts.hostname} is not {_wanted(secure=parts.scheme == 'https')}")
    return parts.hostname


async def check_name(url: str, private: Sequence[Network], look_ups: LookUps, *, owner: str) -> None:
    """Refuse a URL whose name leads to where nothing may be sent; one without an address may have one later.

    Raises:
        AddressRefusedError: no address of it may be sent to.
        LookUpsBusyError: it was not looked at.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    with suppress(socket.gaierror, UnicodeError):
        found = [one.address for one in await look_ups.addresses(parts.hostname or "", owner=owner)]
        if found and not any(is_allowed(one, private, secure=secure) for one in found):
            raise AddressRefusedError(f"{parts.hostname} leads to {found[0]}, which is not {_wanted(secure=secure)}")


def is_allowed(address: str, private: Sequence[Network], *, secure: bool = True) -> bool:
    """Whether something may be sent to this IP address; without TLS only inside the allowed networks."""
    parsed = ip_address(address.partition("%")[0])
    return (secure and is_public(str(parsed))) or any(parsed in network for network in private)


def origin(url: str) -> str:
    """Scheme and host of a URL, for those who must not see the rest: with chat services its path is a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class _Asking(NamedTuple):
    owner: str
    secure: bool


# For whom a name is looked up; a resolver is told of the name only.
_asking: ContextVar[_Asking] = ContextVar("asking")


class _Guard(AbstractResolver):
    """Resolves names as the system does, and lets through what is allowed."""

    def __init__(self, private: Sequence[Network], look_ups: LookUps) -> None:
        self._private = private
        self._look_ups = look_ups

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host that may be sent to.

        Raises:
            AddressRefusedError: it has none of them.
            LookUpsBusyError: it was not looked up.
        """
        owner, secure = _asking.get()
        found = await self._look_ups.addresses(host, owner=owner, family=family)
        allowed = [one for one in found if is_allowed(one.address, self._private, secure=secure)]
        if not allowed:
            first = found[0].address if found else "nothing"
            raise AddressRefusedError(f"{host} leads to {first}, which is not {_wanted(secure=secure)}")
        return [
            ResolveResult(
                hostname=host, host=one.address, port=port, family=one.family, proto=0, flags=int(socket.AI_NUMERICHOST)
            )
            for one in allowed
        ]

    async def close(self) -> None:
        """Nothing is kept."""


class Turn(NamedTuple):
    """Whether it is the turn of whoever asked. `seconds_each`: how long those who had one took of late."""

    is_ours: bool
    seconds_each: float


class Turns:
    """Lets a few at a time through for each target, so that a slow one takes nothing from others."""

    def __init__(self) -> None:
        self._limits: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}

    @asynccontextmanager
    async def turn(self, target: str, *, at_once: int = AT_ONCE) -> AsyncIterator[Turn]:
        """Whether it is the turn of whoever asks; waits a second for it."""
        limit = self._limits.setdefault(target, asyncio.Semaphore(at_once))
        self._users[target] += 1
        began = None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_TURN_SECONDS):
                    began = monotonic() if await limit.acquire() else None
            # When nobody has finished while we waited, each takes that long at least.
            yield Turn(began is not None, self._seconds.get(target, _TURN_SECONDS))
        finally:
            if began is not None:
                limit.release()
                took = monotonic() - began
                self._seconds[target] = (self._seconds.get(target, took) + took) / 2
            self._users[target] -= 1
            if not self._users[target]:
                del self._users[target], self._limits[target]
                self._seconds.pop(target, None)


class Webhooks:
    """Sends to webhooks.

    Args:
        private: networks that are not public and still allowed.
        timeout: for one attempt, from the look-up of the name to the answer.
        look_ups: where names are looked up.
    """

    def __init__(self, private: Sequence[Network], *, timeout: timedelta, look_ups: LookUps | None = None) -> None:
        self._private = private
        self._timeout = timeout.total_seconds()
        self._look_ups = look_ups or LookUps()
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, *, owner: str) -> Said:
        """Send one message; every failure comes back as what was said.

        Args:
            url: where to.
            headers: those of the message.
            body: the message.
            owner: for whom its name is looked up.
        """
        _asking.set(_Asking(owner, secure=url.lower().startswith("https:")))
        try:
            check_url(url, self._private)
            async with asyncio.timeout(self._timeout):
                return await self._post(url, headers, body)
        except LookUpsBusyError:
            return Said(Outcome.BUSY)
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
                resolver=_Guard(self._private, self._look_ups), use_dns_cache=False, force_close=True, limit=0
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


def _wanted(*, secure: bool) -> str:
    return "public" if secure else "in a network that may be sent to without TLS"


def _in_words(error: Exception) -> str:
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(inner, AddressRefusedError):
        return f"Nothing is sent there: {inner.args[-1]}."
    if isinstance(inner, socket.gaierror):
        return "Its name has no address."
    if isinstance(inner, OSError):
        return f"It cannot be reached ({inner.strerror or type(inner).__name__})."
    return f"It gave no answer of HTTP ({type(inner).__name__})."
