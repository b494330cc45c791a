"""Asks DNS about a custom domain.

The servers of its zone are asked first: a resolver remembers for hours that a record was not there, and the first look
comes before its owner could set one (RFC 2308, section 5). Where they cannot be asked, the resolver is.
"""

import asyncio

from dns.rdatatype import RdataType
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from lifecycle.certs.dns import Absent, Found, NameServers, Resolver, Unresolved
from lifecycle.deploy.verification import rules
from lifecycle.deploy.verification.model import Sight
from lifecycle.deploy.verification.rules import Facts, Ways

# More than anybody needs, fewer than resolvers follow.
_MOST_ALIASES = 8
_SERVERS_ASKED = 2


async def look(resolver: Resolver, domain: str, token: str, found: Ways) -> Sight:
    """How the records of a domain are now; trouble with DNS is part of the answer."""
    async with asyncio.TaskGroup() as group:
        texts = group.create_task(_ask(resolver, rules.challenge_name(domain), RdataType.TXT))
        routing = group.create_task(_routing(resolver, domain, found))
    said = texts.result()
    facts = routing.result()._replace(
        texts=tuple(b"".join(one.strings).decode(errors="replace").strip() for one in said.of(TXT))
        if isinstance(said, Found)
        else (),
        text_trouble=said.why if isinstance(said, Unresolved) else "",
    )
    return rules.judge(token, found, facts)


async def _routing(resolver: Resolver, domain: str, found: Ways) -> Facts:
    chain: list[str] = []
    name = domain
    while len(chain) < _MOST_ALIASES and found.target not in chain:
        answer = await _ask(resolver, name, RdataType.CNAME)
        if isinstance(answer, Unresolved):
            return Facts(chain=tuple(chain), trouble=answer.why)
        if isinstance(answer, Absent) or not (aliases := answer.of(CNAME)):
            break
        name = aliases[0].target.to_text(omit_final_dot=True).lower()
        chain.append(name)
    if found.target in chain:
        return Facts(chain=tuple(chain))
    addresses = await _addresses(resolver, name)
    if isinstance(addresses, Unresolved):
        return Facts(chain=tuple(chain), trouble=addresses.why)
    # A provider that flattens the CNAME shows only where our target leads.
    target = await _addresses(resolver, found.target) if addresses and not found.addresses else ()
    return Facts(
        chain=tuple(chain),
        addresses=addresses,
        target_addresses=() if isinstance(target, Unresolved) else target,
        trouble=target.why if isinstance(target, Unresolved) else "",
    )


async def _addresses(resolver: Resolver, name: str) -> tuple[str, ...] | Unresolved:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_ask(resolver, name, kind)) for kind in (RdataType.A, RdataType.AAAA)]
    found: list[str] = []
    for answer in (task.result() for task in tasks):
        if isinstance(answer, Unresolved):
            return answer
        if isinstance(answer, Found):
            found += [one.address for one in answer.of(A)] + [one.address for one in answer.of(AAAA)]
    return tuple(found)


async def _ask(resolver: Resolver, name: str, kind: RdataType) -> Found | Absent | Unresolved:
    first_hand = await resolver.name_servers(name)
    if isinstance(first_hand, NameServers):
        for server in first_hand.servers[:_SERVERS_ASKED]:
            answer = await resolver.ask_server(server, name, kind)
            if not isinstance(answer, Unresolved):
                return answer
    return await resolver.ask(name, kind)
