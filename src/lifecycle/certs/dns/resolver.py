"""Questions to DNS (RFC 1034), bounded in time and number, with a sentence for all that can go wrong."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.resolver
import dns.rrset
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.NS import NS
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from lifecycle.certs.configuration import Certificates
from lifecycle.certs.dns.answers import (
    Absent,
    Endpoint,
    Found,
    NameServer,
    NameServers,
    Trouble,
    Unresolved,
    addresses,
    endpoint,
    exchange,
    plain,
)

_MOST_ALIASES = 12  # resolvers give up at 8 to 16
_MOST_RESOLVERS = 4
_MOST_NAME_SERVERS = 13  # as many as the root has
_ROUNDS = 2
_ATTEMPT = timedelta(seconds=2)


class Resolver:
    """Asks the configured resolvers, or those of the system.

    Args:
        configuration: its resolvers; of its zones the servers, see `name_servers`.
        within: for one question, to whatever it leads; at most four resolvers are asked, twice each.
    """

    def __init__(self, configuration: Certificates, *, within: timedelta = timedelta(seconds=8)) -> None:
        self._configuration = configuration
        self._within = within

    async def ask(self, name: str, kind: RdataType) -> Found | Absent | Unresolved:
        """The records of this kind, wherever CNAMEs lead."""
        return await self.ask_server(await self._resolver(), name, kind)

    async def ask_server(self, server: NameServer, name: str, kind: RdataType) -> Found | Absent | Unresolved:
        """What this server says of a name, at the first of its addresses that answers."""
        deadline = asyncio.get_running_loop().time() + self._within.total_seconds()
        try:
            asked = current = dns.name.from_text(name)
        except dns.exception.DNSException as error:
            return Unresolved(name, Trouble.REFUSED, f"{name} is no name that DNS can have: {error}")
        for _ in range(_MOST_ALIASES):
            answer = await self._answer(server, current, kind, deadline)
            if isinstance(answer, Unresolved):
                return answer
            followed = _followed(answer, current, kind)
            if followed is None:
                break
            canonical, records = followed
            if records:
                return Found(plain(asked), plain(canonical), records)
            # Who does not ask others says nothing of a name elsewhere, and the code is that of the last one in the
            # chain (RFC 6604, section 2.1).
            if canonical == current or answer.rcode() == dns.rcode.NXDOMAIN:
                return Absent(plain(asked), plain(canonical), answer.rcode() != dns.rcode.NXDOMAIN)
            current = canonical
        return Unresolved(plain(asked), Trouble.LOOP, f"The CNAMEs from {plain(asked)} lead round and round.")

    async def name_servers(self, name: str) -> NameServers | Unresolved:
        """The authoritative servers of a name, which must have been followed through its CNAMEs.

        The zone is found by asking for SOA upwards, its servers by NS, their addresses by A and AAAA. They are asked at
        port 53, with one exception: an address that the configuration has as `server` of this very zone is asked at
        the port that is given there. That server also stands in when the NS records lead to no address.

        Where no SOA is to be had at all, the resolver itself stands in. A resolver that makes its answers up, such as
        Pebble's challenge server, is like that; in the real world every name is in some zone.
        """
        zone = await self._zone(dns.name.from_text(name))
        if isinstance(zone, Unresolved):
            return zone
        if zone is None:
            return NameServers(None, (await self._resolver(),))
        named = await self.ask(zone, RdataType.NS)
        if isinstance(named, Unresolved):
            return named
        own = next((endpoint(one.server) for one in self._configuration.zone if one.name == zone and one.server), None)
        known = await addresses(own) if own else ()
        targets = sorted(plain(one.target) for one in named.of(NS)) if isinstance(named, Found) else []
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._name_server(one, known)) for one in targets[:_MOST_NAME_SERVERS]]
        servers = tuple(task.result() for task in tasks)
        if any(one.endpoints for one in servers):
            return NameServers(zone, servers)
        if own is None:
            return Unresolved(zone, Trouble.UNREACHABLE, f"The name servers of {zone} have no addresses.")
        return NameServers(zone, (NameServer(str(own), known),))

    async def addresses(self, name: str) -> tuple[str, ...] | Unresolved:
        """All addresses of a name, IPv6 first; an error when either question has no answer."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.ask(name, kind)) for kind in (RdataType.AAAA, RdataType.A)]
        found: list[str] = []
        for answer in (task.result() for task in tasks):
            if isinstance(answer, Unresolved):
                return answer
            if isinstance(answer, Found):
                found += [one.address for one in answer.of(AAAA)] + [one.address for one in answer.of(A)]
        return tuple(found)

    async def _resolver(self) -> NameServer:
        configured = self._configuration.resolvers
        if configured:
            found = [one for server in configured for one in await addresses(endpoint(server))]
        else:
            found = _of_system()
        return NameServer("the resolver", tuple(found[:_MOST_RESOLVERS]), is_authoritative=False)

    async def _zone(self, name: dns.name.Name) -> str | Unresolved | None:
        resolver = await self._resolver()
        deadline = asyncio.get_running_loop().time() + self._within.total_seconds()
        while name != dns.name.root:
            answer = await self._answer(resolver, name, RdataType.SOA, deadline)
            if isinstance(answer, Unresolved) and answer.trouble is Trouble.UNSUPPORTED:
                return None
            if isinstance(answer, Unresolved):
                return answer
            for rrset in (*answer.answer, *answer.authority):
                is_above = name.is_subdomain(rrset.name) and rrset.name != dns.name.root
                if rrset.rdtype == RdataType.SOA and is_above:
                    return plain(rrset.name)
            name = name.parent()
        return None

    async def _name_server(self, name: str, known: Sequence[Endpoint]) -> NameServer:
        found = await self.addresses(name)
        if isinstance(found, Unresolved):
            return NameServer(name, ())
        ports = {one.host: one.port for one in known}
        return NameServer(
            name, tuple(Endpoint(host, ports[host]) if host in ports else Endpoint(host) for host in found)
        )

    async def _answer(
        self, server: NameServer, name: dns.name.Name, kind: RdataType, deadline: float
    ) -> dns.message.Message | Unresolved:
        """The first usable answer; else the last trouble, in which a server that said something goes first."""
        loop = asyncio.get_running_loop()
        trouble = Unresolved(plain(name), Trouble.UNREACHABLE, f"{server.name} has no address to be asked at.")
        for at in server.endpoints * _ROUNDS:
            left = min(deadline - loop.time(), _ATTEMPT.total_seconds())
            if left <= 0:
                break
            answer = await exchange(name, kind, at, seconds=left, recursive=not server.is_authoritative)
            if isinstance(answer, Unresolved):
                trouble = await _explained(answer, name, kind, at, seconds=max(deadline - loop.time(), 0))
                # It has answered, and would answer the same again.
                if (
                    trouble.trouble in {Trouble.DNSSEC, Trouble.REFUSED, Trouble.UNSUPPORTED}
                    and len(server.endpoints) == 1
                ):
                    break
            elif server.is_authoritative and not answer.flags & dns.flags.AA:
                why = f"{server.name} ({at}) does not know {plain(name)} first-hand."
                trouble = Unresolved(plain(name), Trouble.REFUSED, why)
            else:
                return answer
        return trouble


