"""Pre-flight: would the CA find what it must? Found out without the CA, whose limits for failures are narrow.

It looks where a CA would look, from where we are: CAA, addresses, ports, zones, name servers. So it can be wrong in
both directions, behind a router that does not lead us to ourselves for one; the CA has the last word. All that is
wrong is said at once, each with what to set.
"""

import asyncio
from collections.abc import Collection
from enum import StrEnum
from ipaddress import ip_address
from typing import Literal

from dns.rdatatype import RdataType

from lifecycle.certs import acme, probes
from lifecycle.certs.configuration import Certificates
from lifecycle.certs.dns import Publisher, Resolver, Trouble, Unpublishable, Unreachable, Unresolved, caa
from lifecycle.certs.dns import Reason as DnsReason
from lifecycle.certs.dns.publishing import Home
from lifecycle.certs.names import ChallengeType, Identifier
from lifecycle.certs.probes import Missed, Ports, Prober
from lifecycle.errors import Code, LifecycleError
from lifecycle.models import Durable

_MOST_ADDRESSES = 8


class Reason(StrEnum):
    """What sort of thing is wrong."""

    CAA = "caa"
    UNRESOLVED = "unresolved"
    DNSSEC = "dnssec"
    NO_ADDRESS = "no_address"
    NOT_PUBLIC = "not_public"
    NOT_REACHED = "not_reached"
    WRONG_ANSWER = "wrong_answer"
    NO_ZONE = "no_zone"
    NO_CREDENTIALS = "no_credentials"
    REFUSED = "refused"
    PROVIDER = "provider"
    NAME_SERVERS = "name_servers"


class Finding(Durable):
    """One thing that is wrong.

    Attributes:
        why: a sentence for people.
        do: what to set.
    """

    reason: Reason
    why: str
    do: str


class WouldIssue(Durable):
    """Nothing is in the way.

    Attributes:
        checks: what was looked at and found good, a sentence each.
    """

    verdict: Literal["would_issue"] = "would_issue"
    identifier: Identifier
    challenge: ChallengeType
    checks: tuple[str, ...]


class WouldFail(Durable):
    """The CA would refuse.

    Attributes:
        findings: everything that is wrong.
        checks: what was looked at and found good, a sentence each.
    """

    verdict: Literal["would_fail"] = "would_fail"
    identifier: Identifier
    challenge: ChallengeType
    findings: tuple[Finding, ...]
    checks: tuple[str, ...]

    @property
    def why(self) -> str:
        """All findings in one text."""
        return " ".join(one.why for one in self.findings)


class Preflight:
    """Checks names before a CA does.

    Args:
        configuration: resolvers and zones.
        ports: where CAs look.
        installation: as in `probes.expected_answer`.
    """

    def __init__(self, configuration: Certificates, *, ports: Ports | None = None, installation: str = "") -> None:
        self._resolver = Resolver(configuration)
        self._publisher = Publisher(configuration, resolver=self._resolver)
        self._ports = ports or Ports()
        self._installation = installation

    async def check(
        self,
        identifier: Identifier,
        challenge: ChallengeType,
        *,
        caa_identities: Collection[str],
        account: str | None = None,
        internal: bool = False,
        by_person: bool = False,
    ) -> WouldIssue | WouldFail:
        """Look at everything that the CA would look at; about half a minute when nobody answers.

        Args:
            identifier: what is to be certified.
            challenge: how control is to be proved.
            caa_identities: names of the CA in CAA records, as its directory gives them; empty when it gives none.
            account: URL of our account there, for RFC 8657; None leaves that out.
            internal: whether the CA is one of a private network.
            by_person: for dns-01: whether a person sets the record, so that it needs to be in no zone of ours.

        Raises:
            LifecycleError: CERTIFICATE_CHALLENGE_UNFIT.
        """
        if (identifier.is_wildcard and challenge is not ChallengeType.DNS_01) or (
            identifier.type == "ip" and challenge is ChallengeType.DNS_01
        ):
            raise LifecycleError(
                Code.CERTIFICATE_CHALLENGE_UNFIT, name=identifier.value, challenge=challenge.value, field="challenge"
            )
        look = _Look(identifier, challenge, self._resolver, self._publisher)
        if identifier.type == "dns":
            await look.at_caa(caa_identities, account)
        match challenge:
            case ChallengeType.DNS_01:
                await look.at_zone(by_person=by_person)
            case ChallengeType.HTTP_01:
                token = probes.new_token()
                answer = probes.expected_answer(token, installation=self._installation) or ""
                prober = Prober(self._resolver, ports=self._ports, internal=internal)
                await look.at_web(prober, token, answer, self._ports.http, internal=internal)
            case ChallengeType.TLS_ALPN_01:
                prober = Prober(self._resolver, ports=self._ports, internal=internal)
                await look.at_tls(prober, self._ports.tls, internal=internal)
        return look.verdict()


