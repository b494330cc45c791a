"""Changes of a zone by dynamic update (RFC 2136), signed with TSIG (RFC 8945), over TCP.

An update is applied wholly or not at all. To add a value that is there, or to delete one that is not, changes nothing
and is no error, so both may be repeated. Values are added and deleted one by one, each by itself, so the others of the
same record stay as they are.
"""

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.tsig
import dns.update
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.TXT import TXT

from lifecycle.certs.configuration import Zone
from lifecycle.certs.dns.answers import Endpoint, addresses, endpoint
from lifecycle.certs.dns.verdicts import Reason, Unpublishable, Unreachable
from lifecycle.certs.dns.zones import tsig_secret

_TTL_SECONDS = 60
_PATIENCE_SECONDS = 10
_CLOCKS = "Its clock and ours differ by more than five minutes; set both by NTP."


async def add(zone: Zone, record: str, value: str) -> Unpublishable | Unreachable | None:
    """Give the record this TXT value too; None when it has it.

    Raises:
        LifecycleError: CERTIFICATE_ZONE_CREDENTIALS.
    """
    return await _update(zone, record, value, adds=True)


async def delete(zone: Zone, record: str, value: str) -> Unpublishable | Unreachable | None:
    """Take this TXT value from the record; None when it has it no more.

    Raises:
        LifecycleError: CERTIFICATE_ZONE_CREDENTIALS.
    """
    return await _update(zone, record, value, adds=False)


async def _update(zone: Zone, record: str, value: str, *, adds: bool) -> Unpublishable | Unreachable | None:
    secret = tsig_secret(zone)
    server = endpoint(zone.server or "")
    key = dns.tsig.Key(dns.name.from_text(zone.key_name or ""), secret, zone.key_algorithm)
    update = dns.update.UpdateMessage(dns.name.from_text(zone.name), keyring=key)
    name = dns.name.from_text(record)
    # The value is given as octets: as text it would be read as in a zone file.
    text = TXT(dns.rdataclass.IN, RdataType.TXT, [value.encode()])
    if adds:
        update.add(name, _TTL_SECONDS, text)
    else:
        update.delete(name, text)
    places = await addresses(server)
    if not places:
        return Unreachable(why=f"The address of {server}, the server of the zone {zone.name}, cannot be found.")
    outcome: Unpublishable | Unreachable | None = None
    for at in places:
        outcome = await _send(zone, record, update, at)
        if not isinstance(outcome, Unreachable):
            break
    return outcome


async def _send(
    zone: Zone, record: str, update: dns.update.UpdateMessage, at: Endpoint
) -> Unpublishable | Unreachable | None:
    about = f"{at}, the server of the zone {zone.name},"
    try:
        answer = await dns.asyncquery.tcp(update, at.host, timeout=_PATIENCE_SECONDS, port=at.port)
    except dns.tsig.PeerBadKey:
        return _refused(f"{about} does not know the key {zone.key_name}. Check key_name and key_algorithm.")
    except (dns.tsig.PeerBadSignature, dns.tsig.PeerBadTruncation):
        return _refused(f"{about} has another secret for the key {zone.key_name} than {zone.key_file}.")
    except (dns.tsig.PeerBadTime, dns.tsig.BadTime):
        return Unreachable(why=f"{about} refuses the time of our request. {_CLOCKS}")
    except dns.exception.Timeout:
        return Unreachable(why=f"{about} did not answer within {_PATIENCE_SECONDS} s.")
    except (OSError, EOFError) as error:
        problem = (error.strerror if isinstance(error, OSError) else None) or "the connection was cut"
        return Unreachable(why=f"{about} cannot be reached: {problem}.")
    except dns.exception.DNSException as error:
        # An answer without a signature is among them: anybody on the way could have sent it (RFC 8945, section 5.3).
        return Unreachable(why=f"{about} gave an answer that cannot be trusted: {error}.")
    return _meaning(zone, record, answer, about)


def _meaning(zone: Zone, record: str, answer: dns.message.Message, about: str) -> Unpublishable | Unreachable | None:
    code = answer.rcode()
    if code == dns.rcode.NOERROR:
        return None
    if code == dns.rcode.REFUSED:
        return _refused(
            f"{about} does not let the key {zone.key_name} change TXT of {record}; in BIND, its update-policy "
            f"lacks 'grant {zone.key_name} name {record}. TXT;' or the like."
        )
    if code in {dns.rcode.NOTAUTH, dns.rcode.NOTZONE}:
        return _refused(f"{about} does not hold this zone as its primary. Check name and server of the zone.")
    if code == dns.rcode.SERVFAIL:
        return Unreachable(why=f"{about} could not carry the update out (SERVFAIL); its log says why.")
    return _refused(f"{about} refuses the update: {dns.rcode.to_text(code)}.")


def _refused(why: str) -> Unpublishable:
    return Unpublishable(reason=Reason.REFUSED, why=why)
