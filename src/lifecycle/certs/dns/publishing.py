"""TXT records for DNS-01 (RFC 8555, section 8.4): published where CNAMEs lead, removed value by value, looked for.

Nothing here waits or repeats: the caller does, durably. What servers answer comes back as a verdict; `Unreachable` is
for what may work later. Every call may be repeated.
"""

import asyncio
from typing import NamedTuple

from dns.rdatatype import RdataType
from dns.rdtypes.ANY.TXT import TXT

from lifecycle.certs.configuration import Certificates, Zone
from lifecycle.certs.dns import providers, rfc2136, zones
from lifecycle.certs.dns.answers import Absent, Found, NameServer, Trouble, Unresolved
from lifecycle.certs.dns.resolver import Resolver
from lifecycle.certs.dns.verdicts import (
    NotVisible,
    Published,
    Reason,
    Removed,
    Unpublishable,
    Unreachable,
    Visible,
)
from lifecycle.errors import Code, LifecycleError

# No proof has this value; to delete it changes nothing, and takes the same permission as any other change.
_NOBODYS = "lifecycle-preflight"


class Home(NamedTuple):
    """Where a validation record belongs.

    Attributes:
        record: the name at the end of the CNAMEs.
        zone: the zone of ours that it is in.
    """

    record: str
    zone: Zone


class Publisher:
    """Publishes in the zones of the configuration.

    Args:
        configuration: zones, and resolvers to follow CNAMEs with.
        resolver: to ask with; one of its own without.
    """

    def __init__(self, configuration: Certificates, *, resolver: Resolver | None = None) -> None:
        self._zones = configuration.zone
        self.resolver = resolver or Resolver(configuration)

    async def zone_for(self, name: str) -> Home | Unreachable:
        """Where the record of a validation name must be, and that we have what a change takes.

        Args:
            name: `_acme-challenge.…`, as `acme.validation_name` gives it; its CNAMEs are followed first.

        Raises:
            LifecycleError: CERTIFICATE_ZONE_MISSING, CERTIFICATE_ZONE_CREDENTIALS. No CA need be asked then.
        """
        answer = await self.resolver.ask(name, RdataType.TXT)
        if isinstance(answer, Unresolved):
            if answer.trouble is Trouble.LOOP:
                raise LifecycleError(Code.CERTIFICATE_ZONE_MISSING, record=f"{name}, whose CNAMEs lead round and round")
            return Unreachable(why=answer.why)
        return self.home(answer)

    def home(self, answer: Found | Absent) -> Home:
        """Where the record belongs, when DNS was asked for TXT of its validation name before.

        Raises:
            LifecycleError: as `zone_for`.
        """
        record = answer.canonical
        zone = zones.fitting(record, self._zones)
        if zone is None:
            led = "" if record == answer.name else f", where {answer.name} leads"
            raise LifecycleError(Code.CERTIFICATE_ZONE_MISSING, record=f"{record}{led}")
        zones.check(zone)
        return Home(record, zone)

    async def publish(self, name: str, value: str) -> Published | Unpublishable | Unreachable:
        """Give a validation name this TXT value, beside those that it has.

        Args:
            name: as for `zone_for`.
            value: as `acme.dns_value` gives it.
        """
        try:
            home = await self.zone_for(name)
            if isinstance(home, Unreachable):
                return home
            failure = await _add(home.zone, home.record, value)
        except LifecycleError as error:
            return _unpublishable(error)
        return failure or Published(record=home.record, zone=home.zone.name)

    async def remove(self, record: str, zone: str, value: str) -> Removed | Unpublishable | Unreachable:
        """Take this TXT value away, and leave all others.

        Args:
            record: as `Published` says; a CNAME that was changed since does not matter.
            zone: the same.
            value: as it was published.
        """
        found = next((one for one in self._zones if one.name == zone), None)
        if found is None:
            return _unpublishable(LifecycleError(Code.CERTIFICATE_ZONE_MISSING, record=record))
        try:
            failure = await _delete(found, record, value)
        except LifecycleError as error:
            return _unpublishable(error)
        return failure or Removed(record=record, zone=zone)

    async def rehearse(self, home: Home) -> Unpublishable | Unreachable | None:
        """Whether a change of this record would be let through; nothing is changed. None when it would.

        For `rfc2136` the server is asked to delete a value that nobody has, which takes server, key, secret and
        permission. For other providers, that they let us in and know the zone.
        """
        try:
            if home.zone.provider == zones.RFC2136:
                return await rfc2136.delete(home.zone, home.record, _NOBODYS)
            return await providers.open_zone(home.zone)
        except LifecycleError as error:
            return _unpublishable(error)

    async def is_visible(self, record: str, value: str) -> Visible | NotVisible | Unreachable:
        """Whether every authoritative server has the value, which is where CAs look.

        Args:
            record: as `Published` says.
            value: as it was published.
        """
        found = await self.resolver.name_servers(record)
        if isinstance(found, Unresolved):
            return Unreachable(why=found.why)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._missing(one, record, value)) for one in found.servers]
        missing = [why for task in tasks if (why := task.result())]
        if missing:
            return NotVisible(record=record, why=" ".join(missing))
        return Visible(record=record, servers=tuple(one.name for one in found.servers))

    async def _missing(self, server: NameServer, record: str, value: str) -> str | None:
        answer = await self.resolver.ask_server(server, record, RdataType.TXT)
        if isinstance(answer, Unresolved):
            return answer.why
        if isinstance(answer, Absent):
            return f"{server.name} has no TXT record {record} yet."
        if not any(b"".join(one.strings) == value.encode() for one in answer.of(TXT)):
            return f"{server.name} has TXT values for {record}, and the new one is not among them yet."
        return None


async def _add(zone: Zone, record: str, value: str) -> Unpublishable | Unreachable | None:
    if zone.provider == zones.RFC2136:
        return await rfc2136.add(zone, record, value)
    return await providers.add(zone, record, value)


async def _delete(zone: Zone, record: str, value: str) -> Unpublishable | Unreachable | None:
    if zone.provider == zones.RFC2136:
        return await rfc2136.delete(zone, record, value)
    return await providers.delete(zone, record, value)


def _unpublishable(error: LifecycleError) -> Unpublishable:
    reason = Reason.NO_ZONE if error.code is Code.CERTIFICATE_ZONE_MISSING else Reason.NO_CREDENTIALS
    return Unpublishable(reason=reason, why=f"{error} {error.hint}")
