"""What DNS answers, and how one question is put to one server (RFC 1035)."""

import asyncio
import socket
from enum import StrEnum
from typing import NamedTuple, TypeVar

import dns.asyncquery
import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
from dns.rdatatype import RdataType

R = TypeVar("R", bound=dns.rdata.Rdata)

DNS_PORT = 53
_PAYLOAD = 1232  # https://www.dnsflagday.net/2020/: larger answers come over TCP
# Extended errors that say that DNSSEC is the reason: RFC 8914, section 4.6 to 4.13.
_DNSSEC_ERRORS = range(5, 13)


class Trouble(StrEnum):
    """Why there is no answer."""

    SERVFAIL = "servfail"
    DNSSEC = "dnssec"
    REFUSED = "refused"
    UNSUPPORTED = "unsupported"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    LOOP = "loop"


class Found(NamedTuple):
    """The records.

    Attributes:
        name: as asked, in lower case, without a dot at the end.
        canonical: where CNAMEs lead from there; the same name without any.
    """

    name: str
    canonical: str
    records: tuple[dns.rdata.Rdata, ...]

    def of(self, kind: type[R]) -> tuple[R, ...]:
        """The records of this class."""
        return tuple(one for one in self.records if isinstance(one, kind))


class Absent(NamedTuple):
    """There is no such record.

    Attributes:
        canonical: as in `Found`.
        exists: whether the name has other records or names below it; False is NXDOMAIN.
    """

    name: str
    canonical: str
    exists: bool


class Unresolved(NamedTuple):
    """No answer.

    Attributes:
        why: a sentence for people.
    """

    name: str
    trouble: Trouble
    why: str


class Endpoint(NamedTuple):
    """Where a server listens."""

    host: str
    port: int = DNS_PORT

    def __str__(self) -> str:
        """As people write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DNS_PORT else f"{host}:{self.port}"


class NameServer(NamedTuple):
    """One server to ask, whichever of its addresses answers.

    Attributes:
        is_authoritative: False for a resolver that stands in for one.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    is_authoritative: bool = True


class NameServers(NamedTuple):
    """Who knows a name first-hand.

    Attributes:
        zone: that the name is in; None when nothing says which.
    """

    zone: str | None
    servers: tuple[NameServer, ...]


def endpoint(server: str) -> Endpoint:
    """What `host:port` of the configuration means."""
    host, _, port = server.rpartition(":")
    return Endpoint(host.removeprefix("[").removesuffix("]"), int(port))


def plain(name: dns.name.Name) -> str:
    """The name as it is everywhere else here: in lower case, without a dot at the end."""
    return name.to_text(omit_final_dot=True).lower()


def printable(text: str) -> str:
    """A text from outside as a sentence may repeat it: nothing in it steers a terminal."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


async def addresses(server: Endpoint) -> tuple[Endpoint, ...]:
    """Where a server that may be given by its name listens, as the system knows it; nothing when it knows none."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return tuple(dict.fromkeys(Endpoint(str(address[0]), server.port) for *_, address in found))


async def exchange(
    name: dns.name.Name,
    kind: RdataType,
    at: Endpoint,
    *,
    seconds: float,
    recursive: bool,
    unchecked: bool = False,
) -> dns.message.Message | Unresolved:
    """One question to one address, over UDP, and over TCP when the answer is too long for that.

    Args:
        name: what about.
        kind: which records.
        at: an IP address and port.
        seconds: at most.
        recursive: whether the server is to ask others.
        unchecked: whether it is to leave DNSSEC aside (RFC 4035, section 3.2.2).

    Returns:
        A message that says NOERROR or NXDOMAIN, or why there is none.
    """
    flags = dns.flags.Flag(0)
    if recursive:
        flags |= dns.flags.RD
    if unchecked:
        flags |= dns.flags.CD
    question = dns.message.make_query(name, kind, flags=flags, use_edns=0, payload=_PAYLOAD)
    about = f"{at} was asked for {kind.name} of {plain(name)}"
    try:
        answer, _ = await dns.asyncquery.udp_with_fallback(
            question, at.host, timeout=seconds, port=at.port, ignore_unexpected=True
        )
    except dns.exception.Timeout:
        return Unresolved(plain(name), Trouble.TIMEOUT, f"{about}, and did not answer in time.")
    except (OSError, EOFError) as error:
        problem = (error.strerror if isinstance(error, OSError) else None) or "the connection was cut"
        return Unresolved(plain(name), Trouble.UNREACHABLE, f"{about}, and cannot be reached: {problem}.")
    except dns.exception.DNSException as error:
        return Unresolved(plain(name), Trouble.UNREACHABLE, f"{about}, and its answer makes no sense: {error}.")
    if answer.rcode() in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
        return answer
    return _failed(name, about, answer)


def _failed(name: dns.name.Name, about: str, answer: dns.message.Message) -> Unresolved:
    reasons = answer.extended_errors()
    said = "; ".join(_reason(one) for one in reasons)
    code = dns.rcode.to_text(answer.rcode())
    why = f"{about}, and answered {code}{f' ({said})' if said else ''}."
    if answer.rcode() == dns.rcode.NOTIMP:
        return Unresolved(plain(name), Trouble.UNSUPPORTED, why)
    if answer.rcode() != dns.rcode.SERVFAIL:
        return Unresolved(plain(name), Trouble.REFUSED, why)
    is_dnssec = any(int(one.code) in _DNSSEC_ERRORS for one in reasons)
    return Unresolved(plain(name), Trouble.DNSSEC if is_dnssec else Trouble.SERVFAIL, why)


def _reason(error: dns.edns.EDEOption) -> str:
    name = (
        error.code.name.replace("_", " ").lower() if isinstance(error.code, dns.edns.EDECode) else f"error {error.code}"
    )
    return f"{name}: {printable(error.text)}" if error.text else name