async def _explained(
    answer: Unresolved, name: dns.name.Name, kind: RdataType, at: Endpoint, *, seconds: float
) -> Unresolved:
    """A failure that turns out to be one of DNSSEC: the same server knows the answer, and will not stand by it."""
    if answer.trouble is not Trouble.SERVFAIL:
        return answer
    unchecked = await exchange(name, kind, at, seconds=seconds, recursive=True, unchecked=True)
    if isinstance(unchecked, Unresolved):
        return answer
    why = f"{answer.why} Without DNSSEC it has an answer, so the zone's signatures are missing, wrong or expired."
    return Unresolved(answer.name, Trouble.DNSSEC, why)


def _followed(
    answer: dns.message.Message, name: dns.name.Name, kind: RdataType
) -> tuple[dns.name.Name, tuple[dns.rdata.Rdata, ...]] | None:
    """Where the CNAMEs in this answer lead, and the records that are there; None when they lead round."""
    for _ in range(_MOST_ALIASES):
        records = _records(answer, name, kind)
        aliases = [one for one in _records(answer, name, RdataType.CNAME) if isinstance(one, CNAME)]
        if records or not aliases:
            return name, records
        name = aliases[0].target
    return None


def _records(answer: dns.message.Message, name: dns.name.Name, kind: RdataType) -> tuple[dns.rdata.Rdata, ...]:
    found: list[dns.rdata.Rdata] = []
    for rrset in answer.answer:
        if rrset.name == name and rrset.rdtype == kind:
            found += rrset
    return tuple(found)


def _of_system() -> list[Endpoint]:
    try:
        read = dns.resolver.Resolver()
    except dns.resolver.NoResolverConfiguration:
        return []
    return [Endpoint(str(one), read.port) for one in read.nameservers]
