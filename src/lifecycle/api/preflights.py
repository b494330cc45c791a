"""Pre-flight for a whole request: every name is looked at, all at once and within a bounded time."""

import asyncio
from datetime import timedelta

from lifecycle.api.certificate_requests import Prepared
from lifecycle.api.context import Context
from lifecycle.api.shapes.certificates import FindingAnswer, NameVerdict, PreflightAnswer
from lifecycle.certs.names import Identifier
from lifecycle.certs.preflight import Finding, Preflight, Reason, WouldFail, WouldIssue
from lifecycle.certs.probes import Ports

_AT_ONCE = 16
# Below the deadline of its request, which is that of whoever asks as well.
_DEADLINE = timedelta(seconds=20)


async def look(context: Context, prepared: Prepared) -> PreflightAnswer:
    """Whether the CA would find what it must, for each name.

    Args:
        context: of this process.
        prepared: the request, which would be taken.
    """
    authority = context.authorities.configured(prepared.ca)
    preflight = Preflight(
        context.certificates,
        ports=Ports(http=authority.http_port, tls=authority.tls_port),
        installation=context.settings.deploy_apex,
    )
    standings = await context.authorities.standings()
    account = next((one.account for one in standings if one.authority.name == prepared.ca), None)
    gate = asyncio.Semaphore(_AT_ONCE)
    deadline = asyncio.get_running_loop().time() + _DEADLINE.total_seconds()

    async def one(identifier: Identifier) -> WouldIssue | WouldFail:
        try:
            async with asyncio.timeout_at(deadline), gate:
                return await preflight.check(
                    identifier,
                    prepared.wish.challenge,
                    caa_identities=prepared.terms.directory.caa_identities,
                    account=account.url if account else None,
                    internal=prepared.terms.offer.internal,
                    by_person=prepared.wish.by_person,
                )
        except TimeoutError:
            return _late(identifier, prepared)

    async with asyncio.TaskGroup() as group:
        looks = [group.create_task(one(identifier)) for identifier in prepared.wish.identifiers]
    items = tuple(_verdict(look.result()) for look in looks)
    good = all(item.verdict == "would_issue" for item in items)
    return PreflightAnswer(
        domain=prepared.domain,
        ca=prepared.ca,
        profile=prepared.terms.profile,
        challenge=prepared.wish.challenge,
        verdict="would_issue" if good else "would_fail",
        items=items,
    )


def _late(identifier: Identifier, prepared: Prepared) -> WouldFail:
    finding = Finding(
        reason=Reason.NOT_REACHED,
        why=f"Not all servers of {identifier.value} answered within {_DEADLINE.total_seconds():g} s.",
        do="See that its name servers, and every address of it, answer at once.",
    )
    return WouldFail(identifier=identifier, challenge=prepared.wish.challenge, findings=(finding,), checks=())


def _verdict(verdict: WouldIssue | WouldFail) -> NameVerdict:
    findings = verdict.findings if isinstance(verdict, WouldFail) else ()
    return NameVerdict(
        name=verdict.identifier.value,
        verdict=verdict.verdict,
        findings=tuple(FindingAnswer(reason=one.reason.value, why=one.why, do=one.do) for one in findings),
        checks=verdict.checks,
    )