class _Look:
    """One check, and what it has found so far."""

    def __init__(
        self, identifier: Identifier, challenge: ChallengeType, resolver: Resolver, publisher: Publisher
    ) -> None:
        self._identifier = identifier
        self._challenge = challenge
        self._resolver = resolver
        self._publisher = publisher
        self._name = identifier.value.removeprefix("*.")
        self._checks: list[str] = []
        self._findings: list[Finding] = []

    def verdict(self) -> WouldIssue | WouldFail:
        """What it comes to."""
        checks = tuple(self._checks)
        if not self._findings:
            return WouldIssue(identifier=self._identifier, challenge=self._challenge, checks=checks)
        findings = tuple(self._findings)
        return WouldFail(identifier=self._identifier, challenge=self._challenge, findings=findings, checks=checks)

    async def at_caa(self, identities: Collection[str], account: str | None) -> None:
        """Whether the domain allows this CA."""
        found = await caa.relevant(self._resolver, self._name)
        if isinstance(found, Unresolved):
            # RFC 8659, section 3: no answer is no permission.
            self._unresolved(found)
            return
        if found.name is None:
            self._checks.append(f"No CAA record of {self._name} or above it keeps any CA out.")
            return
        if not identities:
            self._checks.append(f"{found.name} has CAA records; the CA does not say which would admit it.")
            return
        why = caa.objection(
            found.properties,
            is_wildcard=self._identifier.is_wildcard,
            identities=identities,
            account=account,
            challenge=self._challenge,
        )
        if why is None:
            self._checks.append(f"The CAA records of {found.name} admit the CA.")
            return
        tag = "issuewild" if self._identifier.is_wildcard else "issue"
        self._found(
            Reason.CAA,
            f"The CAA records of {found.name} forbid it: {why}.",
            f'Add to {found.name}: CAA 0 {tag} "{min(identities)}"',
        )

    async def at_web(self, prober: Prober, token: str, answer: str, port: int, *, internal: bool) -> None:
        """Whether our gateway answers at every address."""
        addresses = await self._addresses(internal=internal)
        async with asyncio.TaskGroup() as group:
            tasks = [
                (one, group.create_task(prober.http(self._identifier.value, one, token=token, answer=answer)))
                for one in addresses
            ]
        for address, task in tasks:
            self._reached(address, port, task.result(), "our gateway answers")

    async def at_tls(self, prober: Prober, port: int, *, internal: bool) -> None:
        """Whether every address takes connections."""
        addresses = await self._addresses(internal=internal)
        async with asyncio.TaskGroup() as group:
            tasks = [(one, group.create_task(prober.tls(one))) for one in addresses]
        for address, task in tasks:
            self._reached(address, port, task.result(), "connections are taken")

    async def at_zone(self, *, by_person: bool) -> None:
        """Whether we may publish, and whether what is published would be found."""
        name = acme.validation_name(self._identifier)
        answer = await self._resolver.ask(name, RdataType.TXT)
        if isinstance(answer, Unresolved):
            self._unresolved(answer)
            return
        if by_person:
            self._checks.append(f"The record to set is {answer.canonical}.")
            await self._at_name_servers(answer.canonical, None)
            return
        try:
            home = self._publisher.home(answer)
        except LifecycleError as error:
            reason = Reason.NO_ZONE if error.code is Code.CERTIFICATE_ZONE_MISSING else Reason.NO_CREDENTIALS
            self._found(reason, str(error), error.hint)
            return
        led = "" if home.record == name else f", where {name} leads"
        self._checks.append(f"{home.record}{led}, is in our zone {home.zone.name}.")
        await self._at_provider(home)
        await self._at_name_servers(home.record, home.zone.name)

    async def _at_provider(self, home: Home) -> None:
        failure = await self._publisher.rehearse(home)
        match failure:
            case None:
                self._checks.append(f"We may publish TXT records at {home.record}.")
            case Unreachable():
                self._found(Reason.PROVIDER, failure.why, f"See that the server of the zone {home.zone.name} runs.")
            case Unpublishable():
                reason = Reason.REFUSED if failure.reason is DnsReason.REFUSED else Reason.NO_CREDENTIALS
                do = f"Grant it there, or correct the zone {home.zone.name} in the certificates file."
                self._found(reason, failure.why, do)

    async def _at_name_servers(self, record: str, ours: str | None) -> None:
        found = await self._resolver.name_servers(record)
        if isinstance(found, Unresolved):
            self._unresolved(found)
            return
        if found.zone is None:
            self._checks.append("DNS knows no zone of it, so the resolver itself is asked.")
            return
        if ours is not None and found.zone != ours:
            self._found(
                Reason.NO_ZONE,
                f"DNS has {record} in the zone {found.zone}, which is not our zone {ours}.",
                f"Name the zone {found.zone} in the certificates file, with whoever keeps it.",
            )
            return
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._resolver.ask_server(one, found.zone, RdataType.SOA)) for one in found.servers
            ]
        silent = [answer.why for task in tasks if isinstance(answer := task.result(), Unresolved)]
        for why in silent:
            do = f"See that each name server of {found.zone} answers, or take its NS record away."
            self._found(Reason.NAME_SERVERS, why, do)
        if not silent:
            names = ", ".join(one.name for one in found.servers)
            self._checks.append(f"All name servers of {found.zone} answer: {names}.")

    async def _addresses(self, *, internal: bool) -> tuple[str, ...]:
        """The addresses that may be looked at; findings about the others."""
        if self._identifier.type == "ip":
            found: tuple[str, ...] | Unresolved = (self._name,)
        else:
            found = await self._resolver.addresses(self._name)
        if isinstance(found, Unresolved):
            self._unresolved(found)
            return ()
        if not found:
            self._found(
                Reason.NO_ADDRESS,
                f"{self._name} has no address in DNS.",
                f"Set an A record (and AAAA) of {self._name} to the address of our gateway.",
            )
        allowed = [one for one in found if probes.is_allowed(one, internal=internal)]
        for one in found:
            if one not in allowed:
                self._found(
                    Reason.NOT_PUBLIC,
                    f"{self._name} has the address {one}, which is not public, so no public CA can reach it.",
                    f"Take {one} out of DNS, or use dns-01, which needs no address.",
                )
        return tuple(allowed[:_MOST_ADDRESSES])

    def _reached(self, address: str, port: int, missed: Missed | None, good: str) -> None:
        if missed is None:
            self._checks.append(f"{good[:1].upper()}{good[1:]} at {address}, port {port}.")
            return
        kind = "AAAA" if ip_address(address).version == 6 else "A"  # noqa: PLR2004  IPv6
        other = f"or take this {kind} record away: CAs try one address and no other"
        if missed.is_answered:
            do = f"Let {self._name} lead to our gateway at every address, {other}."
            self._found(Reason.WRONG_ANSWER, f"{self._name} at {address}, port {port}, {missed.why}.", do)
        else:
            do = f"Open port {port} of {address} to the Internet and lead it to our gateway, {other}."
            self._found(Reason.NOT_REACHED, f"{self._name} at {address}, port {port}, {missed.why}.", do)

    def _unresolved(self, answer: Unresolved) -> None:
        match answer.trouble:
            case Trouble.DNSSEC:
                do = f"Sign the zone of {answer.name} anew, or take its DS record out of the zone above."
                self._found(Reason.DNSSEC, answer.why, do)
            case Trouble.UNREACHABLE | Trouble.REFUSED:
                do = "Name resolvers that answer in the certificates file, or leave it to those of the system."
                self._found(Reason.UNRESOLVED, answer.why, do)
            case _:
                do = f"See that the name servers of {answer.name} answer everything that they are asked."
                self._found(Reason.UNRESOLVED, answer.why, do)

    def _found(self, reason: Reason, why: str, do: str) -> None:
        finding = Finding(reason=reason, why=why, do=do)
        if finding not in self._findings:
            self._findings.append(finding)
